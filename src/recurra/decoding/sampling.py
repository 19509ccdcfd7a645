"""Drawing the next symbol: temperature, top-k, nucleus, repetition penalty, and the stream of symbols they make.

`probabilities` is the exact distribution that is drawn from; everything else here only feeds it and draws.
"""

from __future__ import annotations

import math
import sys
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import torch
from torch import Tensor

from recurra.base.errors import ConfigError, DataError, ShapeError, message

__all__ = ["Generation", "Sampling", "draw", "probabilities"]

State = Any
StepFunction = Callable[[Tensor, State], tuple[Tensor, State]]


class Sampling(msgspec.Struct, frozen=True, kw_only=True):
    """How the next symbol is chosen from the logits.

    temperature: divides the logits; 1 draws from the model as trained, 0 takes the likeliest symbol each time.
    top_k: keep the k likeliest symbols only; 0 keeps all.
    top_p: keep the smallest set of likeliest symbols whose probabilities sum to at least p; 1 keeps all
        (Holtzman et al., The Curious Case of Neural Text Degeneration, 2020).
    repetition_penalty: the log-probability of a symbol seen in the last `repetition_window` symbols is multiplied by
        this; 1 changes nothing. CTRL (Keskar et al., 2019) scales raw logits, which depends on a constant that
        softmax ignores; log-probabilities have no such constant.

    Raises ConfigError with all faults at once.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    repetition_penalty: float = 1.0
    repetition_window: int = 64

    def __post_init__(self) -> None:
        faults: list[str] = []
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            faults.append(f"temperature must be a finite number >= 0, got {self.temperature}")
        if self.top_k < 0:
            faults.append(f"top_k must be >= 0 (0 keeps every symbol), got {self.top_k}")
        if not 0 < self.top_p <= 1:
            faults.append(f"top_p must lie in (0, 1], got {self.top_p}")
        if not (math.isfinite(self.repetition_penalty) and self.repetition_penalty >= 1):
            faults.append(f"repetition_penalty must be a finite number >= 1, got {self.repetition_penalty}")
        if self.repetition_window < 0:
            faults.append(f"repetition_window must be >= 0, got {self.repetition_window}")
        if faults:
            raise ConfigError(message("Sampling", faults[0], *faults[1:]))


def probabilities(logits: Tensor, how: Sampling, recent: Tensor | None = None) -> Tensor:
    """The distribution the next symbol is drawn from: (..., V) logits in, (..., V) float64 out, each row sums to 1.

    The order is repetition penalty, temperature, top-k, top-p. A symbol whose logit is -inf is never drawn. `recent`
    (..., N) int64 holds the symbols the penalty applies to. Of equally likely symbols the lowest index counts as the
    likelier one, so that top-k keeps exactly k. Nothing overflows at any temperature: logits are shifted to have
    maximum 0, and float64 holds -1/temperature or rounds it to -inf, which is right.

    Raises DataError when a row holds NaN, +inf, or nothing but -inf.

    >>> probabilities(torch.tensor([2.0, 1.0, 0.0]).log(), Sampling(temperature=0.5)).round(decimals=6).tolist()
    [0.8, 0.2, 0.0]
    """
    logits = logits.double()
    # One number a row tells all: amax hands NaN and +inf on, and is -inf only where nothing can be drawn.
    if not logits.amax(-1).isfinite().all():
        raise DataError(
            message(
                "probabilities",
                "the logits hold NaN or +inf, or a row holds only -inf, so there is no distribution to draw from",
                hint="the weights are probably not finite; did training diverge?",
            )
        )
    if how.repetition_penalty != 1 and recent is not None and recent.shape[-1] > 0:
        logits = torch.log_softmax(logits, dim=-1)
        logits = logits.scatter(-1, recent, logits.gather(-1, recent) * how.repetition_penalty)
    # Below the smallest normal float64 a quotient 0/temperature could become 0/0 under flush-to-zero.
    if how.temperature < sys.float_info.min:
        best = logits.argmax(-1, keepdim=True)
        return torch.zeros_like(logits).scatter_(-1, best, 1.0)
    shifted = logits - logits.amax(-1, keepdim=True)
    probs = torch.softmax(shifted / how.temperature, dim=-1)
    size = probs.shape[-1]
    if (how.top_k == 0 or how.top_k >= size) and how.top_p == 1:
        return probs
    ranked, order = probs.sort(dim=-1, descending=True, stable=True)
    if 0 < how.top_k < size:
        ranked[..., how.top_k :] = 0
    if how.top_p < 1:
        total = ranked.sum(-1, keepdim=True)
        before = ranked.cumsum(-1) - ranked
        ranked = ranked.masked_fill(before >= how.top_p * total, 0)
    kept = torch.zeros_like(probs).scatter_(-1, order, ranked)
    return kept / kept.sum(-1, keepdim=True)


def draw(probs: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """One index per row: (..., V) probabilities in, (...) int64 out.

    By inversion of the cumulative sum, with one uniform number a row: the same seed keeps giving the same text when
    the vocabulary is filtered harder, and one call costs a few microseconds.
    """
    cumulative = probs.cumsum(-1)
    source = probs.device if generator is None else generator.device
    shape = (*probs.shape[:-1], 1)
    uniform = torch.rand(shape, generator=generator, dtype=probs.dtype, device=source).to(probs.device)
    # The uniform number is < 1, but the product may round up to the total; the last symbol with mass is meant then.
    total = cumulative[..., -1:]
    target = torch.minimum(uniform * total, torch.nextafter(total, -total))
    return torch.searchsorted(cumulative, target, right=True).squeeze(-1)


class Generation(Iterator[Tensor]):
    """An endless stream of symbols from any model with `logits, state = step(token, state)`.

    step: takes token (B,) int64 and a state (None = initial), gives logits (B, V) and the next state.
    prompt: (B, P) int64 with P >= 1; read first, not yielded again.
    state: continues an earlier stream: `Generation(step, last_token[:, None], state)`.

    Each `next` yields (B,) int64. The prompt is read when the first symbol is asked for. `state` is the state after
    every symbol but the one yielded last, `token`, which is what continuing takes. Lengths have no limit: memory stays
    constant.
    """

    def __init__(
        self,
        step: StepFunction,
        prompt: Tensor,
        state: State = None,
        *,
        how: Sampling | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        if prompt.dim() != 2 or prompt.shape[1] == 0:
            raise ShapeError(
                message(
                    "Generation",
                    f"prompt must be (B, P) with P >= 1, got {tuple(prompt.shape)}",
                    hint="a model predicts what follows a symbol; give it at least one, such as a line feed.",
                )
            )
        self.step = step
        self.how = how if how is not None else Sampling()
        self.generator = generator
        self.state = state
        self.token = prompt[:, -1]
        self._unread = prompt[:, :-1]
        self._recent: deque[Tensor] = deque(prompt.unbind(1), maxlen=self.how.repetition_window)

    @torch.inference_mode()
    def __next__(self) -> Tensor:
        for token in self._unread.unbind(1):
            _, self.state = self.step(token, self.state)
        self._unread = self._unread[:, :0]
        logits, self.state = self.step(self.token, self.state)
        penalised = self.how.repetition_penalty != 1 and len(self._recent) > 0
        recent = torch.stack(tuple(self._recent), dim=-1) if penalised else None
        self.token = draw(probabilities(logits, self.how, recent), self.generator)
        self._recent.append(self.token)
        return self.token
