"""Training batches that are drawn as they are needed, or from a fixed set; both continue to the bit."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Generator, Tensor

from recurra.base.errors import DataError, message
from recurra.data.batch import Batch
from recurra.data.buckets import padded
from recurra.data.stream import EpochStream

__all__ = ["Drawn", "Picked", "Rows"]


class Drawn:
    """Batches without end, each drawn by `draw(generator)`; an epoch is so many of them, for the log only."""

    def __init__(self, draw: Callable[[Generator], Batch], generator: Generator, per_epoch: int = 1000) -> None:
        self._draw, self._generator, self._per_epoch = draw, generator, per_epoch
        self._batches = 0
        self.sequences = 0
        """How many were handed out."""

    @property
    def epoch(self) -> int:
        """Epochs handed out in full."""
        return self._batches // self._per_epoch

    def __iter__(self) -> Iterator[Batch]:
        for _ in range(self._per_epoch - self._batches % self._per_epoch):
            batch = self._draw(self._generator)._replace(first=True)
            # Counted before it is handed out: a state saved while it is in use resumes after it.
            self._batches += 1
            self.sequences += batch.x.shape[0]
            yield batch

    def state_dict(self) -> dict[str, Any]:
        """Counts, and the generator's state (uint8 tensor)."""
        return {"batches": self._batches, "sequences": self.sequences, "generator": self._generator.get_state()}

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        """Go on from there."""
        self._batches, self.sequences = int(state["batches"]), int(state["sequences"])
        self._generator.set_state(state["generator"])


class Picked(Drawn):
    """Batches of `batch_size` sequences picked at random, with repetition, from a fixed set of (x, y) pairs.

    As in the experiments of 1997. Pairs as `recurra.data.buckets.padded` takes them.
    """

    def __init__(self, pairs: Sequence[tuple[Tensor, Tensor]], batch_size: int, generator: Generator) -> None:
        if not pairs:
            raise DataError(message("Picked", "there is no sequence to pick from"))

        def draw(generator: Generator) -> Batch:
            chosen = torch.randint(len(pairs), (batch_size,), generator=generator).tolist()
            if batch_size > 1:
                return padded([pairs[index] for index in chosen])
            x, y = pairs[chosen[0]]
            return Batch(x.unsqueeze(0), y.unsqueeze(0))

        super().__init__(draw, generator, per_epoch=max(1, len(pairs) // batch_size))


class Rows(EpochStream):
    """Every row of x (N, T, F) and y (N, ...) once an epoch, in a new order each time; the last batch may be short."""

    def __init__(self, x: Tensor, y: Tensor, batch_size: int, generator: Generator) -> None:
        super().__init__(generator)
        if not len(x) or len(x) != len(y):
            raise DataError(message("Rows", f"x and y must have the same number of rows, got {len(x)} and {len(y)}"))
        self._x, self._y, self._batch_size = x, y, batch_size

    def __len__(self) -> int:
        return math.ceil(len(self._x) / self._batch_size)

    @property
    def sequences(self) -> int:
        """How many rows were handed out."""
        return self._epoch * len(self._x) + self._index * self._batch_size

    def _plan(self) -> Tensor:
        return torch.randperm(len(self._x), generator=self._generator)

    def _batch(self, plan: Tensor, index: int) -> Batch:
        rows = plan[index * self._batch_size : (index + 1) * self._batch_size]
        return Batch(self._x[rows], self._y[rows], first=True)
