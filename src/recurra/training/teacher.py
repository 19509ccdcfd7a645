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

from recurra.base.errors import ConfigError, ShapeError, message
from recurra.base.state import State, map_state
from recurra.training.config import SamplingConfig

__all__ = [
    "ScheduledSampling",
    "arg_max",
    "draw",
    "exponential_decay",
    "inverse_sigmoid_decay",
    "linear_decay",
    "scheduled",
    "value",
]

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


def arg_max(logits: Tensor) -> Tensor:
    """The likeliest symbol: (B, 1, V) -> (B, 1)."""
    return logits.argmax(-1)


def draw(logits: Tensor) -> Tensor:
    """A symbol drawn from softmax(logits), by torch's own stream: (B, 1, V) -> (B, 1). What the paper does."""
    shape = logits.shape[:-1]
    return torch.multinomial(logits.detach().flatten(0, -2).float().softmax(-1), 1).view(shape)


def value(outputs: Tensor) -> Tensor:
    """The output itself, for a model that predicts the values of its next input: (B, 1, F) -> (B, 1, F)."""
    return outputs


def scheduled(model: nn.Module, config: SamplingConfig, iteration: Callable[[], int]) -> nn.Module:
    """`model` trained as `config` says, `iteration()` updates into the run; the model itself where it says nothing.

    A model that reads symbols (integers) is fed symbols, one that reads values its outputs.
    """
    if config.schedule == "none":
        return model
    probability = {
        "linear": lambda: linear_decay(1.0, config.slope, config.least),
        "exponential": lambda: exponential_decay(config.k),
        "inverse_sigmoid": lambda: inverse_sigmoid_decay(config.k),
    }[config.schedule]()
    symbol = draw if config.feed == "draw" else arg_max
    return ScheduledSampling(model, symbol, lambda: probability(iteration()), value=value)


class ScheduledSampling(nn.Module):
    """A model that is sometimes fed its own outputs while it is trained; to the loop it is a model like any other.

    `feedback(outputs (B, 1, ...)) -> x (B, 1) or (B, 1, F)` turns outputs into the next input: arg max, a draw, or the
    value itself; no gradient goes through it; `value` takes its place for inputs that are no symbols. `probability()`
    is asked at each call for p, for example

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
        *,
        value: Callable[[Any], Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self._feedback, self._value = feedback, value or feedback
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
                own = (self._value if x.is_floating_point() else self._feedback)(outputs[-1]).detach()
                if own.shape != fed.shape:
                    fact = f"what is fed back must be {tuple(fed.shape)} as the input, got {tuple(own.shape)}"
                    hint = "scheduled sampling is for models that predict their own next input."
                    raise ShapeError(message("ScheduledSampling", fact, hint=hint))
                fed = torch.where(truth[:, now].view(rows, 1, *[1] * (x.dim() - 2)), fed, own)
            y, state = self.model(
                fed,
                state,
                lengths=None if lengths is None else (lengths - t).clamp(0, 1),
                resets=None if resets is None else resets[:, now],
            )
            outputs.append(y)
        return map_state(lambda *parts: torch.cat(parts, dim=1), *outputs), state
