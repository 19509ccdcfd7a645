"""Cases as batches for the training loop, each epoch in a new order."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Generator

from recurra.data.batch import Batch
from recurra.data.series.series_set import SeriesSet
from recurra.data.stream import EpochStream
from recurra.tasks.classify.prepare import Preparation, labels_of

__all__ = ["CaseStream"]


class CaseStream(EpochStream):
    """B cases at a time; x as `Preparation.pack` has it, y (B, 1) the classes.

    Batches of an epoch differ in size by at most one: a last one of a single case would say little.
    """

    def __init__(
        self,
        series: SeriesSet,
        which: np.ndarray,
        preparation: Preparation,
        batch_size: int,
        generator: Generator | None = None,
    ) -> None:
        super().__init__(generator)
        self.x, self.lengths = preparation.pack(series, which)
        self.y = torch.from_numpy(labels_of(series)[which])
        self._count = math.ceil(len(which) / batch_size)

    def __len__(self) -> int:
        return self._count

    def _plan(self) -> tuple[torch.Tensor, ...]:
        return torch.randperm(len(self.y), generator=self._generator).tensor_split(self._count)

    def _batch(self, plan: tuple[torch.Tensor, ...], index: int) -> Batch:
        rows = plan[index]
        lengths = self.lengths[rows]
        steps = int(lengths.max())
        ragged = bool((lengths < steps).any())
        return Batch(self.x[rows, :steps], self.y[rows].unsqueeze(1), lengths if ragged else None, first=True)
