"""The copy task of Graves et al. 2014: random bit vectors, a delimiter, and the same vectors wanted back.

Input channels: the bits, then one that is 1 at the first step and one that is 1 at the delimiter. While the answer is
given the input is 0. A length L so takes 2 L + 2 steps.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from recurra.base.errors import ConfigError, message
from recurra.data.batch import Batch

__all__ = ["batch", "bits_per_sequence"]


def batch(batch_size: int, length: int | tuple[int, int], bits: int = 8, generator: Generator | None = None) -> Batch:
    """Sequences of one length, which is drawn from low..high where `length` is a pair.

    Returns a Batch of x (B, 2 L + 2, bits + 2) and y (B, L, bits), which belongs to the last L steps.

    >>> one = batch(4, 5)
    >>> one.x.shape, one.y.shape
    (torch.Size([4, 12, 10]), torch.Size([4, 5, 8]))
    """
    low, high = (length, length) if isinstance(length, int) else length
    if batch_size < 1 or bits < 1 or not 1 <= low <= high:
        fact = f"batch_size {batch_size}, bits {bits} and lengths {low}..{high} must be from 1, and low <= high"
        raise ConfigError(message("ntm_copy.batch", fact))
    size = int(torch.randint(low, high + 1, (), generator=generator))
    y = torch.randint(0, 2, (batch_size, size, bits), generator=generator).float()
    x = torch.zeros(batch_size, 2 * size + 2, bits + 2)
    x[:, 0, bits] = 1
    x[:, 1 : size + 1, :bits] = y
    x[:, size + 1, bits + 1] = 1
    return Batch(x, y)


def bits_per_sequence(logits: Tensor, y: Tensor) -> Tensor:
    """Mean over the batch of the bits that a whole answer costs; logits (B, T, bits), of which the last L steps count.

    0 is a perfect answer, L times the number of bits that of a coin.
    """
    answer = logits[:, logits.shape[1] - y.shape[1] :]
    nats = torch.nn.functional.binary_cross_entropy_with_logits(answer, y, reduction="sum")
    return nats / y.shape[0] / torch.log(torch.tensor(2.0, dtype=nats.dtype))
