"""From streams to a run folder and back; the stream step by step is the stream at once; what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

import recurra
from recurra.base.errors import ConfigError, DataError
from recurra.data.series import SeriesSet
from recurra.tasks.events.live import EventLive, live
from recurra.tasks.events.prepare import split
from recurra.tasks.events.run import load, train_run
from recurra.tasks.events.settings import EventSettings
from recurra.tasks.events.truth import Truth
from recurra.tasks.report import write_report
from recurra.tasks.settings import settings_from


def bumps(count=2, length=1500, seed=0, lasting=False, gaps=False):
    """Streams with bumps upwards and downwards; moments in their middle, or spans from end to end."""
    rng = np.random.default_rng(seed)
    values, rows = [], []
    for series in range(count):
        x = 0.2 * rng.normal(size=(length, 2))
        t = 30
        while t < length - 60:
            label, size = int(rng.integers(2)), int(rng.integers(15, 30)) if lasting else 8
            x[t : t + size, 0] += (2 * label - 1) * (2.0 if lasting else 2 * np.hanning(size))
            rows.append((series, t, t + size - 1, label) if lasting else (series, t + 4, t + 4, label))
            t += size + int(rng.integers(20, 60))
        if gaps:
            x[rng.random(x.shape) < 0.1] = np.nan
        values.append(x)
    return SeriesSet.of(values, ids=["p", "q"][:count], names=["x", "noise"]), Truth(("down", "up"), *np.array(rows).T)


def settings(*changes):
    plain = ("model.hidden=16", "train.iterations=120", "train.evaluate_every=30", "train.checkpoint_every=30")
    more = ("model.look_ahead_s=5", "decode.tolerance_s=4", "data.test=0.25", "train.optim.learning_rate=0.01")
    return settings_from(EventSettings, [*plain, *more, *changes])


KINDS = {
    "moments": ((), {}),
    "moments, frames of 3, lstm": (("model.frame=3", "model.cell=lstm", "model.layers=2"), {"gaps": True}),
    "moments, each class by itself": (("model.overlap=true",), {}),
    "spans": (("decode.offset=true",), {"lasting": True}),
    "spans, each class by itself": (("model.overlap=true", "model.frame=2"), {"lasting": True}),
}


@pytest.fixture(scope="module", params=KINDS)
def trained(request, tmp_path_factory):
    changes, data = KINDS[request.param]
    folder = tmp_path_factory.mktemp("events") / "run"
    outcome = train_run(settings(*changes), folder, stream=bumps(**data))
    return folder, outcome, bumps(**data)


def test_all_the_way(trained):
    folder, outcome, (series, truth) = trained
    assert outcome.split == "test"
    said = outcome.measures.scores.numbers(("down", "up"))
    assert said["f1"] > 0.9
    assert said["macro_f1"] > 0.9
    assert said["delay_median_s"] < 20
    again = load(folder)
    for one, other in zip(outcome.predictor.probabilities(series), again.probabilities(series), strict=True):
        np.testing.assert_array_equal(one, other)
    assert again.rule == outcome.predictor.rule
    first = split(series, outcome.settings)[1].tolist()
    assert again.evaluate(series, truth, first).numbers(("down", "up")) == said
    page = write_report(folder).read_text()
    assert page.count("<svg") >= 4
    assert isinstance(recurra.load(folder), type(again))
    columns = again.columns(series)
    assert len(columns["start"]) == sum(map(len, again.detect(series)))


def test_a_stream_is_the_whole_step_by_step(trained):
    """Streams that begin at different times, in changing order; the state saved and read back on the way."""
    folder, _, (series, _) = trained
    detector = load(folder)
    whole, probabilities = detector.detect(series), detector.probabilities(series)
    stream = live(folder, probabilities=True)
    assert stream.columns == ("x", "noise")
    starts = {"p": 0, "q": 7}
    records = {"p": [], "q": []}
    for now in range(700):
        ids = [one for one in ("p", "q") if now >= starts[one]]
        ids = ids if now % 3 else ids[::-1]
        steps = [now - starts[one] for one in ids]
        values = np.stack([series[one].values[step] for one, step in zip(ids, steps, strict=True)])
        for one, said in zip(
            ids, stream.step(ids, [f"{one}{s}" for one, s in zip(ids, steps, strict=True)], values), strict=True
        ):
            records[one] += said
        if now in (3, 400):
            state = stream.state()
            arrays = [array.copy() for array in state["net"]]
            kept = json.loads(json.dumps({name: part for name, part in state.items() if name != "net"}))
            stream = EventLive(load(folder), probabilities=True)
            stream.load_state({**kept, "net": arrays})
    frame, delay = detector.preparation.frame, detector.preparation.delay
    for place, one in enumerate(("p", "q")):
        said = [list(r["probabilities"].values()) for r in records[one] if r["kind"] == "probability"]
        np.testing.assert_allclose(said, probabilities[place][: len(said)], atol=2e-6)
        read = 700 - starts[one]
        due = [event for event in whole[place] if event.end < read - (delay + 2) * frame]
        kind = "event" if detector.preparation.point else "end"
        found = [record for record in records[one] if record["kind"] == kind][: len(due)]
        assert len(due) > 4
        for event, record in zip(due, found, strict=True):
            assert detector.classes[event.label] == record["label"]
            assert (event.start, event.end, event.decided) == (record["start"], record["end"], record["decided"])
            assert record["probability"] == pytest.approx(event.probability, abs=1e-5)
            at = event.time if detector.preparation.point else event.end
            assert record["stamp"] == f"{one}{at}"
        begins = [record for record in records[one] if record["kind"] == "begin"]
        assert detector.preparation.point == (not begins)
        assert [record["start"] for record in begins][: len(due)] == ([e.start for e in due] if begins else [])


def test_the_end_of_a_stream(trained):
    """What goes on ends with it, as in the whole; a stream of the same name then begins anew."""
    folder, _, (series, _) = trained
    detector, stream = load(folder), live(folder)
    cut = detector.detect(series)[0][2].start + 2 * detector.preparation.frame
    cut += detector.preparation.delay * detector.preparation.frame
    values = series["p"].values[:cut]
    rounds = []
    for _ in range(2):
        said = [record for row in values for record in stream.step(["p"], [None], row[None])[0]]
        rounds.append(said + stream.finish(["p"])[0])
    assert rounds[0] == rounds[1]
    want = detector.decode(detector.run(values))
    kind = "event" if detector.preparation.point else "end"
    assert [(r["start"], r["end"]) for r in rounds[0] if r["kind"] == kind] == [(e.start, e.end) for e in want]


def test_memory_does_not_grow(trained):
    folder, _, (series, _) = trained
    stream = live(folder)
    sizes = []
    for now in range(1200):
        stream.step(["p"], [str(now)], series["p"].values[now % 1000 : now % 1000 + 1])
        if now in (600, 1199):
            sizes.append(len(json.dumps({k: v for k, v in stream.state().items() if k != "net"})))
    assert sizes[1] < 1.2 * sizes[0]


def test_bad_steps_change_nothing(trained):
    folder, _, (series, _) = trained
    stream = live(folder)
    stream.step(["p"], ["0"], series["p"].values[:1])
    before = json.dumps(stream.state()["series"])
    with pytest.raises(DataError, match="values must be"):
        stream.step(["p"], ["1"], np.zeros((1, 3)))
    with pytest.raises(DataError, match="infinite"):
        stream.step(["p"], ["1"], np.full((1, 2), np.inf))
    with pytest.raises(DataError, match="stands twice"):
        stream.step(["p", "p"], ["1", "1"], np.zeros((2, 2)))
    if not stream.preparation.masked:
        with pytest.raises(DataError, match="no mask"):
            stream.step(["p"], ["1"], np.full((1, 2), np.nan))
    assert json.dumps(stream.state()["series"]) == before
    with pytest.raises(DataError, match="another model"):
        stream.load_state({"series": {}, "net": [np.zeros((0, 3))] * 9})
    with pytest.raises(ConfigError, match="0 < low <= high < 1"):
        live(folder, high=1.5)
    assert live(folder, high=0.9).detector.rule.high == 0.9
