"""Rows to be judged: a table's series as they stand in it, on no grid, with stamps that may repeat and leave gaps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from recurra.base.errors import DataError, message, nearest
from recurra.data.series.build import find_columns
from recurra.data.series.columns import Columns, frame_kind, read_columns
from recurra.data.series.stamps import is_dates, local, parse_stamps
from recurra.tasks.anomaly.settings import DataSettings

__all__ = ["Rows", "read_rows", "rows_of", "windows_of"]


class Rows(NamedTuple):
    """One series."""

    id: str
    stamps: np.ndarray
    """(T,) datetime64[us], or int64 where there are none: 0, 1, 2 ..."""
    values: np.ndarray
    """(T, C) float64, NaN where missing."""
    labels: np.ndarray | None = None
    """(T,) bool: which rows are anomalies, where that is known."""
    zone: str | None = None

    @property
    def clock_s(self) -> np.ndarray:
        """(T,) seconds since 1970 on the clock of the zone; NaN where stamps are no dates."""
        if not is_dates(self.stamps):
            return np.full(len(self.stamps), np.nan)
        return local(self.stamps, self.zone).astype(np.int64) / 1e6


def read_rows(source: Any, data: DataSettings, channels: Sequence[str] = ()) -> tuple[list[Rows], tuple[str, ...]]:
    """The series of a file or frame, and the names of their channels.

    channels: those that must be there (default: the settings', or y, target, value, or every column of numbers).
    Raises DataError for a column that is not there or holds no numbers, and infinities. Rows stay in the
    order of the table, even where clocks were put back.
    """
    where = str(source) if isinstance(source, str | Path) else "anomaly"
    if isinstance(source, np.ndarray | list):
        return rows_of(source)
    if not isinstance(source, Mapping) and frame_kind(source) is None and not str(source):
        raise DataError(message("anomaly", "no file was named", hint="recurra train anomaly data.csv --out runs/x"))
    table = read_columns(source)
    wanted = list(channels or data.target)
    id_, time = find_columns(table, wanted[0] if wanted else None, data.id or None, data.time or None)
    label = data.label or next((name for name in ("label", "anomaly", "is_anomaly") if name in table), None)
    wanted = wanted or _free(table, {id_, time, label}, where)
    for name in [*wanted, *([data.label] if data.label else [])]:
        if name not in table:
            raise DataError(
                message(where, f"no column is called {name!r}", f"There are: {', '.join(nearest(name, table)[:8])}.")
            )
    values = np.stack([_numbers(table[name], name, where) for name in wanted], axis=1)
    ids = table[id_].astype(str) if id_ else np.full(len(values), Path(where.removesuffix(".gz")).stem)
    stamps = _stamps(table[time], where) if time else None
    labels = _numbers(table[label], label, where) > 0.5 if label else None
    names, first, place = np.unique(ids, return_index=True, return_inverse=True)
    found = []
    for one in np.argsort(first):
        rows = np.flatnonzero(place == one)
        own = stamps[rows] if stamps is not None else np.arange(len(rows))
        known = labels[rows] if labels is not None else None
        found.append(Rows(str(names[one]), own, values[rows], known, data.zone or None))
    return found, tuple(wanted)


def rows_of(arrays: np.ndarray | Sequence[np.ndarray]) -> tuple[list[Rows], tuple[str, ...]]:
    """Series of arrays: (T,), (T, C), or a list of such. DataError for other shapes and infinities."""
    parts = [np.asarray(part, np.float64) for part in (arrays if isinstance(arrays, list) else [arrays])]
    parts = [part[:, None] if part.ndim == 1 else part for part in parts]
    widths = {part.shape[1] for part in parts if part.ndim == 2}
    if len(widths) != 1 or any(part.ndim != 2 or not part.size for part in parts):
        fact = f"a series must be (T,) or (T, C), all of one C, got {[part.shape for part in parts[:4]]}"
        raise DataError(message("anomaly", fact))
    for part in parts:
        if np.isinf(part).any():
            raise DataError(message("anomaly", f"{int(np.isinf(part).sum())} values are infinite"))
    names = tuple(f"y{channel}" if widths != {1} else "y" for channel in range(widths.pop()))
    return [Rows(str(place), np.arange(len(part)), part) for place, part in enumerate(parts)], names


def windows_of(labels: np.ndarray) -> list[tuple[int, int]]:
    """First and last row of each run of True in labels (T,).

    >>> windows_of(np.array([0, 1, 1, 0, 1], bool))
    [(1, 2), (4, 4)]
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[0], np.asarray(labels, np.int8), [0]])))
    return [(int(a), int(b) - 1) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def _free(table: Columns, taken: set[str | None], where: str) -> list[str]:
    named = [name for name in ("y", "target", "value") if name in table and name not in taken]
    free = [name for name in table if name not in taken and table[name].dtype.kind in "fi"]
    if not (named or free):
        fact = f"no column holds numbers to look at; there are {', '.join(table)}"
        raise DataError(message(where, fact, hint="--target NAME."))
    return named[:1] or free


def _numbers(column: np.ndarray, name: str, where: str) -> np.ndarray:
    if column.dtype.kind not in "fi":
        shown_values = ", ".join(repr(value) for value in column[:3].tolist())
        raise DataError(message(where, f"column {name!r} holds no numbers, but {shown_values}"))
    column = column.astype(np.float64)
    bad = np.flatnonzero(np.isinf(column))
    if len(bad):
        fact = f"column {name!r} holds {len(bad)} infinities, the first in row {bad[0] + 1}"
        raise DataError(message(where, fact, hint="leave the cell empty where the value is missing."))
    return column


def _stamps(column: np.ndarray, where: str) -> np.ndarray:
    if column.dtype.kind == "M":
        return column.astype("datetime64[us]")
    if column.dtype.kind in "fi":
        if not np.isfinite(column.astype(np.float64)).all():
            raise DataError(message(where, "time stamps are missing in some rows"))
        return column.astype(np.int64)
    return parse_stamps(column.tolist(), where)[0]
