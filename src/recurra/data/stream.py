"""Batches of an epoch, in an order that a resumed run continues bit for bit; and the stream of one long text.

rows of a TokenStream (B = 3, chunk = 4):   a b c d | e f g h | i j
                                            k l m n | o p q r | s t
                                            u v w x | y z A B | C D
The carried state runs along each row; a chunk is one batch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from recurra.base.errors import DataError, message
from recurra.data.batch import Batch

__all__ = ["EpochStream", "TokenStream"]


class EpochStream(ABC):
    """Iterating gives the batches of one epoch; iterating again gives the next.

    An epoch's chance (order, offset, restarts) is drawn at its start from the stream's own generator, so that
    `state_dict` is three small values: the epoch, the index of the next batch, and the generator at the epoch's start.
    An iteration that was left in the middle goes on from there.
    """

    def __init__(self, generator: torch.Generator | None) -> None:
        self._generator = generator if generator is not None else torch.Generator().manual_seed(0)
        self._epoch = 0
        self._index = 0
        self._epoch_start = self._generator.get_state()

    @property
    def epoch(self) -> int:
        """How many epochs have been handed out in full."""
        return self._epoch

    @abstractmethod
    def __len__(self) -> int:
        """Batches in an epoch."""

    @abstractmethod
    def _plan(self) -> Any:
        """Everything that chance decides in one epoch, drawn from the generator."""

    @abstractmethod
    def _batch(self, plan: Any, index: int) -> Batch:
        """Batch `index` of the epoch."""

    def __iter__(self) -> Iterator[Batch]:
        if self._index:
            self._generator.set_state(self._epoch_start)
        else:
            self._epoch_start = self._generator.get_state()
        plan = self._plan()
        for index in range(self._index, len(self)):
            batch = self._batch(plan, index)
            # Moved on before the batch is handed out: a state saved while it is in use resumes after it.
            self._index = (index + 1) % len(self)
            self._epoch += self._index == 0
            yield batch

    def restart(self) -> None:
        """Forget a half-read epoch: the next iteration begins a new one."""
        self._index = 0

    def state_dict(self) -> dict[str, Any]:
        """Where the stream stands: `epoch`, `index` of the next batch, `generator` state (uint8 tensor)."""
        generator = self._epoch_start if self._index else self._generator.get_state()
        return {"epoch": self._epoch, "index": self._index, "generator": generator}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken; DataError when this stream has fewer batches than that one had."""
        if not 0 <= state["index"] < len(self):
            raise DataError(
                message(
                    type(self).__name__,
                    f"cannot continue at batch {state['index']}: an epoch has {len(self)} batches here",
                    hint="the data, the batch size or the chunk length differ from those of the saved run.",
                )
            )
        self._epoch, self._index = int(state["epoch"]), int(state["index"])
        self._generator.set_state(state["generator"])
        self._epoch_start = self._generator.get_state()


class _TokenPlan(NamedTuple):
    starts: np.ndarray
    """Where each row begins, int64 (B,)."""
    restarts: Tensor | None
    """Whose state restarts at the head of each chunk, bool (chunks, B)."""


