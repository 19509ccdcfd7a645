"""The temporal order problem: in what order did two, three or four marked symbols come, far apart among others?

Hochreiter and Schmidhuber 1997, experiments 6a and 6b: a sequence begins with E, ends with B, and is otherwise drawn
from a, b, c, d, but for the relevant symbols, each X or Y. Its length is drawn from 100 to 110. Two of them stand at
steps drawn from 10..20 and 50..60 (6a, 4 classes); three at 10..20, 33..43 and 66..76 (6b, 8 classes). Steps count
from 0. Four (16 classes) at 10..20, 30..40, 50..60 and 70..80 are this library's continuation, in no paper.
"""

from __future__ import annotations

import torch
from torch import Generator

from recurra.base.errors import ConfigError, message
from recurra.data.batch import Batch

__all__ = ["PLACES", "SYMBOLS", "batch"]

SYMBOLS = "abcdXYBE"
"""The order of the eight inputs."""

PLACES = {2: (10, 50), 3: (10, 33, 66), 4: (10, 30, 50, 70)}
"""Number of relevant symbols -> earliest step of each, in sequences of 100 steps; the latest is 10 later."""


def batch(batch_size: int, relevant: int = 2, length: int = 100, generator: Generator | None = None) -> Batch:
    """x (B, T, 8) one-hot, y (B,) the class, lengths (B,) from `length` to 1.1 `length`.

    The class reads the relevant symbols as a binary number, first one highest, X 0 and Y 1. For other lengths than 100
    the places are scaled.

    >>> one = batch(4, generator=torch.Generator().manual_seed(0))
    >>> "".join(SYMBOLS[index] for index in one.x[0].argmax(-1).tolist())[:13], one.y.tolist()
    ('EdddbdbcadYaa', [3, 0, 0, 2])
    """
    if relevant not in PLACES or batch_size < 1 or length < 20:
        fact = f"relevant must be 2, 3 or 4, batch_size from 1, length from 20, got {relevant}, {batch_size}, {length}"
        raise ConfigError(message("temporal_order.batch", fact))
    lengths = torch.randint(length, length + length // 10 + 1, (batch_size,), generator=generator)
    steps = int(lengths.max())
    symbols = torch.randint(0, 4, (batch_size, steps), generator=generator)
    symbols[:, 0] = SYMBOLS.index("E")
    rows = torch.arange(batch_size)
    classes = torch.zeros(batch_size, dtype=torch.long)
    for first in PLACES[relevant]:
        start, wide = first * length // 100, max(1, length // 10)
        at = torch.randint(start, start + wide + 1, (batch_size,), generator=generator)
        which = torch.randint(0, 2, (batch_size,), generator=generator)
        symbols[rows, at] = SYMBOLS.index("X") + which
        classes = 2 * classes + which
    symbols[rows, lengths - 1] = SYMBOLS.index("B")
    x = torch.nn.functional.one_hot(symbols, len(SYMBOLS)).float()
    x[torch.arange(steps) >= lengths[:, None]] = 0
    return Batch(x, classes, lengths)
