"""The spacing of a series' time stamps: inferred, named, and turned into places on a grid."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import numpy as np

from recurra.base.errors import DataError, message
from recurra.data.series.stamps import is_dates, shown

__all__ = ["Frequency", "infer_frequency", "parse_frequency"]

_SECOND = 1_000_000
_SIZES = {"s": _SECOND, "min": 60 * _SECOND, "h": 3600 * _SECOND, "D": 86400 * _SECOND, "W": 7 * 86400 * _SECOND}
_MONTHS = {"M": 1, "Q": 3, "Y": 12}
_ALIASES = {
    "S": "s", "sec": "s", "T": "min", "m": "min", "H": "h", "d": "D", "w": "W",
    "MS": "M", "ME": "M", "QS": "Q", "QE": "Q", "A": "Y", "YE": "Y", "YS": "Y", "y": "Y",
}  # fmt: skip
# Steps in one season; an hour has its day, a day its week, a month its year.
_SEASONS = {"s": 60, "min": 1440, "h": 24, "D": 7, "B": 5, "W": 52, "M": 12, "Q": 4, "Y": 1}


class Frequency(NamedTuple):
    """`count` units from stamp to stamp; unit is s, min, h, D, B (working days), W, M, Q, Y, or "" for numbers.

    >>> parse_frequency("15min").season
    96
    """

    count: int
    unit: str

    def __str__(self) -> str:
        """As `parse_frequency` reads it."""
        return f"{self.count if self.count > 1 or not self.unit else ''}{self.unit}"

    @property
    def season(self) -> int:
        """Steps in the shortest natural season: the day below days, the week for days, the year above; else 1."""
        if self.unit in ("s", "min", "h"):
            day = 86400 * _SECOND
            step = self.count * _SIZES[self.unit]
            # Seconds to minutes: the hour is nearer than the day.
            for span in (day, 3600 * _SECOND):
                if step < span and span % step == 0 and span // step <= 3600:
                    return span // step
            return 1
        whole = _SEASONS.get(self.unit, 1)
        return whole // self.count if whole % self.count == 0 else 1

    def places(self, stamps: np.ndarray, first: Any = None) -> np.ndarray:
        """The place (n,) int64 of each stamp on the grid that begins at `first` (default: stamps[0]).

        Raises DataError where a stamp lies between two places.
        """
        origin = stamps[0] if first is None else first
        if not self.unit:
            offset = stamps.astype(np.int64) - int(origin)
            return self._whole(offset, self.count, stamps)
        if self.unit == "B":
            days = stamps.astype("datetime64[D]")
            if not np.is_busday(days).all() or (stamps != days).any():
                raise DataError(f"{shown(stamps[~np.is_busday(days) | (stamps != days)][0])} is no working day")
            return self._whole(np.busday_count(np.datetime64(origin, "D"), days), self.count, stamps)
        if self.unit in _MONTHS:
            months = stamps.astype("datetime64[M]")
            within, start = stamps - months, np.datetime64(origin, "us") - np.datetime64(origin, "M")
            ends = (months + 1).astype("datetime64[D]") - 1 == stamps.astype("datetime64[D]")
            if (within != start).any() and not ends.all():
                raise DataError(f"{shown(stamps[within != start][0])} is not a whole number of months after the first")
            offset = (months - np.datetime64(origin, "M")).astype(np.int64)
            return self._whole(offset, self.count * _MONTHS[self.unit], stamps)
        offset = (stamps - origin).astype("timedelta64[us]").astype(np.int64)
        return self._whole(offset, self.count * _SIZES[self.unit], stamps)

    def stamps(self, first: Any, places: np.ndarray) -> np.ndarray:
        """The stamps at `places` of the grid that begins at `first`."""
        if not self.unit:
            return int(first) + places * self.count
        if self.unit == "B":
            return np.busday_offset(np.datetime64(first, "D"), places * self.count).astype("datetime64[us]")
        if self.unit in _MONTHS:
            month = np.datetime64(first, "M")
            within = np.datetime64(first, "us") - month
            found = month + places * (self.count * _MONTHS[self.unit])
            # The last day of a month stays the last one.
            if month + 1 == (np.datetime64(first, "D") + 1).astype("datetime64[M]"):
                clock = np.datetime64(first, "us") - np.datetime64(first, "D")
                return (found + 1).astype("datetime64[D]") - 1 + clock
            return found.astype("datetime64[us]") + within
        return np.datetime64(first, "us") + (places * (self.count * _SIZES[self.unit])).astype("timedelta64[us]")

    def _whole(self, offset: np.ndarray, step: int, stamps: np.ndarray) -> np.ndarray:
        places, rest = np.divmod(offset, step)
        if rest.any():
            at = int(np.flatnonzero(rest)[0])
            near = f", after {shown(stamps[at - 1])}" if at else ""
            raise DataError(f"{shown(stamps[at])}{near} is not a whole number of steps of {self} after the first")
        return places


def parse_frequency(text: str | int) -> Frequency:
    """From 15min, h, D, B, W, MS, Q, Y, or a whole number for numbered steps; DataError for others."""
    match = re.fullmatch(r"(\d*)\s*([A-Za-z]*)(-[A-Z]{3})?", str(text).strip())
    unit = _ALIASES.get(match.group(2), match.group(2)) if match else ""
    if not match or not any(match.groups()) or not (unit in _SIZES or unit in _MONTHS or unit in ("B", "")):
        hint = "one of s, min, h, D, B, W, M, Q, Y with a count before it (15min), or a whole number."
        raise DataError(message("frequency", f"{text!r} is none", hint=hint))
    count = int(match.group(1) or 1)
    if count < 1:
        raise DataError(message("frequency", f"the count must be at least 1, got {text!r}"))
    return Frequency(count, unit)


def infer_frequency(stamps: np.ndarray) -> Frequency | None:
    """The spacing that most neighbours of sorted, distinct stamps have; None for fewer than two.

    Months and working days are known by their pattern.
    """
    if len(stamps) < 2:
        return None
    if not is_dates(stamps):
        return Frequency(_commonest(np.diff(stamps.astype(np.int64))), "")
    steps = np.diff(stamps).astype("timedelta64[us]").astype(np.int64)
    step, day = _commonest(steps), _SIZES["D"]
    if 28 * day <= steps.min() and _monthly(stamps):
        months = _commonest(np.diff(stamps.astype("datetime64[M]").astype(np.int64)))
        for unit, size in (("Y", 12), ("Q", 3), ("M", 1)):
            if months % size == 0:
                return Frequency(months // size, unit)
    if step == day and set((steps // day).tolist()) >= {1, 3} and (steps % day == 0).all():
        days = stamps.astype("datetime64[D]")
        if (days == stamps).all() and np.is_busday(days).all():
            return Frequency(1, "B")
    for unit in ("W", "D", "h", "min", "s"):
        if step % _SIZES[unit] == 0:
            return Frequency(step // _SIZES[unit], unit)
    raise DataError(f"stamps are {step} microseconds apart; seconds are the shortest step")


def _monthly(stamps: np.ndarray) -> bool:
    months = stamps.astype("datetime64[M]")
    within = stamps - months
    last = (months + 1).astype("datetime64[D]") - 1 == stamps.astype("datetime64[D]")
    return bool((within == within[0]).all() or last.all())


def _commonest(steps: np.ndarray) -> int:
    values, counts = np.unique(steps, return_counts=True)
    return int(values[np.argmax(counts)])
