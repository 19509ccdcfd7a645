"""Tables as they stand, labels from windows, and what is drawn of long series."""

from __future__ import annotations

import numpy as np
import pytest

from recurra.base.errors import DataError
from recurra.tasks.anomaly.evaluate import labelled
from recurra.tasks.anomaly.settings import DataSettings
from recurra.tasks.anomaly.table import read_rows, rows_of
from recurra.tasks.anomaly.task import training_rows as seen_rows
from recurra.tasks.anomaly.timeline import thinned, timeline

STAMPS = np.array(["2024-01-01T00", "2024-01-01T01", "2024-01-01T01", "2024-01-01T05"], "datetime64[us]")


def test_rows_stay_as_they_stand():
    table = {"unique_id": np.array(["b", "a", "b", "a"], object), "ds": STAMPS, "y": np.array([1.0, 2, np.nan, 4])}
    [b, a], channels = read_rows(table, DataSettings())
    assert (b.id, a.id, channels) == ("b", "a", ("y",))
    np.testing.assert_array_equal(b.values[:, 0], [1, np.nan])
    np.testing.assert_array_equal(a.stamps, STAMPS[[1, 3]])
    assert a.labels is None
    # Seconds of the day by which the daily part goes.
    np.testing.assert_array_equal(a.clock_s % 86400, [3600, 5 * 3600])


def test_wide_tables_are_channels_and_labels_are_none_of_them():
    table = {"date": STAMPS, "x": np.arange(4.0), "z": np.ones(4), "label": np.array([0.0, 1, 1, 0])}
    [one], channels = read_rows(table, DataSettings())
    assert channels == ("x", "z")
    assert one.values.shape == (4, 2)
    assert one.labels.tolist() == [False, True, True, False]
    [one], channels = read_rows(table, DataSettings(target=("z",)))
    assert channels == ("z",)


def test_clocks_follow_the_zone():
    texts = np.array(["2024-01-01 00:00Z", "2024-07-01 00:00Z"], object)
    [one], _ = read_rows({"ds": texts, "y": np.ones(2)}, DataSettings(zone="Europe/Berlin"))
    np.testing.assert_array_equal(one.clock_s % 86400, [3600, 7200])


@pytest.mark.parametrize(
    ("table", "settings", "message"),
    [
        ({"ds": STAMPS, "y": np.array([1, np.inf, 2, 3])}, {}, "1 infinities, the first in row 2"),
        ({"ds": STAMPS, "y": np.array(["a"] * 4, object)}, {"target": ("y",)}, "holds no numbers"),
        ({"ds": STAMPS, "y": np.ones(4)}, {"target": ("x",)}, "no column is called 'x'"),
        ({"ds": STAMPS, "y": np.ones(4)}, {"label": "odd"}, "no column is called 'odd'"),
        ({"ds": STAMPS, "name": np.array(["a"] * 4, object)}, {}, "no column holds numbers"),
        ("", {}, "no file was named"),
        ("none.csv", {}, "no such file"),
    ],
)
def test_what_cannot_be_read(table, settings, message):
    with pytest.raises(DataError, match=message):
        read_rows(table, DataSettings(**settings))


def test_arrays():
    assert [one.values.shape for one in rows_of([np.zeros(3), np.zeros(5)])[0]] == [(3, 1), (5, 1)]
    for wrong in (np.zeros((2, 3, 4)), [np.zeros((3, 1)), np.zeros((3, 2))], np.zeros((0, 1))):
        with pytest.raises(DataError, match="all of one C"):
            rows_of(wrong)
    with pytest.raises(DataError, match="infinite"):
        rows_of(np.array([1, np.inf]))


def test_windows_become_labels():
    [one], _ = read_rows({"ds": STAMPS, "y": np.ones(4)}, DataSettings())
    [told] = labelled([one._replace(id="a")], {"folder/a.csv": [["2024-01-01 01:00", "2024-01-01 04:00"]]}, "windows")
    assert told.labels.tolist() == [False, True, True, False]
    with pytest.raises(DataError, match="names no series"):
        labelled([one], {"b": []}, "windows")
    with pytest.raises(DataError, match="has no row from"):
        labelled([one._replace(id="a")], {"a": [["2025-01-01", "2025-01-02"]]}, "windows")


def test_rows_for_testing_are_not_seen():
    series, _ = rows_of([np.arange(10.0), np.arange(3.0)])
    assert [len(one.values) for one in seen_rows(series, 4)] == [6]
    with pytest.raises(DataError, match="more than the 10 rows"):
        seen_rows(series, 10)


def test_what_is_drawn_keeps_the_extremes():
    x = np.random.default_rng(0).normal(size=10_000)
    x[[17, 5000]] = 50, -50
    x[300:400] = np.nan
    rows, drawn = thinned(x)
    assert {17, 5000} <= set(rows.tolist())
    assert len(rows) <= 800
    kept = np.full(10_000, np.nan)
    kept[rows] = drawn
    np.testing.assert_array_equal(thinned(kept)[0], rows)
    chart = timeline(x, np.abs(x), 10.0, [17, 5000], [(10, 20)])
    assert chart.count("<circle") == 2
    assert "true anomalies" in chart
    assert "empty" in timeline(np.full(5, np.nan), np.zeros(5), 1.0, [])
