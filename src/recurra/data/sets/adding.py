"""The adding problem: two of many numbers are marked, far apart; wanted at the end is their sum.

Two forms. `batch` is the one in use since Le, Jaitly and Hinton 2015 and Arjovsky, Shah and Bengio 2016: numbers from
[0, 1], one mark in each half, the target their sum. Whoever always says 1 has a mean squared error of 1/6 = 0.1667, the
variance of a sum of two such numbers (one widely copied README says 0.1767).

`batch_1997` is Hochreiter and Schmidhuber's (1997, experiment 4): numbers from [-1, 1], lengths from T to 1.1 T, the
first mark among the first 10 steps, the second among the first T/2 - 1 that are unmarked, marks of -1 at both ends, and
the target 0.5 + (X1 + X2) / 4. Its trivial error is 1/24 = 0.0417.
"""

from __future__ import annotations

import torch
from torch import Generator

from recurra.base.errors import ConfigError, message
from recurra.data.batch import Batch

__all__ = ["BASELINE", "BASELINE_1997", "batch", "batch_1997"]

BASELINE = 1 / 6
BASELINE_1997 = 1 / 24


def batch(batch_size: int, length: int, generator: Generator | None = None) -> Batch:
    """x (B, T, 2): number, and mark 0 or 1; y (B, 1): the sum of the two marked numbers.

    >>> one = batch(2, 8, torch.Generator().manual_seed(0))
    >>> one.x[..., 1].sum(1).tolist(), torch.equal((one.x[..., 0] * one.x[..., 1]).sum(1, keepdim=True), one.y)
    ([2.0, 2.0], True)
    """
    if batch_size < 1 or length < 2:
        raise ConfigError(message("adding.batch", f"needs B >= 1 and T >= 2, got {batch_size} and {length}"))
    x = torch.zeros(batch_size, length, 2)
    x[..., 0] = torch.rand(batch_size, length, generator=generator)
    rows, half = torch.arange(batch_size), length // 2
    x[rows, torch.randint(0, half, (batch_size,), generator=generator), 1] = 1
    x[rows, torch.randint(half, length, (batch_size,), generator=generator), 1] = 1
    return Batch(x, (x[..., 0] * x[..., 1]).sum(1, keepdim=True))


def batch_1997(batch_size: int, length: int, generator: Generator | None = None) -> Batch:
    """x (B, T', 2), y (B, 1), lengths (B,) from T to 1.1 T.

    >>> one = batch_1997(3, 100, torch.Generator().manual_seed(0))
    >>> one.x[:, 0, 1].tolist(), bool((one.lengths >= 100).all())
    ([-1.0, -1.0, -1.0], True)
    """
    if batch_size < 1 or length < 24:
        # Ten steps for the first mark, and T/2 - 1 of them for the second.
        raise ConfigError(message("adding.batch_1997", f"needs B >= 1 and T >= 24, got {batch_size} and {length}"))
    lengths = torch.randint(length, length + length // 10 + 1, (batch_size,), generator=generator)
    steps = int(lengths.max())
    x = torch.zeros(batch_size, steps, 2)
    x[..., 0] = torch.rand(batch_size, steps, generator=generator) * 2 - 1
    rows = torch.arange(batch_size)
    first = torch.randint(0, 10, (batch_size,), generator=generator)
    # The k-th of the steps that are not marked yet.
    second = torch.randint(0, length // 2 - 1, (batch_size,), generator=generator)
    second = second + (second >= first)
    # "In the rare case where the first pair of the sequence gets marked, we set X1 to zero."
    x[first == 0, 0, 0] = 0
    x[second == 0, 0, 0] = 0
    total = x[rows, first, 0] + x[rows, second, 0]
    x[:, 0, 1] = x[rows, lengths - 1, 1] = -1
    x[rows, first, 1] = x[rows, second, 1] = 1
    # Where the first step is marked, its mark stands and not the -1 of the ends.
    x[torch.arange(steps) >= lengths[:, None]] = 0
    return Batch(x, (0.5 + total / 4).unsqueeze(1), lengths)
