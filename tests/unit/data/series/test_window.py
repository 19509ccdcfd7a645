"""Windows: what lies where, what is missing, and what it costs."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from recurra.base.errors import DataError
from recurra.data.series import SeriesSet, SeriesWindows


def ragged():
    rng = np.random.default_rng(0)
    return SeriesSet.of([rng.normal(size=length) for length in (5, 1, 9, 30)])


def test_against_a_loop():
    series, past, horizon, stride = ragged(), 4, 3, 2
    windows = SeriesWindows(series, past, horizon, stride=stride)
    wanted = [
        one.values[origin - past : origin + horizon, 0]
        for one in series
        for origin in range(past, len(one.values) - horizon + 1, stride)
    ]
    assert len(windows) == len(wanted)
    np.testing.assert_array_equal(windows[:].values[..., 0], wanted)


def test_windows_that_run_over_are_missing_there():
    windows = SeriesWindows(SeriesSet.of([np.arange(1.0, 5)]), 3, 2, least=1, future=1)
    found = windows[:].values[..., 0]
    nan = np.nan
    np.testing.assert_array_equal(found, [[nan, nan, 1, 2, 3], [nan, 1, 2, 3, 4], [1, 2, 3, 4, nan]])


def test_no_value_of_a_neighbour_is_ever_seen():
    series = SeriesSet.of([np.full(4, 1.0), np.full(6, 2.0), np.full(3, 3.0)])
    window = SeriesWindows(series, 5, 5, least=0, future=0)[:]
    seen = window.values[..., 0]
    np.testing.assert_array_equal(np.isnan(seen) | (seen == window.series[:, None] + 1), True)


def test_views_share_memory():
    series = SeriesSet.of([np.arange(100.0)])
    view = SeriesWindows(series, 10, 5).view(0)
    assert view.shape == (86, 15, 1)
    assert np.shares_memory(view, series.values)


def test_memory_is_flat_in_horizon_times_windows():
    series = SeriesSet.of([np.zeros(101_000)])

    def peak(horizon):
        tracemalloc.start()
        windows = SeriesWindows(series, 100, horizon)
        assert len(windows) > 99_000
        windows[np.arange(32)]
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return top

    # All windows of the longer horizon at once would take 800 MB.
    assert peak(900) < 2e6


def test_origins_within_bounds():
    series = ragged()
    windows = SeriesWindows(series, 4, 3, first=np.array([4, 0, 6, 20]), last=np.array([5, 9, 7, 22]), least=1)
    chosen, origin = windows.origins(np.arange(len(windows)))
    assert [(int(s), int(o - series.offsets[s])) for s, o in zip(chosen, origin, strict=True)] == [
        *((2, 6), (3, 20), (3, 21)),
    ]


def test_too_short_is_said():
    with pytest.raises(
        DataError, match="no series has room for a window: 4 steps before and 30 after, the longest has 30"
    ):
        SeriesWindows(ragged(), 4, 30)


def test_extended_goes_on_by_the_frequency():
    series = SeriesSet.of([np.array([1.0, 2, np.nan]), np.array([4.0])])
    longer = series.extended(2)
    assert longer.lengths.tolist() == [4, 3]
    assert longer.stamps.tolist() == [0, 1, 2, 3, 0, 1, 2]
    # What was missing at the end counts as future.
    assert series.ends.tolist() == [2, 4]


def test_sets_cut_and_join():
    series = ragged()
    assert series.rows(-3).lengths.tolist() == [3, 1, 3, 3]
    assert series.rows(1, -1).lengths.tolist() == [3, 0, 7, 28]
    both = series.select([3, 0]).join(series.select([1]))
    assert both.ids == ("3", "0", "1")
    np.testing.assert_array_equal(both["0"].values, series["0"].values)
    with pytest.raises(DataError, match="no series is called"):
        series["7"]
