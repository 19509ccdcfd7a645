"""XOR in time (Elman 1990): two random bits, then their exclusive or, and so on; predict the next bit.

Only every third bit can be predicted, so no model can spend less than 2/3 of a bit per bit, and the error of one that
has learned it dips at every third step.
"""

from __future__ import annotations

import torch
from torch import Generator

from recurra.base.errors import ConfigError, message
from recurra.data.batch import Batch

__all__ = ["ENTROPY_BITS", "batch"]

ENTROPY_BITS = 2 / 3
"""Per step."""


def batch(batch_size: int, triples: int, generator: Generator | None = None) -> Batch:
    """x (B, 3 n - 1, 1): bits 0 or 1; y (B, 3 n - 1, 1): the bit after each; y[:, 1::3] is what can be known.

    >>> one = batch(1, 4)
    >>> x, y = one.x[0, :, 0], one.y[0, :, 0]
    >>> bool((y[1::3] == (x[0::3] != x[1::3])).all())
    True
    """
    if batch_size < 1 or triples < 1:
        raise ConfigError(message("xor_sequence.batch", f"needs B >= 1 and n >= 1, got {batch_size} and {triples}"))
    pairs = torch.randint(0, 2, (batch_size, triples, 2), generator=generator)
    bits = torch.cat([pairs, pairs.sum(-1, keepdim=True) % 2], -1).flatten(1).float().unsqueeze(-1)
    return Batch(bits[:, :-1], bits[:, 1:])
