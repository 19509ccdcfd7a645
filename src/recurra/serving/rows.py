"""Rows of a stream from lines of text: CSV with or without a head, or JSON objects; what is no row is told."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from recurra.base.errors import ConfigError, DataError, message, nearest
from recurra.data.clock import Moment, moment

__all__ = ["Fault", "Row", "RowReader"]

_IDS = ("unique_id", "item_id", "series_id")
_TIMES = ("ds", "timestamp", "datetime", "date", "time", "stamp")
_MISSING = {"", "na", "n/a", "nan", "null", "none", "?", "-nan"}
_ALONE = "series"


class Row(NamedTuple):
    """One row of one stream."""

    line: int
    """Its number in the input, from 1."""
    id: str
    stamp: str | None
    moment: Moment | None
    values: tuple[float, ...]
    """NaN where missing."""


class Fault(NamedTuple):
    """What was wrong with a line."""

    line: int
    fact: str
    id: str | None = None

    def record(self) -> dict[str, Any]:
        """As it is told."""
        return {"error": self.fact, "line": self.line, **({"unique_id": self.id} if self.id is not None else {})}


class RowReader:
    """Lines to rows.

    columns: of values, in the order wanted. names: the columns of the input, where its first line is no head. id,
    time: its columns of ids and stamps (default: unique_id ...; ds, timestamp ...). Lines that begin with { are JSON.
    """

    def __init__(
        self,
        columns: Sequence[str],
        *,
        names: Sequence[str] = (),
        id: str = "",  # noqa: A002
        time: str = "",
        zone: str | None = None,
    ) -> None:
        self.columns, self.id, self.time, self.zone = tuple(columns), id, time, zone
        self.lines = 0
        self.head: list[str] = []
        self._mark = ""
        self._id: str | None = None
        self._time: str | None = None
        if names:
            self._begin(list(names))

    def state(self) -> dict[str, Any]:
        """What a restarted watch must know: how far, and under which head."""
        return {"lines": self.lines, "head": self.head, "mark": self._mark}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        if state["head"]:
            self._begin(list(state["head"]))
        self.lines, self._mark = int(state["lines"]), str(state["mark"])

    def read(self, line: str) -> Row | Fault | None:
        """The row of a line; None for an empty one and for the head. Raises DataError for a head without the columns.

        A head that comes again, as in files put end to end, is passed over.
        """
        self.lines += 1
        line = line.strip().removeprefix("\ufeff")
        if not line:
            return None
        return self._object(line) if line.startswith("{") else self._cells(line)

    def _begin(self, head: list[str]) -> None:
        lacking = [name for name in self.columns if name not in head]
        # One nameless series of values: whatever the only free column is called.
        self._id = self._named(self.id, _IDS, head, "--id")
        self._time = self._named(self.time, _TIMES, head, "--time")
        free = [name for name in head if name not in (self._id, self._time)]
        if lacking and len(self.columns) == 1 and len(free) == 1:
            self.columns, lacking = (free[0],), []
        if lacking:
            fact = f"the stream has no column {', '.join(lacking)}, which the run reads"
            near = ", ".join(nearest(lacking[0], head)[:8])
            raise DataError(message("recurra watch", fact, f"There are: {near}.", hint="--columns names them."))
        self.head = head

    def _named(self, given: str, usual: Sequence[str], head: Sequence[str], option: str) -> str | None:
        if given:
            if given not in head:
                near = ", ".join(nearest(given, head)[:8])
                fact = f"{option} {given!r} is no column"
                raise ConfigError(message("recurra watch", fact, f"There are: {near}."))
            return given
        lower = {name.lower(): name for name in reversed(list(head)) if name not in self.columns}
        return next((lower[name] for name in usual if name in lower), None)

    def _cells(self, line: str) -> Row | Fault | None:
        self._mark = self._mark or max(",;\t", key=line.count)
        if not self.head:
            cells = self._split(line)
            if all(_is_number(cell) for cell in cells) and len(cells) == len(self.columns):
                # No head, and nothing but the values.
                self._begin(list(self.columns))
            else:
                self._begin([cell.strip() for cell in cells])
                return None
        cells = self._split(line)
        if cells == self.head:
            return None
        if len(cells) != len(self.head):
            return Fault(self.lines, f"{len(cells)} cells, there are {len(self.head)} columns")
        return self._row(dict(zip(self.head, cells, strict=True)))

    def _split(self, line: str) -> list[str]:
        return [cell.strip() for cell in next(csv.reader([line], delimiter=self._mark))]

    def _object(self, line: str) -> Row | Fault:
        try:
            found = json.loads(line)
        except ValueError as error:
            return Fault(self.lines, f"is no JSON: {error}")
        if not self.head:
            try:
                self._begin(list(found))
            except DataError as error:
                return Fault(self.lines, str(error).split("\n", 1)[0])
        return self._row(found)

    def _row(self, cells: dict[str, Any]) -> Row | Fault:
        name = str(cells.get(self._id, _ALONE)) if self._id else _ALONE
        values: list[float] = []
        for column in self.columns:
            if column not in cells:
                return Fault(self.lines, f"has no {column}", name)
            cell = cells[column]
            try:
                value = _number(cell)
            except ValueError:
                return Fault(self.lines, f"{column} is {cell!r}, no number", name)
            if math.isinf(value):
                return Fault(self.lines, f"{column} is infinite", name)
            values.append(value)
        if not self._time:
            return Row(self.lines, name, None, None, tuple(values))
        stamp = cells.get(self._time)
        if stamp is None or not str(stamp).strip():
            return Fault(self.lines, f"has no {self._time}", name)
        try:
            when = moment(str(stamp), self.zone)
        except DataError as error:
            return Fault(self.lines, str(error).split("\n", 1)[0].rstrip("."), name)
        return Row(self.lines, name, str(stamp).strip(), when, tuple(values))


def _number(cell: Any) -> float:
    if cell is None or (isinstance(cell, str) and cell.strip().lower() in _MISSING):
        return math.nan
    if isinstance(cell, bool) or not isinstance(cell, int | float | str):
        raise ValueError(cell)
    return float(cell)


def _is_number(cell: str) -> bool:
    try:
        _number(cell)
    except ValueError:
        return False
    return True
