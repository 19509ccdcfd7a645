"""What a calendar knows ahead: time of day, of week, of month, of year, as numbers between -0.5 and 0.5."""

from __future__ import annotations

import numpy as np

from recurra.data.series.frequency import Frequency
from recurra.data.series.series_set import SeriesSet
from recurra.data.series.stamps import is_dates, local

__all__ = ["calendar_features", "with_calendar"]

_UNITS = {
    "s": ("minute", "hour", "weekday"),
    "min": ("minute", "hour", "weekday", "day", "year"),
    "h": ("hour", "weekday", "day", "year"),
    "D": ("weekday", "day", "year"),
    "B": ("weekday", "day", "year"),
    "W": ("day", "year"),
    "M": ("month",),
    "Q": ("month",),
}


def calendar_features(
    stamps: np.ndarray, frequency: Frequency | None, zone: str | None = None
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Columns (n, k) and their names, those that vary at this frequency; none for numbered steps and years.

    zone: the clock they follow; stamps are UTC then.

    >>> calendar_features(np.array(["2024-01-01T12"], "datetime64[us]"), Frequency(1, "h"))[0].round(3).tolist()
    [[0.022, -0.5, -0.5, -0.5]]
    """
    names = _UNITS.get(frequency.unit, ()) if frequency is not None and is_dates(stamps) else ()
    if not names:
        return np.empty((len(stamps), 0)), ()
    clock = local(stamps, zone)
    day, month = clock.astype("datetime64[D]"), clock.astype("datetime64[M]")
    seconds = (clock - day).astype("timedelta64[s]").astype(np.int64)
    of_year = (day - clock.astype("datetime64[Y]").astype("datetime64[D]")).astype(np.int64)
    found = {
        "minute": (seconds // 60 % 60) / 59,
        "hour": seconds // 3600 / 23,
        # 1970-01-01 was a Thursday.
        "weekday": (day.astype(np.int64) + 3) % 7 / 6,
        "day": (day - month.astype("datetime64[D]")).astype(np.int64) / 30,
        "year": of_year / 365,
        "month": month.astype(np.int64) % 12 / 11,
    }
    return np.stack([found[name] for name in names], axis=1) - 0.5, tuple(f"calendar.{name}" for name in names)


def with_calendar(series: SeriesSet) -> SeriesSet:
    """The set with the calendar among the covariates that are known ahead."""
    columns, names = calendar_features(series.stamps, series.frequency, series.zone)
    return series.with_known(columns, names) if names else series
