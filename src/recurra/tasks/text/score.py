"""How well a text is predicted: every symbol once, the state carried through."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from recurra.base.errors import ConfigError, DataError, message

__all__ = ["Score", "score"]


class Score(NamedTuple):
    """The cross-entropy of a text, per symbol (a character, or a byte at level byte)."""

    nats: float
    positions: int
    """Symbols predicted: all but the first, which nothing precedes."""

    @property
    def bits(self) -> float:
        """Bits per symbol."""
        return self.nats / math.log(2)

    @property
    def perplexity(self) -> float:
        """How many equally likely symbols would be as hard; inf where a float cannot hold it."""
        return math.exp(self.nats) if self.nats < 700 else math.inf

    def numbers(self) -> dict[str, float]:
        """All of it, by name."""
        return {"nats": self.nats, "bits": self.bits, "perplexity": self.perplexity, "positions": self.positions}


@torch.inference_mode()
def score(model: nn.Module, tokens: np.ndarray, *, rows: int = 1, warm_up: int = 256, chunk: int = 512) -> Score:
    """Mean nats with which `model` predicts tokens (N,) from the second on.

    rows = 1: one stream; each symbol is predicted from all that came before it. This is the exact figure.
    rows > 1: faster. The text is cut into that many stretches, read side by side; each begins `warm_up` symbols early,
    which are read but not counted, so that its state is warm where counting begins. Every symbol counts once either
    way; the figures differ by what a symbol more than `warm_up` steps back still tells.

    Sums are float64. Raises DataError when there are fewer than two tokens, ConfigError for sizes below 1.
    """
    targets = len(tokens) - 1
    if targets < 1:
        raise DataError(message("score", f"at least 2 symbols are needed, the text has {len(tokens)}"))
    if min(rows, chunk) < 1 or warm_up < 0:
        raise ConfigError(
            message("score", f"rows and chunk must be >= 1 and warm_up >= 0, got {rows}, {chunk}, {warm_up}")
        )
    rows = min(rows, targets)
    warm_up = warm_up if rows > 1 else 0
    edges = np.linspace(0, targets, rows + 1).astype(np.int64)
    first, last = edges[:-1, None], edges[1:, None]
    steps = warm_up + int((last - first).max())
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    was_training = model.training
    model.eval()
    total, state = 0.0, None
    try:
        for begin in range(0, steps, chunk):
            # Where each row reads. Before the text, or beyond its stretch, a row reads a repeated symbol uncounted.
            at = first - warm_up + np.arange(begin, min(begin + chunk, steps) + 1)
            window = torch.from_numpy(tokens[np.clip(at, 0, targets)].astype(np.int64)).to(device)
            counted = torch.from_numpy((at[:, 1:] > first) & (at[:, 1:] <= last)).flatten()
            resets = torch.from_numpy(at[:, :-1] == 0)
            # The very first step begins from the initial state anyway; no resets keep the layer's fast path open.
            resets[:, 0] &= begin > 0
            logits, state = model(window[:, :-1], state, resets=resets.to(device) if bool(resets.any()) else None)
            flat = logits.flatten(0, 1).float()
            losses = nn.functional.cross_entropy(flat, window[:, 1:].flatten(), reduction="none").cpu()
            total += float(losses[counted].double().sum())
    finally:
        model.train(was_training)
    return Score(total / targets, targets)
