"""The timing tasks of Gers, Schraudolph and Schmidhuber 2002, J. Mach. Learn. Res. 3:115.

`measure` (MSD, measuring spike delays): spikes at T(n) = T(n - 1) + F + I(n), I(n) from {0, 1}; at each spike the net
must say I(n): with F = 49, whether 49 or 50 steps have passed since the last one. Nothing is asked between spikes.
`generate` (GTS, generating timed spikes): no input; the output must be 1 at every F-th step and 0 otherwise.
`periodic` (PFG, periodic function generation): no input; the output must follow a wave of period F, from 0 to 1.

An answer is right within 0.49 (MSD, GTS) or 0.3 (PFG), and a net has solved a task when every one of a long test
sequence is.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Generator, Tensor

from recurra.base.errors import ConfigError, message
from recurra.data.batch import Batch

__all__ = ["Wave", "generate", "measure", "periodic", "wave"]

Wave = Literal["cosine", "triangle", "rectangle"]


def measure(
    batch_size: int, spikes: int, period: int = 49, spread: int = 1, generator: Generator | None = None
) -> Batch:
    """x (B, T, 1): 1 at a spike; y (B, T, 1): I(n), from 0 to `spread`, at the n-th spike, NaN elsewhere.

    The first spike is at step 0 and asks nothing; `spikes` others follow. T is the longest row's; shorter ones have
    no spikes behind their last and are not asked there.

    >>> one = measure(1, 3, 49, generator=torch.Generator().manual_seed(1))
    >>> one.x[0, :, 0].nonzero().flatten().diff().tolist(), one.y[~one.y.isnan()].tolist()
    ([50, 50, 49], [1.0, 1.0, 0.0])
    """
    if batch_size < 1 or spikes < 1 or period < 1 or spread < 1:
        fact = f"batch_size {batch_size}, spikes {spikes}, period {period} and spread {spread} must be from 1"
        raise ConfigError(message("spikes.measure", fact))
    extra = torch.randint(0, spread + 1, (batch_size, spikes), generator=generator)
    times = torch.nn.functional.pad((period + extra).cumsum(1), (1, 0))
    rows = torch.arange(batch_size)[:, None]
    x = torch.zeros(batch_size, int(times.max()) + 1, 1)
    x[rows, times, 0] = 1
    y = torch.full_like(x, torch.nan)
    y[rows, times[:, 1:], 0] = extra.float()
    return Batch(x, y)


def generate(periods: int, period: int = 10, batch_size: int = 1) -> Batch:
    """x (B, T, 1) zeros, y (B, T, 1): 1 at steps F - 1, 2 F - 1, ... so that the first spike comes F steps in.

    >>> generate(2, 4).y.flatten().tolist()
    [0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    """
    _check("spikes.generate", periods, period, batch_size)
    y = torch.zeros(batch_size, periods * period, 1)
    y[:, period - 1 :: period] = 1
    return Batch(torch.zeros_like(y), y)


def periodic(periods: int, period: int = 10, shape: Wave = "cosine", batch_size: int = 1) -> Batch:
    """x (B, T, 1) zeros, y (B, T, 1): the wave at t = 0, 1, ..."""
    _check("spikes.periodic", periods, period, batch_size)
    y = wave(torch.arange(periods * period), period, shape).expand(batch_size, -1).unsqueeze(-1).clone()
    return Batch(torch.zeros_like(y), y)


def wave(t: Tensor, period: int, shape: Wave = "cosine") -> Tensor:
    """From 0 to 1, and 0 at t = 0: (1 - cos 2 pi t/F) / 2, a triangle, or 0 in the first half of a period and 1 after.

    >>> wave(torch.arange(5), 4, "triangle").tolist()
    [0.0, 0.5, 1.0, 0.5, 0.0]
    """
    if shape not in get_args(Wave):
        raise ConfigError(message("spikes.wave", f"shape must be one of {', '.join(get_args(Wave))}, got {shape!r}"))
    phase = (t % period).to(torch.get_default_dtype()) / period
    if shape == "cosine":
        return (1 - torch.cos(2 * math.pi * phase)) / 2
    return 1 - (2 * phase - 1).abs() if shape == "triangle" else (phase >= 0.5).to(phase.dtype)


def _check(where: str, periods: int, period: int, batch_size: int) -> None:
    if periods < 1 or period < 2 or batch_size < 1:
        fact = f"periods and batch_size must be from 1 and period from 2, got {periods}, {batch_size} and {period}"
        raise ConfigError(message(where, fact))
