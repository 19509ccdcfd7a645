"""Curricula: training batches that grow harder (Zaremba and Sutskever 2014, arXiv:1410.4615).

    full      the hardest level from the beginning: no curriculum
    naive     the easiest level first; the next one when learning stops making progress
    mixed     a level drawn uniformly for every batch
    combined  for every batch naive or mixed, by a coin

The paper found naive often worse than full, because what was learned for the easy does not fit the hard, and combined
the best: mixing keeps the easy ones known and shows the hard ones early. Its coin is thrown for every sample, here for
every batch, whose sequences then are of one level.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import torch
from torch import Generator

from recurra.base.errors import ConfigError, message
from recurra.data.batch import Batch
from recurra.training.callback import Callback

__all__ = ["Curriculum", "Strategy"]

Strategy = Literal["full", "naive", "mixed", "combined"]


class Curriculum:
    """A stream of batches without end, each drawn by `draw(level, generator)`.

    levels: what draw is given, easiest first: lengths, pairs of length and nesting, anything.
    share: of combined, how many batches are mixed.
    per_epoch: batches to an epoch, for the log only.

    >>> def zeros(length: int, generator: Generator) -> Batch:
    ...     return Batch(torch.zeros(1, length), torch.zeros(1))
    >>> lengths = Curriculum(zeros, [1, 2], "naive", Generator())
    >>> lengths.level, lengths.advance(), lengths.level, lengths.advance()
    (1, True, 2, False)
    """

    def __init__(
        self,
        draw: Callable[[Any, Generator], Batch],
        levels: Sequence[Any],
        strategy: Strategy,
        generator: Generator,
        *,
        share: float = 0.5,
        per_epoch: int = 1000,
    ) -> None:
        if not levels:
            raise ConfigError(message("Curriculum", "there is no level"))
        if strategy not in ("full", "naive", "mixed", "combined"):
            raise ConfigError(
                message("Curriculum", f"there are full, naive, mixed and combined, got strategy {strategy!r}")
            )
        if not 0 <= share <= 1:
            raise ConfigError(message("Curriculum", f"share must lie in [0, 1], got {share}"))
        self._draw, self._levels, self._strategy, self._generator = draw, list(levels), strategy, generator
        self._share, self._per_epoch = share, per_epoch
        self._batches = self._index = self._stale = 0
        self._best: float | None = None
        self.sequences = 0
        """How many were handed out."""

    @property
    def epoch(self) -> int:
        """Epochs handed out in full."""
        return self._batches // self._per_epoch

    @property
    def level(self) -> Any:
        """How far naive has come: the present level."""
        return self._levels[self._index]

    @property
    def done(self) -> bool:
        """Whether naive has come to the hardest level."""
        return self._index == len(self._levels) - 1

    def sample(self, generator: Generator) -> Batch:
        """A batch of the present level that is not part of the stream."""
        return self._draw(self.level, generator)

    def advance(self) -> bool:
        """To the next level; False where there is none."""
        moved = not self.done
        self._index += moved
        self._best, self._stale = None, 0
        return moved

    def callback(
        self, monitor: str = "loss", *, patience: int = 1, min_delta: float = 0.0, until: float | None = None
    ) -> Callback:
        """What the trainer is given, so that naive advances: looks at each evaluation's number `monitor`.

        patience: after so many evaluations in a row that do not improve on the best of this level by min_delta, the
        next level comes (the paper's rule). until: or as soon as the number is that low. A number of which more is
        better is handed in negated.
        """
        if patience < 1:
            raise ConfigError(message("Curriculum.callback", f"patience must be at least 1, got {patience}"))
        seen = [-1]

        def look(trainer: Any) -> None:
            if trainer.evaluated == trainer.iteration != seen[0]:
                seen[0] = trainer.iteration
                if monitor not in trainer.metrics:
                    known = ", ".join(trainer.metrics)
                    raise ConfigError(
                        message("Curriculum.callback", f"evaluation gives no {monitor!r}", f"It gives: {known}.")
                    )
                self.observe(trainer.metrics[monitor], patience=patience, min_delta=min_delta, until=until)

        return Callback(lambda _: True, look)

    def observe(self, value: float, *, patience: int = 1, min_delta: float = 0.0, until: float | None = None) -> bool:
        """Take in one evaluation; True where that brought the next level."""
        if until is not None and value <= until:
            return self.advance()
        if self._best is None or value < self._best - min_delta:
            self._best, self._stale = (value if math.isfinite(value) else self._best), 0
            return False
        self._stale += 1
        return self._stale >= patience and self.advance()

    def __iter__(self) -> Iterator[Batch]:
        for _ in range(self._per_epoch - self._batches % self._per_epoch):
            batch = self._draw(self._levels[self._place()], self._generator)._replace(first=True)
            # Counted before it is handed out: a state saved while it is in use resumes after it.
            self._batches += 1
            self.sequences += batch.x.shape[0]
            yield batch

    def _place(self) -> int:
        last = len(self._levels) - 1
        if self._strategy == "full":
            return last
        mixed = self._strategy == "mixed"
        if self._strategy == "combined":
            mixed = bool(torch.rand((), generator=self._generator) < self._share)
        return int(torch.randint(last + 1, (), generator=self._generator)) if mixed else self._index

    def state_dict(self) -> dict[str, Any]:
        """Where it stands, and the generator's state (uint8 tensor)."""
        return {
            "batches": self._batches,
            "index": self._index,
            "stale": self._stale,
            "best": self._best,
            "sequences": self.sequences,
            "generator": self._generator.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        """Go on from there; ConfigError where this curriculum has fewer levels."""
        if state["index"] >= len(self._levels):
            fact = f"was saved at level {state['index'] + 1}, there are {len(self._levels)}"
            raise ConfigError(message("Curriculum", fact, hint="the levels are other ones."))
        self._batches, self._index, self._stale = state["batches"], state["index"], state["stale"]
        self._best, self.sequences = state["best"], state["sequences"]
        self._generator.set_state(state["generator"])
