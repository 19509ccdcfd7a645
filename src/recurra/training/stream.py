"""What the loop reads batches from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from recurra.data.batch import Batch

__all__ = ["Batches", "Stream"]


class Stream(Protocol):
    """Iterating gives the rest of the current epoch; iterating again gives the next one.

    `state_dict` taken while a batch is in use describes the place after that batch. `recurra.data.stream` has such.
    """

    @property
    def epoch(self) -> int:
        """Epochs handed out in full."""
        ...

    def __iter__(self) -> Iterator[Batch]: ...

    def state_dict(self) -> dict[str, Any]:
        """Where the stream stands, as numbers and tensors."""
        ...

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        """Go there."""
        ...


class Batches:
    """The same batches in the same order, epoch after epoch: the smallest stream."""

    def __init__(self, batches: Sequence[Batch]) -> None:
        self._batches = batches
        self._epoch = self._index = 0

    @property
    def epoch(self) -> int:
        """Epochs handed out in full."""
        return self._epoch

    def __iter__(self) -> Iterator[Batch]:
        for index in range(self._index, len(self._batches)):
            self._index = (index + 1) % len(self._batches)
            self._epoch += self._index == 0
            yield self._batches[index]

    def state_dict(self) -> dict[str, Any]:
        """Epoch, and index of the next batch."""
        return {"epoch": self._epoch, "index": self._index}

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        """Go on from there."""
        self._epoch, self._index = state["epoch"], state["index"]
