"""Sequences of different lengths in padded batches, like lengths together."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from recurra.base.errors import DataError, message
from recurra.data.batch import Batch
from recurra.data.stream import EpochStream

__all__ = ["BucketStream", "padded"]

_JITTER = 0.1
"""By how much a length is varied before sorting: neighbours change from epoch to epoch, padding hardly grows."""


def padded(pairs: Sequence[tuple[Tensor, Tensor]]) -> Batch:
    """One batch of (x (T,) or (T, F), y) pairs with their lengths; zeros stand behind the end of a shorter one.

    A target with the length of its input is padded like it (B, T, ...); targets of one shape otherwise, one per
    sequence, are stacked (B, ...).
    """
    xs, ys = zip(*pairs, strict=True)
    lengths = torch.tensor([len(x) for x in xs])
    per_step = all(y.dim() > 0 and len(y) == len(x) for x, y in pairs)
    targets = pad_sequence(list(ys), batch_first=True) if per_step else torch.stack(ys)
    return Batch(pad_sequence(list(xs), batch_first=True), targets, lengths, first=True)


class BucketStream(EpochStream):
    """Batches of B sequences of nearly equal length, in random order; each batch stands for itself (`first`).

    With `shuffle=False` batches come from the longest sequences to the shortest (what does not fit in memory shows at
    once) and `order` says which sequence stands where.

    Raises DataError when there are no sequences or one of them is empty.
    """

    def __init__(
        self,
        pairs: Sequence[tuple[Tensor, Tensor]],
        batch_size: int,
        *,
        generator: torch.Generator | None = None,
        shuffle: bool = True,
    ) -> None:
        super().__init__(generator)
        if batch_size < 1 or not pairs:
            raise DataError(
                message("BucketStream", f"wants at least one row and one sequence, got {batch_size} and {len(pairs)}")
            )
        self._lengths = torch.tensor([len(x) for x, _ in pairs])
        empty = (self._lengths == 0).nonzero().flatten().tolist()
        if empty:
            raise DataError(
                message("BucketStream", f"sequence {empty[0]} is empty", f"Empty in all: {len(empty)} of {len(pairs)}.")
            )
        self.pairs, self.batch_size, self._shuffle = pairs, batch_size, shuffle

    def __len__(self) -> int:
        return math.ceil(len(self.pairs) / self.batch_size)

    @property
    def order(self) -> list[int]:
        """The sequence at each row of an unshuffled epoch, batch after batch."""
        return torch.argsort(self._lengths, descending=True, stable=True).tolist()

    def _plan(self) -> list[list[int]]:
        order = self.order
        if self._shuffle:
            noise = 1 + _JITTER * (2 * torch.rand(len(order), generator=self._generator) - 1)
            order = torch.argsort(self._lengths * noise).tolist()
        batches = [order[start : start + self.batch_size] for start in range(0, len(order), self.batch_size)]
        if not self._shuffle:
            return batches
        return [batches[index] for index in torch.randperm(len(batches), generator=self._generator).tolist()]

    def _batch(self, plan: list[list[int]], index: int) -> Batch:
        return padded([self.pairs[row] for row in plan[index]])
