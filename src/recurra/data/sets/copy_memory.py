"""The copy memory problem: ten symbols, a long wait, and the same ten wanted back.

Hochreiter and Schmidhuber 1997 in the form of Arjovsky, Shah and Bengio 2016: ten symbols of eight kinds, T - 1 blanks,
a signal, ten blanks; T + 20 steps in all. Wanted: blanks, and in the last ten steps the symbols. Without a memory the
best is to name each of the eight with 1/8 at the end: 10 ln 8 / (T + 20) nats a step.
"""

from __future__ import annotations

import math

import torch
from torch import Generator

from recurra.base.errors import ConfigError, message
from recurra.data.batch import Batch

__all__ = ["KINDS", "LENGTH", "baseline", "batch"]

KINDS, LENGTH = 8, 10
_BLANK, _SIGNAL = KINDS, KINDS + 1


def baseline(wait: int) -> float:
    """Nats a step of the answer that remembers nothing.

    >>> round(baseline(500), 5)
    0.03999
    """
    return LENGTH * math.log(KINDS) / (wait + 2 * LENGTH)


def batch(batch_size: int, wait: int, generator: Generator | None = None) -> Batch:
    """x (B, T + 20, 10) one-hot (eight symbols, blank, signal), y (B, T + 20) int64 of the same ten classes.

    >>> one = batch(1, 5)
    >>> one.x.shape, bool((one.y[0, -10:] == one.x[0, :10].argmax(-1)).all()), one.x[0, 14].argmax().item()
    (torch.Size([1, 25, 10]), True, 9)
    """
    if batch_size < 1 or wait < 1:
        raise ConfigError(message("copy_memory.batch", f"needs B >= 1 and wait >= 1, got {batch_size} and {wait}"))
    symbols = torch.randint(0, KINDS, (batch_size, LENGTH), generator=generator)
    shown = torch.full((batch_size, wait + 2 * LENGTH), _BLANK)
    wanted = shown.clone()
    shown[:, :LENGTH] = symbols
    shown[:, LENGTH + wait - 1] = _SIGNAL
    wanted[:, -LENGTH:] = symbols
    return Batch(torch.nn.functional.one_hot(shown, KINDS + 2).float(), wanted)
