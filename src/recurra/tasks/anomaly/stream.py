"""Windows of rows as batches for the training loop."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Generator

from recurra.base.errors import DataError, message
from recurra.data.batch import Batch
from recurra.data.stream import EpochStream
from recurra.tasks.anomaly.network import ErrorNet, packed

__all__ = ["WindowStream"]


class WindowStream(EpochStream):
    """Sequences of `steps` rows within a share of each series, a quarter of that apart; targets of normal rows."""

    def __init__(
        self,
        values: list[np.ndarray],
        normal: list[np.ndarray],
        share: tuple[float, float],
        steps: int,
        net: ErrorNet,
        batch: int,
        generator: Generator | None,
    ) -> None:
        super().__init__(generator)
        self.values, self.normal, self.steps, self.net, self.batch = values, normal, steps, net, batch
        self.shuffled = generator is not None
        stride = max(1, steps // 4)
        positions = []
        for index, rows in enumerate(values):
            first, last = (int(edge * len(rows)) for edge in share)
            positions += [(index, begin) for begin in range(first, last - steps + 1, stride)]
        self.positions = np.array(positions, np.int64).reshape(-1, 2)
        if not len(self.positions):
            longest = max(map(len, values))
            fact = (
                f"no series has {steps} rows from {share[0]:g} to {share[1]:g} of its length; the longest has {longest}"
            )
            raise DataError(message("anomaly", fact, hint="a smaller net.window, or more rows."))

    def __len__(self) -> int:
        return math.ceil(len(self.positions) / self.batch)

    def _plan(self) -> np.ndarray:
        if not self.shuffled:
            return np.arange(len(self.positions))
        return torch.randperm(len(self.positions), generator=self._generator).numpy()

    def _batch(self, plan: np.ndarray, index: int) -> Batch:
        positions = self.positions[plan[index * self.batch : (index + 1) * self.batch]]
        block, normal = (
            np.stack([series[index][begin : begin + self.steps] for index, begin in positions.tolist()])
            for series in (self.values, self.normal)
        )
        return Batch(packed(block), torch.from_numpy(self.net.targets(normal).astype(np.float32)), first=True)

    def batches(self) -> Iterator[Batch]:
        """Yield every window once, in order."""
        for index in range(len(self)):
            yield self._batch(np.arange(len(self.positions)), index)