class TokenStream(EpochStream):
    """One long sequence of tokens as B contiguous rows, read side by side in chunks of T; each target is the next.

    For training (`shuffle=True`) the rows begin at an offset drawn anew each epoch, all rows are equally long, and each
    row restarts from the initial state at the head of a chunk with probability `reset_probability` (a model that never
    sees its initial state again is lost when generation begins there). An epoch leaves out fewer than T + B targets,
    others each time. For evaluation (`shuffle=False`) every target of the text counts exactly once; rows differ in
    length by at most one, which the last batch says in `lengths`.

    Raises DataError when the text is too short for the rows, with the sizes that would do.

    >>> stream = TokenStream(np.arange(11), batch_size=2, chunk=3, shuffle=False)
    >>> [(b.x.tolist(), b.y.tolist()) for b in stream][0]
    ([[0, 1, 2], [5, 6, 7]], [[1, 2, 3], [6, 7, 8]])
    """

    def __init__(
        self,
        tokens: np.ndarray,
        batch_size: int,
        chunk: int,
        *,
        generator: torch.Generator | None = None,
        reset_probability: float = 0.0,
        shuffle: bool = True,
    ) -> None:
        super().__init__(generator)
        targets = len(tokens) - 1
        _require_positive(batch_size=batch_size, chunk=chunk)
        if not 0 <= reset_probability <= 1:
            raise DataError(message("TokenStream", f"reset_probability must be from 0 to 1, got {reset_probability}"))
        _require_enough(targets, batch_size, chunk if shuffle else 1)
        self.tokens, self.batch_size, self.chunk = tokens, batch_size, chunk
        self._reset_probability, self._shuffle = reset_probability, shuffle
        # An offset of up to a chunk moves every chunk boundary, unless the text is too short to spare one.
        spare = min(chunk - 1, targets - batch_size * chunk) if shuffle else 0
        self._row, extra = divmod(targets - spare, batch_size)
        self._longer = 0 if shuffle else extra
        """How many rows (the first ones) have one target more than `_row`."""
        self._slack = targets - self._row * batch_size if shuffle else 0
        self._edges = self._chunk_edges()

    def _chunk_edges(self) -> list[int]:
        longest = self._row + (self._longer > 0)
        edges = [*range(0, longest, self.chunk), longest]
        if self._longer and len(edges) > 2 and edges[-1] - edges[-2] == 1:
            # A last chunk of one step would be empty in the shorter rows; the chunk before takes it.
            del edges[-2]
        return edges

    def __len__(self) -> int:
        return len(self._edges) - 1

    @property
    def targets(self) -> int:
        """How many targets one epoch has."""
        return self._row * self.batch_size + self._longer

    def _plan(self) -> _TokenPlan:
        offset = int(torch.randint(self._slack + 1, (), generator=self._generator)) if self._shuffle else 0
        rows = np.arange(self.batch_size)
        starts = offset + rows * self._row + np.minimum(rows, self._longer)
        if self._reset_probability == 0:
            return _TokenPlan(starts, None)
        chance = torch.rand(len(self), self.batch_size, generator=self._generator)
        return _TokenPlan(starts, chance < self._reset_probability)

    def _batch(self, plan: _TokenPlan, index: int) -> Batch:
        begin, end = self._edges[index], self._edges[index + 1]
        window = np.stack([self._slice(start + begin, end - begin + 1) for start in plan.starts])
        both = torch.from_numpy(window)
        lengths = None
        if self._longer and end > self._row:
            lengths = torch.full((self.batch_size,), end - begin - 1)
            lengths[: self._longer] += 1
        resets = None
        # The first batch starts from the initial state anyway; None keeps the fast path of the layers open.
        if index and plan.restarts is not None and bool(plan.restarts[index].any()):
            resets = torch.zeros(self.batch_size, end - begin, dtype=torch.bool)
            resets[:, 0] = plan.restarts[index]
        return Batch(both[:, :-1], both[:, 1:], lengths, resets, first=index == 0)

    def _slice(self, start: int, length: int) -> np.ndarray:
        """Tokens as int64 (length,); past the end of the text (padding of a shorter row) the last one repeats."""
        part = self.tokens[start : start + length].astype(np.int64)
        return np.pad(part, (0, length - len(part)), mode="edge")


def _require_positive(**sizes: int) -> None:
    for name, size in sizes.items():
        if size < 1:
            raise DataError(message("stream", f"{name} must be at least 1, got {size}"))


def _require_enough(targets: int, batch_size: int, chunk: int) -> None:
    """A DataError with the sizes that would do, unless one batch fits into the text."""
    if targets >= batch_size * chunk:
        return
    fits = []
    if targets >= chunk:
        fits.append(f"batch_size={targets // chunk}")
    if targets >= batch_size:
        fits.append(f"chunk={targets // batch_size}")
    if not fits:
        fits.append(f"batch_size=1 with chunk={targets}" if targets > 0 else "a longer text")
    raise DataError(
        message(
            "TokenStream",
            f"the text is shorter than one batch: {batch_size} rows x {chunk} steps want "
            f"{batch_size * chunk + 1} tokens, there are {targets + 1}",
            hint=f"the largest that fits: {' or '.join(fits)}.",
        )
    )
