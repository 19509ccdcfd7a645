"""The repeat-copy task of Graves et al. 2014: bit vectors and a number; wanted are so many copies, and an end.

Input channels: the bits, one that is 1 at the first step, and one that carries the number at the step behind the
sequence, scaled to mean 0 and deviation 1 over the range 1..10. A length L, n times, takes (n + 1) L + 3 steps.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from recurra.base.errors import ConfigError, message
from recurra.data.batch import Batch

__all__ = ["batch", "scaled"]


def scaled(repeats: int | Tensor) -> Tensor:
    """The number as the net reads it: 0 for 5.5, in deviations of a number drawn from 1..10.

    >>> round(float(scaled(10)), 4)
    1.5667
    """
    return (torch.as_tensor(repeats, dtype=torch.get_default_dtype()) - 5.5) / (99 / 12) ** 0.5


def batch(
    batch_size: int,
    length: int | tuple[int, int] = (1, 10),
    repeats: int | tuple[int, int] = (1, 10),
    bits: int = 8,
    generator: Generator | None = None,
) -> Batch:
    """Sequences of one length and one number of repeats, drawn from the pairs low..high.

    Returns a Batch of x (B, (n + 1) L + 3, bits + 2) and y (B, n L + 1, bits + 1), which belongs to the last steps; its
    last channel is 1 at the end alone.

    >>> one = batch(4, 3, 2)
    >>> one.x.shape, one.y.shape
    (torch.Size([4, 12, 10]), torch.Size([4, 7, 9]))
    """
    ranges = [(value, value) if isinstance(value, int) else value for value in (length, repeats)]
    if batch_size < 1 or bits < 1 or any(not 1 <= low <= high for low, high in ranges):
        fact = f"batch_size {batch_size}, bits {bits}, lengths and repeats {ranges} must be from 1, and low <= high"
        raise ConfigError(message("repeat_copy.batch", fact))
    size, times = (int(torch.randint(low, high + 1, (), generator=generator)) for low, high in ranges)
    vectors = torch.randint(0, 2, (batch_size, size, bits), generator=generator).float()
    x = torch.zeros(batch_size, (times + 1) * size + 3, bits + 2)
    x[:, 0, bits] = 1
    x[:, 1 : size + 1, :bits] = vectors
    x[:, size + 1, bits + 1] = scaled(times)
    y = torch.zeros(batch_size, times * size + 1, bits + 1)
    y[:, :-1, :bits] = vectors.repeat(1, times, 1)
    y[:, -1, bits] = 1
    return Batch(x, y)
