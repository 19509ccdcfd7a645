"""A linear-chain conditional random field: the labels of a sequence are scored jointly, not one by one.

Lafferty, McCallum and Pereira, Conditional random fields, 2001; on top of a bidirectional LSTM as in Huang, Xu and Yu,
Bidirectional LSTM-CRF models for sequence tagging, 2015, arXiv:1508.01991.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from recurra.base.errors import ShapeError, message

__all__ = ["Constraints", "LinearChainCRF"]


class Constraints(NamedTuple):
    """Which label sequences are allowed; bool."""

    transitions: Tensor
    """(K, K), from the label of a step (row) to that of the next (column)."""
    start: Tensor
    """(K,), of the first label."""
    end: Tensor
    """(K,), of the last label."""


class LinearChainCRF(nn.Module):
    """Scores of label sequences: start + emissions + transitions + end.

    Steps behind the end of a row are never read, whatever they hold, and get no gradient.

    Args:
        labels: K, the number of labels.

    Attributes:
        transitions: (K, K), from the label of a step (row) to that of the next (column).
        start: (K,), of the first label.
        end: (K,), of the last label.

    Examples:
        >>> crf = LinearChainCRF(2)
        >>> emissions = torch.tensor([[[0.0, 1.0], [2.0, 0.0], [0.0, 0.0]]])
        >>> crf.decode(emissions, torch.tensor([2])).tolist()
        [[1, 0, -1]]

    """

    def __init__(self, labels: int) -> None:
        super().__init__()
        if labels < 1:
            raise ShapeError(message("LinearChainCRF", f"labels must be at least 1, got {labels}"))
        self.transitions = nn.Parameter(torch.zeros(labels, labels))
        self.start = nn.Parameter(torch.zeros(labels))
        self.end = nn.Parameter(torch.zeros(labels))

    def log_likelihood(self, emissions: Tensor, labels: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return (B,) the logarithm of the probability of each label sequence; exact.

        Args:
            emissions: (B, T, K).
            labels: (B, T) int64 from 0 to K - 1; those behind the end of a row are not read.
            lengths: (B,) valid steps, each at least 1; None: all T.

        Raises:
            ShapeError: for other shapes, and for a label or a length that is out of range.

        """
        emissions, valid = self._masked(emissions, lengths)
        if labels.shape != valid.shape:
            fact = f"labels must be (B, T) = {tuple(valid.shape)}, got {tuple(labels.shape)}"
            raise ShapeError(message("LinearChainCRF.log_likelihood", fact))
        labels = labels.masked_fill(~valid, 0)
        if bool(((labels < 0) | (labels >= len(self.start))).any()):
            fact = f"labels must be from 0 to {len(self.start) - 1}, got {int(labels.min())} to {int(labels.max())}"
            raise ShapeError(message("LinearChainCRF.log_likelihood", fact))
        last = labels.gather(1, valid.sum(1, keepdim=True) - 1).squeeze(1)
        steps = self.transitions[labels[:, :-1], labels[:, 1:]] * valid[:, 1:]
        scores = emissions.gather(2, labels.unsqueeze(2)).squeeze(2) * valid
        total = self.start[labels[:, 0]] + scores.sum(1) + steps.sum(1) + self.end[last]
        return total - torch.logsumexp(self._forward(emissions, valid)[-1] + self.end, 1)

    def log_partition(self, emissions: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return (B,) the logarithm of the summed exponentials of the scores of all label sequences."""
        emissions, valid = self._masked(emissions, lengths)
        return torch.logsumexp(self._forward(emissions, valid)[-1] + self.end, 1)

    def marginals(self, emissions: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return (B, T, K) the probability of each label at each step, 0 behind the end of a row."""
        emissions, valid = self._masked(emissions, lengths)
        alpha = self._forward(emissions, valid)
        beta = self.end.expand_as(alpha[-1])
        scores = [alpha[-1] + beta]
        for step in range(emissions.shape[1] - 1, 0, -1):
            previous = torch.logsumexp(self.transitions + (emissions[:, step] + beta).unsqueeze(1), 2)
            beta = torch.where(valid[:, step, None], previous, beta)
            scores.append(alpha[step - 1] + beta)
        return torch.softmax(torch.stack(scores[::-1], 1), 2) * valid.unsqueeze(2)

    @torch.no_grad()
    def decode(
        self, emissions: Tensor, lengths: Tensor | None = None, constraints: Constraints | None = None
    ) -> Tensor:
        """Return (B, T) int64 the most probable label sequence of each row (Viterbi), -1 behind its end.

        Args:
            emissions: (B, T, K).
            lengths: (B,) valid steps, each at least 1; None: all T.
            constraints: the label sequences to select from. A row too short or too long for any allowed sequence is
                decoded without them.

        Raises:
            ShapeError: for other shapes, and for a length that is out of range.

        """
        emissions, valid = self._masked(emissions, lengths)
        if constraints is None:
            return self._viterbi(emissions, valid, Constraints(self.transitions, self.start, self.end))[0]
        self._check(constraints)
        parameters = Constraints(self.transitions, self.start, self.end)
        allowed = Constraints(
            *(
                parameter.masked_fill(~mask.to(parameter.device), -torch.inf)
                for parameter, mask in zip(parameters, constraints, strict=True)
            )
        )
        labels, scores = self._viterbi(emissions, valid, allowed)
        if bool((scores == -torch.inf).any()):
            labels = torch.where((scores == -torch.inf)[:, None], self.decode(emissions, lengths), labels)
        return labels

    def _viterbi(self, emissions: Tensor, valid: Tensor, parameters: Constraints) -> tuple[Tensor, Tensor]:
        """Return the label sequences (B, T) of the maximum score, and that score (B,)."""
        transitions, start, end = parameters
        maximum = start + emissions[:, 0]
        same = torch.arange(maximum.shape[1], device=maximum.device).expand_as(maximum)
        pointers = []
        for step in range(1, emissions.shape[1]):
            scores, previous = (maximum.unsqueeze(2) + transitions).max(1)
            inside = valid[:, step, None]
            maximum = torch.where(inside, scores + emissions[:, step], maximum)
            pointers.append(torch.where(inside, previous, same))
        total, label = (maximum + end).max(1)
        labels = [label]
        for previous in reversed(pointers):
            labels.append(previous.gather(1, labels[-1].unsqueeze(1)).squeeze(1))
        return torch.stack(labels[::-1], 1).masked_fill(~valid, -1), total

    def _forward(self, emissions: Tensor, valid: Tensor) -> list[Tensor]:
        """Return T tensors (B, K), log sums over the prefixes that end in a label; behind a row's end its last."""
        alpha = [self.start + emissions[:, 0]]
        for step in range(1, emissions.shape[1]):
            following = torch.logsumexp(alpha[-1].unsqueeze(2) + self.transitions, 1) + emissions[:, step]
            alpha.append(torch.where(valid[:, step, None], following, alpha[-1]))
        return alpha

    def _masked(self, emissions: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the emissions, 0 behind the end of a row, and which steps are valid (B, T)."""
        size = len(self.start)
        if emissions.dim() != 3 or emissions.shape[2] != size or not emissions.shape[1]:
            fact = f"emissions must be (B, T, K) with T >= 1 and K = {size}, got {tuple(emissions.shape)}"
            raise ShapeError(message("LinearChainCRF", fact))
        rows, steps = emissions.shape[:2]
        if lengths is None:
            return emissions, torch.ones(rows, steps, dtype=torch.bool, device=emissions.device)
        if tuple(lengths.shape) != (rows,) or bool(((lengths < 1) | (lengths > steps)).any()):
            fact = f"lengths must be (B,) = ({rows},) from 1 to {steps}, got {lengths.tolist()}"
            raise ShapeError(message("LinearChainCRF", fact))
        valid = torch.arange(steps, device=emissions.device) < lengths.to(emissions.device).unsqueeze(1)
        return emissions.masked_fill(~valid.unsqueeze(2), 0), valid

    def _check(self, constraints: Constraints) -> None:
        size = len(self.start)
        shapes = [tuple(mask.shape) for mask in constraints]
        if shapes != [(size, size), (size,), (size,)] or any(mask.dtype != torch.bool for mask in constraints):
            expected = f"bool of shapes ({size}, {size}), ({size},) and ({size},)"
            types = ", ".join(str(mask.dtype).removeprefix("torch.") for mask in constraints)
            fact = f"constraints must be {expected}, got {', '.join(map(str, shapes))} of {types}"
            raise ShapeError(message("LinearChainCRF.decode", fact))
