"""Sequences that grow: the answer after every step is that of the sequence so far."""

from __future__ import annotations

import json

import numpy as np
import pytest

from recurra.base.errors import ConfigError, DataError
from recurra.tasks.classify.live import live
from recurra.tasks.classify.run import load, train_run
from unit.tasks.classify.test_run import settings, waves


@pytest.mark.parametrize("pooling", ["last", "mean", "max", "attention"])
@pytest.mark.parametrize("layers", [1, 2])
def test_live_answers_are_those_of_the_sequence_so_far(pooling, layers, tmp_path):
    chosen = ("model.bidirectional=false", f"model.pooling={pooling}", f"model.layers={layers}", "members=2")
    cases = waves(6, gaps=True)
    train_run(settings(*chosen, "train.iterations=10"), tmp_path / "run", cases=cases)
    classifier, stream = load(tmp_path / "run"), live(tmp_path / "run")
    assert stream.columns == ("0", "1", "2")
    seen = {one.id: [] for one in cases}
    for step in range(int(cases.lengths.max())):
        rows = [one for one in cases if step < len(one.values)]
        # Another order at each step, and sequences that end while others go on.
        rows = rows[step % len(rows) :] + rows[: step % len(rows)]
        values = np.stack([one.values[step] for one in rows])
        for one, records in zip(rows, stream.step([r.id for r in rows], [None] * len(rows), values), strict=True):
            seen[one.id] += records
        if step == 8:
            kept = json.loads(json.dumps({**stream.state(), "net": [a.tolist() for a in stream.state()["net"]]}))
            kept["net"] = [np.array(a, np.float32) for a in kept["net"]]
            stream = classifier.live()
            stream.load_state(kept)
    for one in cases:
        for length in (1, 9, len(one.values)):
            want = classifier.probabilities([one.values[:length].T])[0]
            have = list(seen[one.id][length - 1]["probabilities"].values())
            np.testing.assert_allclose(have, want, atol=1e-6)
    stream.finish()
    assert stream.state()["steps"] == {}


def test_what_cannot_be_live(tmp_path):
    for place, chosen in enumerate(("model.name=fcn", "model.bidirectional=true", "data.normalise=case")):
        more = () if "bidirectional" in chosen else ("model.bidirectional=false",)
        train_run(settings(chosen, *more, "train.iterations=2"), tmp_path / str(place), cases=waves(8))
        with pytest.raises(ConfigError, match="whole"):
            live(tmp_path / str(place))


def test_live_refuses_what_a_batch_would(tmp_path):
    train_run(settings("model.bidirectional=false", "train.iterations=2"), tmp_path / "run", cases=waves(8))
    stream = live(tmp_path / "run")
    with pytest.raises(DataError, match="values must be"):
        stream.step(["a"], [None], np.zeros((1, 2)))
    with pytest.raises(DataError, match="stands twice"):
        stream.step(["a", "a"], [None, None], np.zeros((2, 3)))
    with pytest.raises(DataError, match="infinite"):
        stream.step(["a"], [None], np.full((1, 3), np.inf))
    with pytest.raises(DataError, match="no mask"):
        stream.step(["a"], [None], np.full((1, 3), np.nan))
