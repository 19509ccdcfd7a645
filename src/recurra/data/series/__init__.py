"""Floor 3b: many series in memory, from files and frames, and windows over them.

    from recurra.data.series import SeriesSet, SeriesWindows, read_series, read_ts

`SeriesSet` is the one value that forecasts, classification and detection share; a missing value is NaN in it.
"""

from __future__ import annotations

from recurra.data.series.build import read_series, series_from_rows
from recurra.data.series.calendar_features import calendar_features, with_calendar
from recurra.data.series.columns import as_frame, frame_kind, read_columns
from recurra.data.series.frequency import Frequency, infer_frequency, parse_frequency
from recurra.data.series.scaling import Scale, instance_scale, series_scale
from recurra.data.series.series_set import Series, SeriesSet
from recurra.data.series.ts_file import read_ts
from recurra.data.series.window import SeriesWindows, Window

__all__ = [
    "Frequency",
    "Scale",
    "Series",
    "SeriesSet",
    "SeriesWindows",
    "Window",
    "as_frame",
    "calendar_features",
    "frame_kind",
    "infer_frequency",
    "instance_scale",
    "parse_frequency",
    "read_columns",
    "read_series",
    "read_ts",
    "series_from_rows",
    "series_scale",
    "with_calendar",
]
