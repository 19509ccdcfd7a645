"""Trained detectors: errors by definition, Mahalanobis' distance, streamed as whole, found where it was spoilt."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from recurra.base.errors import DataError
from recurra.tasks.anomaly.detector import NetDetector, peaks
from recurra.tasks.anomaly.live import NetLive
from recurra.tasks.anomaly.network import net_of
from recurra.tasks.anomaly.run import fit_rows as fit
from recurra.tasks.anomaly.settings import AnomalySettings, NetSettings, ThresholdSettings
from recurra.tasks.anomaly.table import Rows


def settings(model, iterations=60, **net):
    base = AnomalySettings(model=model, net=NetSettings(hidden=12, window=16, **net), quiet=5)
    return msgspec.structs.replace(base, train=msgspec.structs.replace(base.train, iterations=iterations))


def series(n=1200, seed=0, spoilt=(), name="a"):
    g = np.random.default_rng(seed)
    t = np.arange(n)
    values = np.stack([np.sin(t / 6), np.cos(t / 6)], 1) * [1, 100] + g.normal(size=(n, 2)) * [0.05, 5]
    for at in spoilt:
        # Each channel stays within its own range; what they are together never was.
        values[at : at + 4, 1] = -values[at : at + 4, 1]
    return Rows(name, t, values)


@pytest.mark.parametrize("model", ["forecast", "autoencoder"])
def test_finds_what_was_spoilt_and_streams_as_the_whole(model):
    detector = fit([series()], ("x", "y"), settings(model, iterations=250))
    assert isinstance(detector, NetDetector)
    test = series(500, seed=3, spoilt=(255,))
    [said] = detector.judge([test])
    alarms = np.flatnonzero(said.alarms)
    assert ((alarms >= 255) & (alarms < 275)).any()
    # One row in a thousand may, of a tail fitted to 180 scores.
    assert (alarms < 255).sum() <= 3
    live = NetLive(detector)
    records = [live.step(["a"], [None], test.values[[t]])[0][0] for t in range(300)]
    scores = np.array([np.nan if record["score"] is None else record["score"] for record in records])
    np.testing.assert_allclose(scores, said.scores[:300], rtol=2e-3, atol=1e-4)
    assert [record["alarm"] for record in records] == said.alarms[:300].tolist()


@pytest.mark.parametrize("model", ["forecast", "autoencoder"])
def test_a_state_goes_on_and_streams_are_apart(model):
    detector = NetDetector(settings(model), ("x", "y"), 3.0, net_of(settings(model), 2), {"a": ([0, 0], [1, 100])})
    a, b = series(60), series(60, seed=5, name="b")
    both, again = NetLive(detector), NetLive(detector)
    alone = NetLive(detector)
    for t in range(60):
        said = both.step(["a", "b"], [None, None], np.stack([a.values[t], b.values[t]]))
        single = alone.step(["b"], [None], b.values[[t]])
        assert (said[1][0]["score"] is None) == (single[0][0]["score"] is None) == (t < 15 + (model == "forecast"))
        if t > 15:
            assert said[1][0]["score"] == pytest.approx(single[0][0]["score"], rel=1e-4)
        if t == 30:
            again.load_state(both.state())
        if t > 30:
            assert again.step(["a", "b"], [None, None], np.stack([a.values[t], b.values[t]])) == said


def test_errors_of_forecasts_by_definition():
    net = net_of(settings("forecast", ahead=3), 2)
    net.settle = 4
    values = np.random.default_rng(0).normal(size=(12, 2))
    errors = net.errors_of(values).reshape(12, 3, 2)
    import torch

    from recurra.tasks.anomaly.network import packed

    with torch.no_grad():
        said = net(packed(values)[None])[0][0].numpy().reshape(12, 3, 2)
    for t in range(12):
        for ahead in (1, 2, 3):
            if t >= max(ahead, 4):
                np.testing.assert_allclose(errors[t, ahead - 1], values[t] - said[t - ahead, ahead - 1], atol=1e-6)
            else:
                assert np.isnan(errors[t, ahead - 1]).all()


def test_scores_are_mahalanobis_distances():
    g = np.random.default_rng(1)
    net = net_of(settings("autoencoder"), 3)
    errors = g.normal(size=(400, 3)) @ g.normal(size=(3, 3)) + 2
    net.fit_errors(errors)
    inverse = np.linalg.inv(np.cov(errors.T))
    new = g.normal(size=(5, 1, 3))
    gap = new[:, 0] - errors.mean(0)
    np.testing.assert_allclose(net.scores(new), np.einsum("ni,ij,nj->n", gap, inverse, gap) / 3, rtol=1e-8)
    new[2, 0, 1] = np.nan
    assert np.isfinite(net.scores(new)).all()
    new[2] = np.nan
    assert np.isnan(net.scores(new)[2])


def test_labels_keep_anomalies_out_of_training():
    spoilt = series(spoilt=range(100, 1100, 90))
    labels = np.zeros(1200, bool)
    for at in range(100, 1100, 90):
        labels[at : at + 4] = True
    plain = fit([spoilt], ("x", "y"), settings("forecast", 40))
    told = fit([spoilt._replace(labels=labels)], ("x", "y"), settings("forecast", 40))
    assert told.threshold < plain.threshold


def test_missing_values_and_new_series():
    detector = fit([series()], ("x", "y"), settings("forecast", 20))
    holes = series(200, seed=9, name="new")
    holes.values[50:60, 0] = np.nan
    holes.values[80] = np.nan
    [said] = detector.judge([holes])
    assert np.isnan(said.scores[80])
    assert np.isfinite(said.scores[50:60]).all()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (series(20), "longest series has 14 rows to train on"),
        (Rows("a", np.arange(50), np.full((50, 2), np.nan)), "holds a value"),
    ],
)
def test_too_little_is_refused(rows, message):
    with pytest.raises(DataError, match=message):
        fit([rows], ("x", "y"), settings("forecast", 5))


def test_a_constant_series_is_trained_on_and_a_change_is_odd():
    flat = Rows("a", np.arange(1000), np.full((1000, 1), 7.0))
    chosen = msgspec.structs.replace(settings("forecast", 20), threshold=ThresholdSettings(method="fixed", value=50))
    detector = fit([flat], ("x",), chosen)
    moved = flat._replace(values=np.where(np.arange(1000)[:, None] == 900, 9.0, 7.0))
    [said] = detector.judge([moved])
    assert said.alarms[900]


def test_peaks_pass_over_what_has_no_score():
    scores = np.array([1.0, np.nan, 2.0, np.nan, 1.5, 2.5])
    assert peaks(scores, 2).tolist() == [True, False, True, False, False, True]
