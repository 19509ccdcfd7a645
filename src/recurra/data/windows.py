"""Independent windows of one long sequence, for training that carries no state."""

from __future__ import annotations

import math

import numpy as np
import torch

from recurra.base.errors import DataError, message
from recurra.data.batch import Batch
from recurra.data.stream import EpochStream

__all__ = ["WindowStream"]


class WindowStream(EpochStream):
    """Windows of T tokens every `stride` tokens, B at a time in random order; each target is the next token.

    Every batch says `first`: nothing is carried from one to the next. The last batch of an epoch may have fewer rows.
    Raises DataError when the text has no room for one window.

    >>> stream = WindowStream(np.arange(9), length=4, batch_size=2, shuffle=False)
    >>> [batch.x.tolist() for batch in stream]
    [[[0, 1, 2, 3], [4, 5, 6, 7]]]
    """

    def __init__(
        self,
        tokens: np.ndarray,
        length: int,
        batch_size: int,
        *,
        stride: int | None = None,
        generator: torch.Generator | None = None,
        shuffle: bool = True,
    ) -> None:
        super().__init__(generator)
        stride = length if stride is None else stride
        if min(length, batch_size, stride) < 1:
            raise DataError(
                message(
                    "WindowStream", f"sizes must be >= 1: length {length}, batch_size {batch_size}, stride {stride}"
                )
            )
        if len(tokens) < length + 1:
            raise DataError(
                message(
                    "WindowStream",
                    f"a window of {length} and its targets want {length + 1} tokens, there are {len(tokens)}",
                    hint=f"length={max(len(tokens) - 1, 1)} is the most that fits.",
                )
            )
        self.tokens, self.length, self.batch_size = tokens, length, batch_size
        self._shuffle = shuffle
        self._starts = np.arange(0, len(tokens) - length, stride)

    def __len__(self) -> int:
        return math.ceil(len(self._starts) / self.batch_size)

    def _plan(self) -> np.ndarray:
        if not self._shuffle:
            return self._starts
        return self._starts[torch.randperm(len(self._starts), generator=self._generator).numpy()]

    def _batch(self, plan: np.ndarray, index: int) -> Batch:
        starts = plan[index * self.batch_size : (index + 1) * self.batch_size]
        positions = starts[:, None] + np.arange(self.length + 1)
        both = torch.from_numpy(self.tokens[positions].astype(np.int64))
        return Batch(both[:, :-1], both[:, 1:], first=True)
