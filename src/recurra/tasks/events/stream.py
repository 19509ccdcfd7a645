"""Streams with their targets as batches: long rows read side by side in chunks, the state carried along."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Generator

from recurra.base.errors import DataError, message
from recurra.data.batch import Batch
from recurra.data.stream import EpochStream

__all__ = ["EventStream"]


class _Plan(NamedTuple):
    starts: np.ndarray


class EventStream(EpochStream):
    """Frames (F, W) of all series end to end, cut into B rows; a row's state starts anew where a series begins.

    targets: (F,) int64 or (F, K) float32. begins: (F,) bool, the first frames of series. The rows begin at an offset
    drawn anew each epoch, so what an epoch leaves out is another part each time.
    """

    def __init__(
        self,
        frames: np.ndarray,
        targets: np.ndarray,
        begins: np.ndarray,
        batch_size: int,
        chunk: int,
        generator: Generator | None = None,
    ) -> None:
        super().__init__(generator)
        total = len(frames)
        if total < 2:
            raise DataError(message("events", f"there are {total} frames to learn from; two at least"))
        self.chunk = min(chunk, total)
        # Rows of a few chunks at least: a state that never grows old is no state of a stream.
        self.rows = max(1, min(batch_size, total // (4 * self.chunk)))
        spare = min(self.chunk - 1, total - self.rows * self.chunk)
        # Whole chunks only: a last one of a few frames would count as much as any other.
        self._length = (total - spare) // self.rows // self.chunk * self.chunk
        self._slack = total - self._length * self.rows
        self.frames, self.targets, self.begins = frames, targets, begins

    def __len__(self) -> int:
        return self._length // self.chunk

    def _plan(self) -> _Plan:
        offset = int(torch.randint(self._slack + 1, (), generator=self._generator))
        return _Plan(offset + np.arange(self.rows) * self._length)

    def _batch(self, plan: _Plan, index: int) -> Batch:
        begin, end = index * self.chunk, (index + 1) * self.chunk
        rows = plan.starts[:, None] + np.arange(begin, end)
        resets = self.begins[rows]
        resets[:, 0] &= index > 0
        return Batch(
            torch.from_numpy(self.frames[rows]),
            torch.from_numpy(self.targets[rows]),
            None,
            torch.from_numpy(resets) if resets.any() else None,
            first=index == 0,
        )
