"""From a table to a set of series: long (one row per series and stamp) or wide (one column per series)."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from recurra.base.errors import DataError, message, nearest
from recurra.data.series.columns import Columns, read_columns
from recurra.data.series.frequency import Frequency, infer_frequency, parse_frequency
from recurra.data.series.series_set import SeriesSet
from recurra.data.series.stamps import is_dates, parse_stamps, shown, to_utc

__all__ = ["Duplicates", "find_columns", "read_series", "series_from_rows", "value_columns"]

Duplicates = Literal["error", "first", "last", "mean", "sum"]

_IDS = ("unique_id", "item_id", "series_id")
_TIMES = ("ds", "timestamp", "datetime", "date", "time", "stamp")
_TARGETS = ("y", "target", "value")
# A grid this much longer than its rows is no series with gaps but a wrong frequency.
_SPARSEST = 1000
_EVIDENCE = 4


def find_columns(
    table: Columns,
    target: str | None,
    id: str | None,  # noqa: A002
    time: str | None,
) -> tuple[str | None, str | None]:
    """The columns of ids and of stamps: those named, those with a customary name, or (stamps) a first one of dates."""
    for name in (id, time):
        _require(table, [name] if name else [], "column")
    lower = {name.lower(): name for name in reversed(list(table))}
    id = id or next((lower[name] for name in _IDS if name in lower), None)  # noqa: A001
    time = time or next((lower[name] for name in _TIMES if name in lower and lower[name] not in (id, target)), None)
    first = next(iter(table))
    if time is None and first not in (id, target) and len(table) > 1:
        column = table[first]
        if column.dtype.kind == "M" or (column.dtype == object and _reads_as_dates(column)):
            time = first
    return id, time


def value_columns(table: Columns, taken: Sequence[str | None], where: str) -> tuple[str, ...]:
    """Return the numeric columns beside those that are `taken`; DataError where there are none."""
    free = tuple(name for name in table if name not in taken and table[name].dtype.kind in "fi")
    if not free:
        raise DataError(message(where, f"no column holds values; there are {', '.join(table)}"))
    return free


def read_series(
    source: Any,
    *,
    target: str | Sequence[str] | None = None,
    id: str | None = None,  # noqa: A002
    time: str | None = None,
    past: Sequence[str] = (),
    known: Sequence[str] = (),
    static: Sequence[str] = (),
    frequency: str | int | Frequency | None = None,
    duplicates: Duplicates = "error",
    zone: str | None = None,
) -> SeriesSet:
    """Series of a file or frame (see `read_columns`).

    target: the column of values; several are channels of one series each. By default y, target or value; in a wide
        table (no column of ids) all columns of numbers.
    id: the column that tells series apart (default: unique_id, item_id or series_id where there is one).
    time: the column of stamps (default: ds, timestamp, date ..., or a first column of dates); without one the rows of
        a series are numbered.
    past, known, static: covariates known up to now only, known ahead, or the same in all rows of a series. Text in the
        first two becomes one column of 0 and 1 per value; static text becomes categories.
    frequency: such as "15min", "D" or 1; by default inferred. Stamps that are missing become rows of NaN.
    duplicates: what becomes of rows with the same id and stamp.
    zone: time zone of stamps without an offset, such as Europe/Berlin; they become UTC.

    Raises DataError, with names and the first rows, for a column that is not there or holds no numbers, infinities,
    duplicate stamps, and stamps that lie on no grid.
    """
    where = str(source) if isinstance(source, str | Path) else "read_series"
    table = read_columns(source)
    wanted = [target] if isinstance(target, str) else list(target or ())
    id, time = find_columns(table, wanted[0] if wanted else None, id, time)  # noqa: A001
    covariates = [*past, *known, *static]
    _require(table, [*wanted, *covariates], where)
    if not wanted:
        named = [name for name in _TARGETS if name in table]
        free = [name for name in table if name not in (id, time, *covariates) and table[name].dtype.kind in "fi"]
        wanted = named[:1] or ([] if id else free)
    if not wanted:
        fact = f"no column of values was named; there are {', '.join(table)}"
        raise DataError(message(where, fact, hint="target=, or --target NAME."))
    rows = len(table[wanted[0]])
    names, group = _groups(table[id]) if id else (("series",), np.zeros(rows, np.int64))
    stamps, aware = _stamps(table[time], where) if time else (_numbered(group), False)
    if zone and is_dates(stamps) and not aware:
        for one in range(len(names)):
            stamps[group == one] = to_utc(stamps[group == one], zone, where)
    order = np.lexsort((stamps, group))
    group, stamps = group[order], stamps[order]
    values = np.stack([_numbers(table, name, where)[order] for name in wanted], axis=1)
    past_values, past_names = _covariates(table, past, order, where)
    known_values, known_names = _covariates(table, known, order, where)
    stacked = np.concatenate([values, past_values, known_values], axis=1)
    group, stamps, stacked = _distinct(names, group, stamps, stacked, duplicates, where)
    step = _frequency(names, group, stamps, frequency, where)
    offsets, stamps, stacked = _on_grid(names, group, stamps, stacked, step, where)
    numbers, number_names, codes, code_names, levels = _statics(table, static, order, names, id, where)
    cut = len(wanted), len(wanted) + len(past_names)
    return SeriesSet(
        ids=names,
        offsets=offsets,
        values=stacked[:, : cut[0]],
        stamps=stamps,
        names=tuple(wanted),
        past=stacked[:, cut[0] : cut[1]],
        past_names=past_names,
        known=stacked[:, cut[1] :],
        known_names=known_names,
        static=numbers,
        static_names=number_names,
        categories=codes,
        category_names=code_names,
        levels=levels,
        frequency=step,
        zone=zone or ("UTC" if aware else None),
    )


def series_from_rows(source: Any, frequency: str | int | None = None) -> SeriesSet:
    """A table with one series in each row: its id first, then its values; empty cells at the end are no values.

    The layout of the M4 competition's files. Stamps are 0, 1, 2 ...
    """
    table = read_columns(source)
    first, *rest = table
    block = np.stack([_numbers(table, name, str(source)) for name in rest], axis=1)
    lengths = [int(np.flatnonzero(~np.isnan(row))[-1]) + 1 if (~np.isnan(row)).any() else 0 for row in block]
    step = parse_frequency(frequency) if frequency is not None else Frequency(1, "")
    return SeriesSet.of(
        [row[:length] for row, length in zip(block, lengths, strict=True)],
        ids=[str(name) for name in table[first].tolist()],
        frequency=step if not step.unit else None,
    )


def _require(table: Columns, names: Sequence[str], where: str) -> None:
    for name in names:
        if name not in table:
            near = ", ".join(nearest(name, table)[:8])
            raise DataError(message(where, f"no column is called {name!r}", f"There are: {near}."))


def _reads_as_dates(column: np.ndarray) -> bool:
    try:
        return is_dates(parse_stamps(column[:20].tolist())[0])
    except DataError:
        return False


def _groups(column: np.ndarray) -> tuple[tuple[str, ...], np.ndarray]:
    """Ids in order of their first row, and the place of each row's id among them."""
    values, first, place = np.unique(column.astype(str), return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return tuple(values[order].tolist()), rank[place]


def _stamps(column: np.ndarray, where: str) -> tuple[np.ndarray, bool]:
    if column.dtype.kind == "M":
        if np.isnat(column).any():
            raise DataError(message(where, f"{int(np.isnat(column).sum())} time stamps are missing (NaT)"))
        return column.astype("datetime64[us]"), False
    if column.dtype.kind == "f":
        if not np.isfinite(column).all() or (column != np.round(column)).any():
            raise DataError(message(where, "time stamps must be dates or whole numbers"))
        return column.astype(np.int64), False
    return (column.copy(), False) if column.dtype.kind == "i" else parse_stamps(column.tolist(), where)


def _numbered(group: np.ndarray) -> np.ndarray:
    """The number of each row within its series."""
    stamps = np.empty(len(group), np.int64)
    for one in np.unique(group):
        stamps[group == one] = np.arange(int((group == one).sum()))
    return stamps


def _numbers(table: Columns, name: str, where: str) -> np.ndarray:
    column = table[name]
    if column.dtype.kind not in "fi":
        shown_values = ", ".join(repr(value) for value in column[:3].tolist())
        raise DataError(message(where, f"column {name!r} holds no numbers, but {shown_values}"))
    column = column.astype(np.float64)
    bad = np.flatnonzero(np.isinf(column))
    if len(bad):
        fact = f"column {name!r} holds {len(bad)} infinities, the first in row {bad[0] + 1}"
        raise DataError(message(where, fact, hint="leave the cell empty where the value is missing."))
    return column


def _covariates(
    table: Columns, names: Sequence[str], order: np.ndarray, where: str
) -> tuple[np.ndarray, tuple[str, ...]]:
    columns, titles = [], []
    for name in names:
        if table[name].dtype == object:
            texts = table[name].astype(str)[order]
            for level in sorted({text for text in texts.tolist() if text}):
                columns.append(np.where(texts == "", np.nan, texts == level))
                titles.append(f"{name}={level}")
        else:
            columns.append(_numbers(table, name, where)[order])
            titles.append(name)
    stacked = np.stack(columns, axis=1) if columns else np.empty((len(order), 0))
    return stacked.astype(np.float64), tuple(titles)


def _distinct(
    names: tuple[str, ...],
    group: np.ndarray,
    stamps: np.ndarray,
    values: np.ndarray,
    duplicates: Duplicates,
    where: str,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One row per series and stamp."""
    new = np.ones(len(group), bool)
    new[1:] = (group[1:] != group[:-1]) | (stamps[1:] != stamps[:-1])
    if new.all():
        return group, stamps, values
    if duplicates == "error":
        at = int(np.flatnonzero(~new)[0])
        fact = f"{int((~new).sum())} rows repeat a stamp, the first {shown(stamps[at])} of series {names[group[at]]!r}"
        hint = "duplicates='mean' (or first, last, sum); in a zone with summer time, zone=; several series need id=."
        raise DataError(message(where, fact, hint=hint))
    starts = np.flatnonzero(new)
    if duplicates == "first":
        kept = values[starts]
    elif duplicates == "last":
        kept = values[np.append(starts[1:], len(new)) - 1]
    else:
        seen = ~np.isnan(values)
        total = np.add.reduceat(np.where(seen, values, 0.0), starts)
        count = np.add.reduceat(seen.astype(np.float64), starts)
        kept = np.where(count > 0, total / np.maximum(count, 1) if duplicates == "mean" else total, np.nan)
    return group[starts], stamps[starts], kept


def _frequency(
    names: tuple[str, ...],
    group: np.ndarray,
    stamps: np.ndarray,
    given: str | int | Frequency | None,
    where: str,
) -> Frequency | None:
    """The one given, or the one that most series have."""
    if given is not None:
        return given if isinstance(given, Frequency) else parse_frequency(given)
    edges = np.searchsorted(group, np.arange(len(names) + 1))
    try:
        found = [infer_frequency(stamps[a:b]) for a, b in itertools.pairwise(edges)]
    except DataError as error:
        raise DataError(message(where, str(error))) from error
    # Two or three stamps are no evidence: with a gap between them they look like a coarser spacing.
    sure = [one for one, size in zip(found, np.diff(edges), strict=True) if one is not None and size >= _EVIDENCE]
    counted = Counter(sure)
    if not sure:
        known = [one for one in found if one is not None]
        counted = Counter([min(known)] if len({one.unit for one in known}) == 1 else known)
    if len(counted) > 1:
        listed = ", ".join(f"{one} ({count} series)" for one, count in counted.most_common(4))
        fact = f"the series have different frequencies: {listed}"
        raise DataError(message(where, fact, hint="name the finest with frequency=, or --freq; or split the table."))
    return next(iter(counted), None)


def _on_grid(
    names: tuple[str, ...],
    group: np.ndarray,
    stamps: np.ndarray,
    values: np.ndarray,
    step: Frequency | None,
    where: str,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Offsets, stamps and values with a row for every place of the grid."""
    edges = np.searchsorted(group, np.arange(len(names) + 1))
    offsets, all_stamps, all_values = [0], [], []
    for index, (begin, end) in enumerate(itertools.pairwise(edges)):
        part = stamps[begin:end]
        if step is None:
            # One row a series: there is no grid to speak of.
            all_stamps.append(part)
            all_values.append(values[begin:end])
            offsets.append(offsets[-1] + len(part))
            continue
        try:
            places = step.places(part)
        except DataError as error:
            hint = "mixed or irregular spacing: name the finest step with frequency= (--freq), or resample the data."
            raise DataError(
                message(where, f"series {names[index]!r} is not spaced by {step}: {error}", hint=hint)
            ) from error
        size = int(places[-1]) + 1
        if size > _SPARSEST * len(places) + _SPARSEST:
            fact = f"series {names[index]!r} would have {size:,} rows on a grid of {step}, for {len(places):,} given"
            raise DataError(message(where, fact, hint="is the frequency right?"))
        if size == len(places):
            all_stamps.append(part)
            all_values.append(values[begin:end])
        else:
            block = np.full((size, values.shape[1]), np.nan)
            block[places] = values[begin:end]
            all_values.append(block)
            all_stamps.append(step.stamps(part[0], np.arange(size)).astype(stamps.dtype))
        offsets.append(offsets[-1] + size)
    return np.array(offsets, np.int64), np.concatenate(all_stamps), np.concatenate(all_values)


def _statics(
    table: Columns,
    static: Sequence[str],
    order: np.ndarray,
    names: tuple[str, ...],
    id: str | None,  # noqa: A002
    where: str,
) -> tuple[np.ndarray, tuple[str, ...], np.ndarray, tuple[str, ...], tuple[tuple[str, ...], ...]]:
    numbers, number_names, codes, code_names, levels = [], [], [], [], []
    groups = _groups(table[id])[1][order] if id else np.zeros(len(order), np.int64)
    starts = np.searchsorted(groups, np.arange(len(names)))
    for name in static:
        column = table[name][order]
        first = column[starts]
        same = column == first[groups]
        if column.dtype.kind == "f":
            same |= np.isnan(column) & np.isnan(first[groups])
        if not same.all():
            one = names[groups[np.flatnonzero(~same)[0]]]
            fact = f"static column {name!r} changes within series {one!r}"
            raise DataError(message(where, fact, hint="a covariate that changes is past= or known=."))
        if column.dtype == object:
            known = sorted(set(first.tolist()))
            levels.append(tuple(known))
            codes.append(np.array([known.index(text) for text in first.tolist()], np.int64))
            code_names.append(name)
        else:
            numbers.append(_numbers({name: first}, name, where))
            number_names.append(name)
    block = np.stack(numbers, axis=1) if numbers else np.empty((len(names), 0))
    coded = np.stack(codes, axis=1) if codes else np.empty((len(names), 0), np.int64)
    return block, tuple(number_names), coded, tuple(code_names), tuple(levels)
