"""Associative recall (Graves et al. 2014): a list of items, then one again; wanted is what followed it.

An item is a few random bit vectors. Input channels: the bits, one that is 1 before every item, one that is 1 before and
behind the question. n items of m vectors take n (m + 1) + (m + 2) + m steps.
"""

from __future__ import annotations

import torch
from torch import Generator

from recurra.base.errors import ConfigError, message
from recurra.data.batch import Batch

__all__ = ["batch"]


def batch(
    batch_size: int,
    items: int | tuple[int, int] = (2, 6),
    vectors: int = 3,
    bits: int = 6,
    generator: Generator | None = None,
) -> Batch:
    """Lists of one number of items, drawn from low..high where `items` is a pair; the paper's settings by default.

    Returns a Batch of x (B, steps, bits + 2) and y (B, vectors, bits), which belongs to the last steps. Should the item
    asked for stand in the list twice, any of those that follow is meant; with 18 bits that is one list in 20,000.

    >>> one = batch(4, 3)
    >>> one.x.shape, one.y.shape
    (torch.Size([4, 20, 8]), torch.Size([4, 3, 6]))
    """
    low, high = (items, items) if isinstance(items, int) else items
    if batch_size < 1 or bits < 1 or vectors < 1 or not 2 <= low <= high:
        fact = f"batch_size {batch_size}, vectors {vectors} and bits {bits} must be from 1, items {low}..{high} from 2"
        raise ConfigError(message("associative_recall.batch", fact))
    count = int(torch.randint(low, high + 1, (), generator=generator))
    listed = torch.randint(0, 2, (batch_size, count, vectors, bits), generator=generator).float()
    asked = torch.randint(0, count - 1, (batch_size,), generator=generator)
    rows = torch.arange(batch_size)
    x = torch.zeros(batch_size, count * (vectors + 1) + 2 * vectors + 2, bits + 2)
    shown = x[:, : count * (vectors + 1)].view(batch_size, count, vectors + 1, bits + 2)
    shown[:, :, 0, bits] = 1
    shown[:, :, 1:, :bits] = listed
    start = count * (vectors + 1)
    x[:, start, bits + 1] = x[:, start + vectors + 1, bits + 1] = 1
    x[:, start + 1 : start + vectors + 1, :bits] = listed[rows, asked]
    return Batch(x, listed[rows, asked + 1])
