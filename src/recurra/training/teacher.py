"""Teacher forcing and scheduled sampling (Bengio et al., 2015, https://arxiv.org/abs/1506.03099).

A model that predicts its own next input is trained on the true one (teacher forcing) and used on its own. Scheduled
sampling mixes the two: at each step and row the true input is fed with probability p, the model's own output otherwise,
and p falls along training.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from recurra.base.errors import ConfigError, message
from recurra.base.state import State, map_state

__all__ = ["ScheduledSampling", "exponential_decay", "inverse_sigmoid_decay", "linear_decay"]

Probability = Callable[[int], float]


def linear_decay(start: float, slope: float, least: float = 0.0) -> Probability:
    """p_i = max(least, start - slope * i)."""
    return lambda iteration: max(least, start - slope * iteration)


def exponential_decay(k: float) -> Probability:
    """p_i = k^i with k < 1."""
    if not 0 <= k < 1:
        raise ConfigError(message("exponential_decay", f"k must be in [0, 1), got {k}"))
    return lambda iteration: k**iteration


def inverse_sigmoid_decay(k: float) -> Probability:
    """p_i = k / (k + exp(i / k)) with k >= 1: starts at k / (k + 1), falls fastest at i = k ln k."""
    if k < 1:
        raise ConfigError(message("inverse_sigmoid_decay", f"k must be at least 1, got {k}"))
    # The exponent is bounded so that a long run ends at 0 and not in an overflow.
    return lambda iteration: k / (k + math.exp(min(iteration / k, 700.0)))


class ScheduledSampling(nn.Module):
    """A model that is sometimes fed its own outputs while it is trained; to the loop it is a model like any other.

    `feedback(outputs (B, 1, ...)) -> x (B, 1) or (B, 1, F)` turns outputs into the next input: arg max, a draw, or the
    value itself; no gradient goes through it. `probability()` is asked at each call for p, for example

        lambda: inverse_sigmoid_decay(1000.0)(trainer.iteration)

    With p = 1, and in evaluation mode, `model` is called as it is, to the bit teacher forcing; with p = 0 it runs free
    after the first input. The first step of a call, and one where the row restarts, is fed the true input.
    """

    def __init__(
        self,
        model: nn.Module,
        feedback: Callable[[Any], Tensor],
        probability: Callable[[], float],
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self._feedback = feedback
        self._probability = probability
        self._generator = generator

    def forward(
        self, x: Tensor, state: State = None, lengths: Tensor | None = None, resets: Tensor | None = None
    ) -> tuple[Any, State]:
        """As the model's own."""
        p = self._probability() if self.training else 1.0
        if not 0.0 <= p <= 1.0:
            raise ConfigError(message("ScheduledSampling", f"a probability lies in [0, 1], got {p}"))
        if p == 1.0:
            return self.model(x, state, lengths=lengths, resets=resets)
        rows, steps = x.shape[:2]
        truth = torch.rand(rows, steps, generator=self._generator) < p
        truth[:, 0] = True
        truth = truth.to(x.device)
        if resets is not None:
            truth |= resets
        outputs: list[Any] = []
        for t in range(steps):
            now = slice(t, t + 1)
            fed = x[:, now]
            if t:
                own = self._feedback(outputs[-1]).detach()
                fed = torch.where(truth[:, now].view(rows, 1, *[1] * (x.dim() - 2)), fed, own)
            y, state = self.model(
                fed,
                state,
                lengths=None if lengths is None else (lengths - t).clamp(0, 1),
                resets=None if resets is None else resets[:, now],
            )
            outputs.append(y)
        return map_state(lambda *parts: torch.cat(parts, dim=1), *outputs), state
