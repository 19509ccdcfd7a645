"""Where events are, and what a net is taught of them."""

from __future__ import annotations

import numpy as np
import pytest

from recurra.base.errors import DataError
from recurra.tasks.events.settings import StreamSettings
from recurra.tasks.events.truth import Truth, read_stream, step_seconds, targets

PLAIN = StreamSettings()


def spans(truth):
    names = [truth.classes[code] for code in truth.label]
    return list(zip(truth.series.tolist(), truth.start.tolist(), truth.end.tolist(), names, strict=True))


def test_a_column_of_classes():
    table = {"y": np.arange(8.0), "label": np.array(["", "a", "a", "b", "", "0", "b", "b"], object)}
    series, truth = read_stream(PLAIN, table)
    assert series.names == ("y",)
    assert spans(truth) == [(0, 1, 2, "a"), (0, 3, 3, "b"), (0, 6, 7, "b")]
    assert not truth.point


def test_order_and_gaps_of_a_column():
    """Rows in any order, two streams, a stamp that is not there: an event ends where its rows do."""
    table = {
        "unique_id": np.array(["q", "q", "p", "p", "p", "p", "p"], object),
        "ds": np.array([1, 0, 4, 3, 1, 0, 5]),
        "y": np.arange(7.0),
        "class": np.array([1, 0, 1, 1, 1, 0, 0]),
    }
    series, truth = read_stream(PLAIN, table)
    assert series.ids == ("q", "p")
    assert series.lengths.tolist() == [2, 6]
    assert spans(truth) == [(0, 1, 1, "1"), (1, 1, 1, "1"), (1, 3, 4, "1")]


def test_a_table_of_times():
    stamps = np.datetime64("2024-01-01", "us") + np.arange(5) * np.timedelta64(60, "s")
    table = {"ds": stamps, "y": np.arange(5.0)}
    events = {
        "start": np.array(["2024-01-01 00:01:20", "2024-01-01 00:04"], object),
        "end": np.array(["2024-01-01 00:03", ""], object),
        "label": np.array(["b", "a"], object),
    }
    series, truth = read_stream(PLAIN, table, events)
    assert spans(truth) == [(0, 1, 3, "b"), (0, 4, 4, "a")]
    assert step_seconds(series, PLAIN) == 60.0
    assert step_seconds(series, StreamSettings(rate_hz=4)) == 0.25


def test_numbers_as_times_and_no_classes():
    series, truth = read_stream(PLAIN, {"y": np.arange(9.0)}, {"start": np.array([3.0, 7.0])})
    assert spans(truth) == [(0, 3, 3, "event"), (0, 7, 7, "event")]
    assert truth.point
    assert step_seconds(series, PLAIN) == 1.0


def test_no_events_are_looked_for():
    table = {"y": np.arange(3.0), "label": np.array(["", "new", ""], object)}
    assert read_stream(PLAIN, table, classes=("a",), labelled=False)[1] is None
    with pytest.raises(DataError, match="class new was not in training, which had a"):
        read_stream(PLAIN, table, classes=("a",))


def one(*events, classes=("a", "b")):
    parts = np.array([(0, *event) for event in events], np.int64).reshape(-1, 4).T
    return Truth(classes, *parts)


def test_targets_of_frames():
    """Frames of 2 steps, a moment widened by 1, answers 1 frame late."""
    truth = one((1, 4, 0), (8, 8, 1))
    assert targets(truth, 0, 11, 1, 0, 0, False).tolist() == [0, 1, 1, 1, 1, 0, 0, 0, 2, 0, 0]
    assert targets(truth, 0, 11, 2, 1, 0, False).tolist() == [1, 1, 1, 2, 2]
    assert targets(truth, 0, 11, 2, 1, 1, False).tolist() == [-1, 1, 1, 1, 2]
    both = targets(one((1, 4, 0), (3, 5, 1)), 0, 6, 1, 0, 1, True)
    assert np.isnan(both[0]).all()
    assert both[1:].tolist() == [[0, 0], [1, 0], [1, 0], [1, 1], [1, 1]]
    assert targets(truth, 0, 1, 2, 1, 3, False).shape == (0,)


@pytest.mark.parametrize(
    ("table", "events", "said"),
    [
        ({"label": np.array(["a", "b"], object)}, None, "no column holds values"),
        ({"y": np.arange(3.0)}, {"when": np.array([1])}, "no column says when events begin"),
        ({"y": np.arange(3.0)}, {"start": np.array([9])}, "lies outside series"),
        ({"y": np.arange(3.0)}, {"start": np.array([2]), "end": np.array([1])}, "ends at 1, before it begins"),
        ({"y": np.arange(3.0)}, {"start": np.array(["2024-01-01"], object)}, "stamped by whole numbers"),
        (
            {"y": np.arange(3.0)},
            {"start": np.array([1]), "unique_id": np.array(["z"], object)},
            "no series is called z",
        ),
        (
            {"unique_id": np.array(["a", "b"], object), "y": np.arange(2.0)},
            {"start": np.array([0])},
            "no column says which one",
        ),
    ],
)
def test_what_is_refused(table, events, said):
    with pytest.raises(DataError, match=said):
        read_stream(PLAIN, table, events)


def test_a_column_that_is_not_there():
    with pytest.raises(DataError, match="no column is called 'kind'"):
        read_stream(StreamSettings(label="kind"), {"y": np.arange(3.0)})
    with pytest.raises(DataError, match="no file was named"):
        read_stream(PLAIN)
