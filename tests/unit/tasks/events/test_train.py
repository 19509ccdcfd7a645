"""What training makes of streams: causal, resumable, with the thresholds that were given; what is refused."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from recurra.base.errors import CheckpointError, ConfigError, DataError
from recurra.data.series import SeriesSet
from recurra.tasks.events.run import fit_events as fit
from recurra.tasks.events.run import train_run
from recurra.tasks.events.truth import Truth
from unit.tasks.events.test_run import bumps, settings


def test_the_past_alone_decides():
    """Changing what comes after a frame changes nothing before it."""
    series, truth = bumps()
    detector = fit(series, truth, settings("train.iterations=20"))
    values = series["p"].values
    other = values.copy()
    other[700:] += 5
    one, two = detector.run(values), detector.run(other)
    np.testing.assert_array_equal(one[:700], two[:700])
    assert not np.array_equal(one[700:], two[700:])


def test_chunks_of_a_long_stream_are_the_whole(monkeypatch):
    series, truth = bumps()
    detector = fit(series, truth, settings("train.iterations=10"))
    whole = detector.run(series["p"].values)
    monkeypatch.setattr("recurra.tasks.events.detector._PIECE", 64)
    np.testing.assert_allclose(detector.run(series["p"].values), whole, atol=1e-6)


def test_training_goes_on_to_the_same_numbers(tmp_path):
    constant = ("train.schedule.name=constant", "train.iterations=40")
    whole = train_run(settings(*constant), tmp_path / "whole", stream=bumps())
    first = settings(*constant, "train.iterations=20")
    train_run(first, tmp_path / "part", stream=bumps())
    longer = msgspec.structs.replace(first, train=msgspec.structs.replace(first.train, iterations=40))
    part = train_run(longer, tmp_path / "part", stream=bumps(), resume=True)
    values = bumps()[0]["p"].values
    np.testing.assert_array_equal(whole.predictor.run(values), part.predictor.run(values))
    with pytest.raises(CheckpointError, match="holds a run already"):
        train_run(first, tmp_path / "part", stream=bumps())


def test_given_thresholds_are_kept():
    series, truth = bumps()
    given = ("decode.high=0.6", "decode.low=0.2", "decode.least_s=3", "decode.refractory_s=7")
    rule = fit(series, truth, settings("train.iterations=5", *given)).rule
    assert rule == (0.6, 0.2, 3, 7)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s, t: (s, Truth((), *(np.empty(0, np.int64),) * 4)), "has no event"),
        (lambda s, t: (s, Truth(("down", "up", "odd"), t.series, t.start, t.end, t.label)), "no event of class odd"),
        (lambda s, t: (s.rows(0, 1), t.of(0, 0, 1)), "longest series has 1 steps"),
        (lambda s, t: (SeriesSet.of([np.full((200, 1), np.nan), np.ones((9, 1))]), t), "no value|no event|longest"),
    ],
)
def test_what_is_refused(change, said):
    with pytest.raises(DataError, match=said):
        fit(*change(*bumps()), settings("train.iterations=5"))


def test_a_run_without_events(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text("y\n" + "\n".join(map(str, range(50))) + "\n")
    with pytest.raises(DataError, match="no events to learn from"):
        train_run(settings(f"data.file={path}"), tmp_path / "run")


def test_settings_that_cannot_be():
    with pytest.raises(ConfigError, match="leave nothing to learn"):
        settings("data.validation=0.8")
    with pytest.raises(ConfigError, match="must not lie above"):
        settings("decode.high=0.3", "decode.low=0.5")
