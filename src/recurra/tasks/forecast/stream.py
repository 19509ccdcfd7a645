"""Windows of many series as batches for the training loop, gathered when they are asked for."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Generator

from recurra.data.batch import Batch
from recurra.data.series.window import SeriesWindows
from recurra.data.stream import EpochStream
from recurra.tasks.forecast.layout import Layout

__all__ = ["ForecastStream"]


class ForecastStream(EpochStream):
    """B windows at a time in random order; one epoch is `per_epoch` of them, all where that is 0.

    With `weights` (n,) windows are drawn with replacement in those proportions, as DeepAR does by scale.
    show: put the future into x, for nets that are taught by it. forget: the share of rows whose series stays unnamed,
    so that a new series can be forecast too.
    """

    def __init__(
        self,
        windows: SeriesWindows,
        layout: Layout,
        batch_size: int,
        *,
        per_epoch: int = 0,
        weights: np.ndarray | None = None,
        show: bool = False,
        forget: float = 0.0,
        generator: Generator | None = None,
        shuffle: bool = True,
    ) -> None:
        super().__init__(generator)
        self.windows, self.layout, self.batch_size = windows, layout, batch_size
        self.size = min(per_epoch, len(windows)) if per_epoch else len(windows)
        self.show, self.forget, self._shuffle = show, forget, shuffle
        self._weights = None if weights is None else torch.from_numpy(weights)

    def __len__(self) -> int:
        return math.ceil(self.size / self.batch_size)

    def _plan(self) -> tuple[np.ndarray, torch.Tensor | None]:
        """The windows of the epoch, and which of them keep the name of their series."""
        if not self._shuffle:
            return np.arange(self.size), None
        if self._weights is not None:
            chosen = torch.multinomial(self._weights, self.size, True, generator=self._generator)
        else:
            chosen = torch.randperm(len(self.windows), generator=self._generator)[: self.size]
        if not (self.forget and self.layout.series):
            return chosen.numpy(), None
        return chosen.numpy(), torch.rand(self.size, generator=self._generator) >= self.forget

    def _batch(self, plan: tuple[np.ndarray, torch.Tensor | None], index: int) -> Batch:
        rows = slice(index * self.batch_size, (index + 1) * self.batch_size)
        window = self.windows[plan[0][rows]]
        x = self.layout.pack(window, self.windows.set, show=self.show)
        if plan[1] is not None:
            x[:, 0, -1] *= plan[1][rows]
        y = torch.from_numpy(window.values[:, self.layout.look_back :, 0].astype(np.float32))
        return Batch(x, y, first=True)

    def batches(self, rows: np.ndarray, size: int = 512) -> Iterator[Batch]:
        """Yield these windows in order."""
        for begin in range(0, len(rows), size):
            yield self._batch((rows[begin : begin + size], None), 0)
