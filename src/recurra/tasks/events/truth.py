"""Where events are: from a column of classes, or from a table of times; and what a net is taught of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from recurra.base.errors import DataError, message
from recurra.data.series.build import find_columns, read_series, value_columns
from recurra.data.series.cases import class_order
from recurra.data.series.columns import Columns, read_columns
from recurra.data.series.series_set import SeriesSet
from recurra.data.series.stamps import is_dates, parse_stamps
from recurra.tasks.events.settings import StreamSettings

__all__ = ["Truth", "read_stream", "step_seconds", "targets"]

_LABELS = ("label", "class", "event")
_NOTHING = ("", "0", "none", "background", "normal", "-", "nan")
_STARTS, _ENDS = ("start", "onset", "begin", "time", "ds", "timestamp"), ("end", "offset", "stop")


@dataclass(frozen=True)
class Truth:
    """N events in the order of series and start; rows count from the beginning of their series, both ends within."""

    classes: tuple[str, ...]
    series: np.ndarray
    """(N,) int64, which series."""
    start: np.ndarray
    end: np.ndarray
    label: np.ndarray
    """(N,) int64 codes of `classes`."""

    @property
    def point(self) -> bool:
        """Whether every event is a single step."""
        return bool((self.start == self.end).all())

    def of(self, series: int, first: int = 0, last: int | None = None) -> Truth:
        """The events of one series that begin in rows first (included) to last (excluded)."""
        inside = (self.series == series) & (self.start >= first)
        if last is not None:
            inside &= self.start < last
        return Truth(self.classes, self.series[inside], self.start[inside], self.end[inside], self.label[inside])

    def __len__(self) -> int:
        return len(self.start)


def read_stream(
    data: StreamSettings,
    source: Any = None,
    events: Any = None,
    classes: tuple[str, ...] = (),
    *,
    labelled: bool = True,
) -> tuple[SeriesSet, Truth | None]:
    """The series that the settings name and their events, None where there are none to read.

    source, events: other files, frames or tables than the settings'. classes: the order of codes that a trained model
    has. labelled: look for events at all. Raises DataError for columns that are not there, events outside the series,
    and classes that are not among `classes`.
    """
    given = data.file if source is None else source
    if isinstance(given, str) and not given:
        raise DataError(message("events", "no file was named", hint="recurra train events data.csv --out runs/x"))
    where = str(given) if isinstance(given, str) else "stream"
    table = read_columns(given)
    id, time = find_columns(table, None, data.id or None, data.time or None)  # noqa: A001
    lower = {name.lower(): name for name in table}
    label = data.label or next((lower[name] for name in _LABELS if name in lower), "")
    named = events if events is not None else data.events
    if labelled and data.label and data.label not in table and not _is_given(named):
        raise DataError(message(where, f"no column is called {data.label!r}", f"There are: {', '.join(table)}."))
    channels = data.channels or value_columns(table, (id, time, label), where)
    series = read_series(table, target=channels, id=id, time=time, frequency=data.freq or None)
    if labelled and _is_given(named):
        return series, _from_table(read_columns(named), series, data, classes)
    if not labelled or label not in table:
        return series, None
    return series, _from_column(table, series, label, id, time, data, classes)


def step_seconds(series: SeriesSet, data: StreamSettings) -> float:
    """How long a step is: by the stamps where they are dates, by rate_hz, else one second."""
    if data.rate_hz:
        return 1 / data.rate_hz
    frequency = series.frequency
    if frequency is None or not is_dates(series.stamps):
        return 1.0
    first = series.stamps[:1]
    return float((frequency.stamps(first[0], np.array([1]))[0] - first[0]) / np.timedelta64(1, "s"))


def targets(truth: Truth, series: int, rows: int, frame: int, widen: int, delay: int, overlap: bool) -> np.ndarray:
    """What the net should say at each whole frame of one series.

    frame: steps in one; widen: steps on both sides of a point; delay: frames between an event and the answer. Gives
    (F,) int64 codes, 0 for background and -1 where no answer is due yet; with overlap (F, K) float32, NaN there.
    """
    count = rows // frame
    amount = np.zeros((count + 1, len(truth.classes)), np.int64)
    own = truth.of(series)
    for start, end, label in zip(own.start.tolist(), own.end.tolist(), own.label.tolist(), strict=True):
        more = widen if start == end else 0
        first, last = max(0, start - more), min(rows - 1, end + more)
        amount[first // frame : min(last // frame, count - 1) + 1, label] += 1
    amount = amount[:count]
    if overlap:
        found = np.full((count, len(truth.classes)), np.nan, np.float32)
        found[delay:] = (amount > 0)[: max(0, count - delay)]
        return found
    codes = np.where(amount.any(1), amount.argmax(1) + 1, 0)
    shifted = np.full(count, -1, np.int64)
    shifted[delay:] = codes[: max(0, count - delay)]
    return shifted


def _is_given(named: Any) -> bool:
    return not (named is None or (isinstance(named, str) and not named))


def _from_column(
    table: Columns,
    series: SeriesSet,
    label: str,
    id: str | None,  # noqa: A002
    time: str | None,
    data: StreamSettings,
    classes: tuple[str, ...],
) -> Truth:
    """Runs of equal classes, along the regular grid of the series."""
    texts = [_text(value) for value in table[label].tolist()]
    nothing = (data.background.lower(),) if data.background else _NOTHING
    names = classes or tuple(sorted({text for text in texts if text.lower() not in nothing}, key=class_order))
    codes = {name: float(code + 1) for code, name in enumerate(names)}
    unknown = sorted({text for text in texts if text not in codes and text.lower() not in nothing}, key=class_order)
    if unknown:
        raise _unknown(unknown, names)
    # The codes take the way of the values, so that stamps, gaps and order are treated alike.
    columns = {name: table[name] for name in (id, time) if name} | {"y": np.array([codes.get(t, 0.0) for t in texts])}
    coded = read_series(columns, target="y", id=id, time=time, frequency=series.frequency)
    owners, starts, ends, labels = [], [], [], []
    for place, one in enumerate(coded):
        code = np.nan_to_num(one.values[:, 0]).astype(np.int64)
        edges = np.flatnonzero(np.diff(code, prepend=0, append=0))
        for begin, stop in zip(edges, [*edges[1:], len(code)], strict=True):
            if begin < len(code) and code[begin]:
                owners.append(place)
                starts.append(int(begin))
                ends.append(int(stop) - 1)
                labels.append(int(code[begin]) - 1)
    return _sorted(names, owners, starts, ends, labels)


def _from_table(table: Columns, series: SeriesSet, data: StreamSettings, classes: tuple[str, ...]) -> Truth:
    lower = {name.lower(): name for name in table}
    start = next((lower[name] for name in _STARTS if name in lower), None)
    end = next((lower[name] for name in _ENDS if name in lower), None)
    label = lower.get("label") or lower.get("class") or lower.get("event")
    id = data.id if data.id in table else lower.get("unique_id")  # noqa: A001
    if start is None:
        fact = f"no column says when events begin; there are {', '.join(table)}"
        raise DataError(message("events", fact, hint="columns start, end, label (and unique_id)."))
    owners = _owners(table[id].astype(str).tolist() if id else None, len(table[start]), series)
    begins = _stamps(table[start], series, start)
    stops = begins if end is None else _stamps(table[end], series, end, begins)
    texts = ["event"] * len(begins) if label is None else [_text(value) for value in table[label].tolist()]
    names = classes or tuple(sorted(set(texts), key=class_order))
    unknown = sorted(set(texts) - set(names), key=class_order)
    if unknown:
        raise _unknown(unknown, names)
    starts, ends = [], []
    for owner, begin, stop, text in zip(owners, begins, stops, texts, strict=True):
        stamps = series[owner].stamps
        if stop < begin:
            raise DataError(message("events", f"an event of class {text!r} ends at {stop}, before it begins: {begin}"))
        if stop < stamps[0] or begin > stamps[-1]:
            fact = f"an event of class {text!r} at {begin} lies outside series {series.ids[owner]!r}"
            raise DataError(message("events", fact, f"That has {stamps[0]} to {stamps[-1]}."))
        starts.append(_nearest(stamps, begin))
        ends.append(_nearest(stamps, stop))
    codes = {name: code for code, name in enumerate(names)}
    return _sorted(names, owners, starts, ends, [codes[text] for text in texts])


def _owners(ids: list[str] | None, count: int, series: SeriesSet) -> list[int]:
    if ids is None:
        if len(series) > 1:
            fact = f"there are {len(series)} series, but no column says which one an event belongs to"
            raise DataError(message("events", fact, hint="unique_id."))
        return [0] * count
    places = {name: place for place, name in enumerate(series.ids)}
    unknown = sorted(set(ids) - set(places))
    if unknown:
        raise DataError(message("events", f"no series is called {', '.join(unknown[:5])}"))
    return [places[one] for one in ids]


def _stamps(column: np.ndarray, series: SeriesSet, name: str, instead: np.ndarray | None = None) -> np.ndarray:
    """Of the kind that the series have; where one is missing, the one of `instead`."""
    dated = is_dates(series.stamps)
    texts = [_text(value) for value in column.tolist()] if column.dtype.kind != "M" else []
    if column.dtype.kind == "M":
        found = column.astype("datetime64[us]")
    elif instead is not None and any(text in ("", "nan") for text in texts):
        filled = [str(other) if text in ("", "nan") else text for text, other in zip(texts, instead, strict=True)]
        return _stamps(np.array(filled, object), series, name)
    elif not dated and column.dtype.kind in "fi" and np.isfinite(column.astype(float)).all():
        found = np.round(column.astype(np.float64)).astype(np.int64)
    else:
        found, _ = parse_stamps(texts, f"column {name!r} of the events")
    if is_dates(found) != dated:
        kinds = ("dates", "whole numbers") if dated else ("whole numbers", "dates")
        raise DataError(message("events", f"the series are stamped by {kinds[0]}, column {name!r} has {kinds[1]}"))
    return found


def _nearest(stamps: np.ndarray, stamp: Any) -> int:
    at = int(np.clip(np.searchsorted(stamps, stamp), 0, len(stamps) - 1))
    if at and abs(stamps[at] - stamp) >= abs(stamp - stamps[at - 1]):
        at -= 1
    return at


def _sorted(classes: tuple[str, ...], series: list[int], start: list[int], end: list[int], label: list[int]) -> Truth:
    parts = [np.array(part, np.int64) for part in (series, start, end, label)]
    order = np.lexsort((parts[2], parts[1], parts[0]))
    return Truth(classes, *(part[order] for part in parts))


def _unknown(unknown: list[str], names: tuple[str, ...]) -> DataError:
    return DataError(message("events", f"class {', '.join(unknown)} was not in training, which had {', '.join(names)}"))


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value).strip()
