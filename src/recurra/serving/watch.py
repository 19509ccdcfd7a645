"""A stream of rows into a trained run, its answers out at once, and a state from which a killed watch goes on exactly.

lines -> `RowReader` -> rows -> `Watch` -> a task's `LiveModel` -> JSON lines
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from recurra.base.errors import CheckpointError, ConfigError, DataError, RecurraError, message
from recurra.data.clock import Moment
from recurra.serving.rows import Fault, Row
from recurra.tasks.capability import Streams, abilities
from recurra.tasks.load import load
from recurra.training import checkpoint
from recurra.training.arrays import packed_state, unpacked_state

__all__ = ["Answer", "LiveModel", "Watch", "dumped", "live_model"]

VERSION = 1

_RARE = ("event", "begin", "end")
"""Kinds of records that come when something happens, not with every row."""


class LiveModel(Protocol):
    """What a task gives to be watched with: a step for any of its streams, and a state that can be kept."""

    columns: tuple[str, ...]

    def step(self, ids: Sequence[str], stamps: Sequence[str | None], values: np.ndarray) -> list[list[dict[str, Any]]]:
        """One row (B, C) of B different streams, NaN where missing -> for each the records that are due."""
        ...

    def state(self) -> dict[str, Any]:
        """JSON-able values and arrays."""
        ...

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        ...


def live_model(run_folder: Path | str, **options: Any) -> LiveModel:
    """Return the live model of a run, whatever its task; options as its predictor's `live` takes them.

    Raises:
        ConfigError: for a model that does not answer row by row, and for an option that it does not have.

    """
    predictor = load(run_folder)
    if not isinstance(predictor, Streams):
        able = ", ".join(abilities(predictor))
        fact = f"holds a model that does not answer row by row; it {able}"
        raise ConfigError(message(str(run_folder), fact))
    known = inspect.signature(predictor.live).parameters
    for name in options:
        if name not in known:
            raise ConfigError(message("recurra watch", f"the model of this run has no --{name}"))
    return predictor.live(**options)


class Answer(NamedTuple):
    """One line of what comes out: a record, or what was wrong with a row."""

    record: dict[str, Any]
    fault: bool = False


class Watch:
    """A live model, the stamps it has seen, and counts.

    every: answers to every so-many-th row of a stream only; alarms and events come always.
    """

    def __init__(self, model: LiveModel, *, every: int = 1) -> None:
        if every < 1:
            raise ConfigError(message("recurra watch", f"--every must be at least 1, got {every}"))
        self.model, self.every = model, every
        self.rows = self.bad = self.known = 0
        self._last: dict[str, Moment] = {}
        self._count: dict[str, int] = {}
        self._before: dict[str, Moment] = {}
        """The newest stamp of each stream when the state was saved."""

    def push(self, rows: Sequence[Row | Fault]) -> Iterator[Answer]:
        """Answers to rows in their order, those of different streams side by side."""
        batch: list[Row] = []
        waiting: set[str] = set()
        for row in rows:
            if isinstance(row, Fault) or row.id in waiting:
                # What stands before it is answered before it.
                yield from self._step(batch)
                batch, waiting = [], set()
            if isinstance(row, Row) and self._known(row):
                self.known += 1
                continue
            fault = row if isinstance(row, Fault) else self._misplaced(row)
            if fault is not None:
                self.bad += 1
                yield Answer(fault.record(), fault=True)
            elif isinstance(row, Row):
                batch.append(row)
                waiting.add(row.id)
        yield from self._step(batch)

    def finish(self) -> Iterator[Answer]:
        """The streams have ended: what a model says of that, where it says something."""
        finish = getattr(self.model, "finish", None)
        if finish is None:
            return
        for records in finish():
            for record in records:
                yield Answer(record)

    def _step(self, batch: list[Row]) -> Iterator[Answer]:
        if not batch:
            return
        try:
            answers = self.model.step(
                [row.id for row in batch], [row.stamp for row in batch], np.array([row.values for row in batch])
            )
        except RecurraError as error:
            if len(batch) > 1:
                # One bad row must not cost the others their answers.
                for row in batch:
                    yield from self._step([row])
                return
            self.bad += 1
            yield Answer(Fault(batch[0].line, str(error).split("\n", 1)[0], batch[0].id).record(), fault=True)
            return
        for row, records in zip(batch, answers, strict=True):
            self.rows += 1
            count = self._count[row.id] = self._count.get(row.id, 0) + 1
            if row.moment is not None:
                self._last[row.id] = row.moment
            for record in records:
                if "error" in record:
                    self.bad += 1
                    yield Answer(Fault(row.line, str(record["error"]), row.id).record(), fault=True)
                elif count % self.every == 0 or record.get("alarm") or record.get("kind") in _RARE:
                    yield Answer({"unique_id": row.id, "ds": row.stamp, **record})

    def _known(self, row: Row) -> bool:
        """Whether a row that came again after a restart was answered before it."""
        before = self._before.get(row.id)
        if before is None or row.moment is None:
            return False
        if row.moment[1] == before[1] and row.moment[0] <= before[0]:
            return True
        # From here on a stamp that goes back is a fault again.
        del self._before[row.id]
        return False

    def _misplaced(self, row: Row) -> Fault | None:
        """A stamp that repeats or goes back."""
        before = self._last.get(row.id)
        if row.moment is None or before is None:
            return None
        if row.moment[1] != before[1]:
            kinds = ("a number", "a date")
            fact = f"the stamp {row.stamp} is {kinds[row.moment[1]]}, those before were {kinds[before[1]]}s"
            return Fault(row.line, fact, row.id)
        if row.moment[0] > before[0]:
            return None
        what = "repeats the one before" if row.moment[0] == before[0] else "lies before the one before"
        return Fault(row.line, f"the stamp {row.stamp} {what}", row.id)

    def counts(self) -> dict[str, int]:
        """Rows taken, bad rows, rows known from before a restart, streams."""
        return {"rows": self.rows, "bad": self.bad, "known": self.known, "series": len(self._count)}

    def save(self, path: Path, source: Mapping[str, Any]) -> None:
        """Everything to `path`, whole or not at all; source: where the reader stands, and whose file it reads."""
        own = {
            "rows": self.rows,
            "bad": self.bad,
            "last": {name: list(one) for name, one in self._last.items()},
            "count": self._count,
        }
        content = {"version": VERSION, "columns": list(self.model.columns), "watch": own, "source": dict(source)}
        checkpoint.save(path, {**content, "model": packed_state(self.model.state())})

    def restore(self, path: Path) -> dict[str, Any]:
        """Go on from `path`; gives where the reader stood. Raises CheckpointError for a state of something else."""
        content = checkpoint.load(path)
        try:
            if content["version"] != VERSION or tuple(content["columns"]) != self.model.columns:
                fact = f"is the state of a watch over {', '.join(content['columns'])}, this run reads "
                raise CheckpointError(message(str(path), fact + ", ".join(self.model.columns)))
            own = content["watch"]
            self.rows, self.bad = int(own["rows"]), int(own["bad"])
            self._last = {name: (float(one[0]), bool(one[1])) for name, one in own["last"].items()}
            self._before = dict(self._last)
            self._count = {name: int(count) for name, count in own["count"].items()}
            self.model.load_state(unpacked_state(content["model"]))
        except (KeyError, TypeError, ValueError, DataError) as error:
            fact = f"is not the state of this run: {error}"
            raise CheckpointError(message(str(path), fact, hint="give another --state, or remove it.")) from error
        return dict(content["source"])


def dumped(record: Mapping[str, Any]) -> str:
    """A record as one line."""
    return json.dumps(record, ensure_ascii=False, allow_nan=False)
