"""A linear-chain conditional random field: the labels of a sequence judged together, not one by one.

Lafferty, McCallum and Pereira, Conditional random fields, 2001; on top of a bidirectional LSTM as in Huang, Xu and Yu,
Bidirectional LSTM-CRF models for sequence tagging, 2015, arXiv:1508.01991.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from recurra.base.errors import ShapeError, message

__all__ = ["LinearChainCRF"]


class LinearChainCRF(nn.Module):
    """Scores of label sequences: start + emissions + transitions + end.

    Args:
        labels: K, the number of labels.

    Attributes:
        transitions: (K, K), from the label of a step (row) to that of the next (column).
        start: (K,), end: (K,), of the first and the last label.

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
            labels: (B, T) int64; what stands behind the end of a row is not read.
            lengths: (B,) valid steps, each at least 1; None: all T.

        """
        self._check(emissions)
        valid = self._valid(emissions, lengths)
        safe = labels.masked_fill(~valid, 0)
        scores = emissions.gather(2, safe.unsqueeze(2)).squeeze(2)
        steps = self.transitions[safe[:, :-1], safe[:, 1:]]
        ends = safe.gather(1, (valid.sum(1) - 1).unsqueeze(1)).squeeze(1)
        total = self.start[safe[:, 0]] + (scores * valid).sum(1) + (steps * valid[:, 1:]).sum(1) + self.end[ends]
        return total - self.log_partition(emissions, lengths)

    def log_partition(self, emissions: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return (B,) the logarithm of the summed exponentials of the scores of all label sequences."""
        self._check(emissions)
        valid = self._valid(emissions, lengths)
        alpha = self.start + emissions[:, 0]
        for step in range(1, emissions.shape[1]):
            following = torch.logsumexp(alpha.unsqueeze(2) + self.transitions, 1) + emissions[:, step]
            alpha = torch.where(valid[:, step, None], following, alpha)
        return torch.logsumexp(alpha + self.end, 1)

    def marginals(self, emissions: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return (B, T, K) the probability of each label at each step, 0 behind the end of a row."""
        with torch.enable_grad():
            inputs = emissions.detach().requires_grad_()
            # The derivative of the log partition by an emission is the probability of its label.
            return torch.autograd.grad(self.log_partition(inputs, lengths).sum(), inputs)[0]

    @torch.no_grad()
    def decode(self, emissions: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return (B, T) int64 the most probable label sequence of each row (Viterbi), -1 behind its end."""
        self._check(emissions)
        valid = self._valid(emissions, lengths)
        best = self.start + emissions[:, 0]
        stay = torch.arange(best.shape[1], device=best.device).expand_as(best)
        backward = []
        for step in range(1, emissions.shape[1]):
            scores, previous = (best.unsqueeze(2) + self.transitions).max(1)
            inside = valid[:, step, None]
            best = torch.where(inside, scores + emissions[:, step], best)
            backward.append(torch.where(inside, previous, stay))
        labels = [(best + self.end).argmax(1)]
        for previous in reversed(backward):
            labels.append(previous.gather(1, labels[-1].unsqueeze(1)).squeeze(1))
        return torch.stack(labels[::-1], 1).masked_fill(~valid, -1)

    def _check(self, emissions: Tensor) -> None:
        size = len(self.start)
        if emissions.dim() != 3 or emissions.shape[2] != size or not emissions.shape[1]:
            fact = f"emissions must be (B, T, K) with T >= 1 and K = {size}, got {tuple(emissions.shape)}"
            raise ShapeError(message("LinearChainCRF", fact))

    def _valid(self, emissions: Tensor, lengths: Tensor | None) -> Tensor:
        rows, steps = emissions.shape[:2]
        if lengths is None:
            return torch.ones(rows, steps, dtype=torch.bool, device=emissions.device)
        if tuple(lengths.shape) != (rows,) or bool((lengths < 1).any()) or bool((lengths > steps).any()):
            fact = f"lengths must be ({rows},) from 1 to {steps}, got {lengths.tolist()}"
            raise ShapeError(message("LinearChainCRF", fact))
        return torch.arange(steps, device=emissions.device) < lengths.to(emissions.device).unsqueeze(1)
