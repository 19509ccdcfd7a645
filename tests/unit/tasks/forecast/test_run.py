"""From series to a run folder and back: what is learnt, what is kept, what is refused."""

from __future__ import annotations

import json
from dataclasses import replace

import msgspec
import numpy as np
import pytest

import recurra
from recurra.base.errors import CheckpointError, ConfigError, DataError
from recurra.data.series import Frequency, SeriesSet
from recurra.tasks.forecast.backtest import backtest, evaluate
from recurra.tasks.forecast.estimator import ForecastEstimator
from recurra.tasks.forecast.looked import attention_of as looked
from recurra.tasks.forecast.prepare import split
from recurra.tasks.forecast.run import fit_series as fit
from recurra.tasks.forecast.run import load, train_run
from recurra.tasks.forecast.settings import MODELS, Architecture, DataSettings, ForecastSettings
from recurra.tasks.report import write_report
from recurra.training.config import TrainConfig


def waves(count=3, length=160, seed=0, noise=0.1):
    """Seasons of 8 steps, of different heights, with noise."""
    rng = np.random.default_rng(seed)
    t = np.arange(length)
    rows = [(3 + k) * np.sin(t * np.pi / 4 + k) + 10 * k + noise * rng.normal(size=length) for k in range(count)]
    return SeriesSet.of(rows, frequency=Frequency(1, ""))


def settings(name="segment", iterations=30, **changes):
    architecture = {"hidden": 16, "look_back": 24, "segment": 8, "paths": 20}
    architecture |= changes.pop("architecture", {})
    train = TrainConfig(iterations=iterations, evaluate_every=10, checkpoint_every=10)
    plain = {"horizon": 8, "season": 8, "quantiles": (0.1, 0.5, 0.9), "batch": 32, "train": train}
    return ForecastSettings(**{**plain, **changes}, model=Architecture(name=name, **architecture))


@pytest.mark.parametrize("name", MODELS)
def test_every_model_goes_all_the_way(name, tmp_path):
    series = waves()
    outcome = train_run(settings(name, data=DataSettings(test=16)), tmp_path / "run", series=series)
    assert outcome.measures is not None
    assert outcome.split == "test"
    again = load(tmp_path / "run")
    said, kept = (one.forecast(series) for one in (outcome.predictor, again))
    np.testing.assert_array_equal(said.quantiles, kept.quantiles)
    assert said.quantiles.shape == (3, 8, 3)
    assert (np.diff(said.quantiles, axis=-1) >= 0).all()
    assert said.stamps[0].tolist() == list(range(160, 168))
    page = write_report(tmp_path / "run").read_text()
    assert page.count("<svg") >= 5
    assert ("attention of each step" in page) == (name == "attention")


@pytest.mark.parametrize("name", ["segment", "direct", "recursive", "attention", "ridge"])
def test_beats_the_naive_forecast_on_waves(name):
    series = waves(length=240)
    chosen = settings(name, 200, data=DataSettings(test=40), seed=1, architecture={"hidden": 32})
    trained = fit(series, chosen)
    found = evaluate(trained.forecaster, series, trained.ends).overall()
    assert found["mae"] < 0.5 * found["naive.mae"]


def test_default_beats_seasonal_naive_where_the_level_moves():
    rng = np.random.default_rng(3)
    drift = rng.normal(size=(4, 300)).cumsum(1)
    rows = waves(4, 300, noise=0.0).values.reshape(4, 300) + drift
    trained = fit(SeriesSet.of(list(rows)), settings("segment", 100, data=DataSettings(test=60)))
    found = evaluate(trained.forecaster, SeriesSet.of(list(rows)), trained.ends).overall()
    assert found["mae"] < 0.9 * found["seasonal_naive.mae"]


def test_log_is_the_forecast_of_logarithms(tmp_path):
    """Through the run folder and the backtest too; what has no logarithm is refused."""
    series = waves(noise=0.01)
    grown = replace(series, values=np.exp(series.values / 20))
    both = [settings(iterations=10, architecture={"transform": kind}) for kind in ("none", "log")]
    plain = fit(replace(series, values=series.values / 20), both[0]).forecaster
    outcome = train_run(both[1], tmp_path / "run", series=grown)
    said = outcome.predictor.forecast(grown).quantiles
    want = np.exp(plain.forecast(replace(series, values=series.values / 20)).quantiles)
    np.testing.assert_allclose(said, want, rtol=1e-5)
    np.testing.assert_array_equal(load(tmp_path / "run").forecast(grown).quantiles, said)
    stops, _ = split(grown, both[1])
    found = evaluate(outcome.predictor, grown, stops)
    assert found.examples[0].truth[0] == pytest.approx(grown.values[stops[0], 0])
    shrunk = replace(grown, values=grown.values - 1)
    with pytest.raises(DataError, match=r"values are not positive, the first .* of series '0'"):
        fit(shrunk, both[1])
    with pytest.raises(ValueError, match="not of their logarithms"):
        settings(architecture={"transform": "log", "loss": "negative_binomial"})


def test_blend_is_the_share_of_the_ridge_that_was_asked_for(tmp_path):
    """Of net and ridge, each trained alone; both normalise their windows differently."""
    series = waves()
    alone = {"skip": False, "normalise": "standard"}
    plain = {"iterations": 5, "calibrate": False, "quantiles": (0.5,)}
    net = fit(series, settings("segment", architecture=alone, **plain)).forecaster.forecast(series).median
    ridge = fit(series, settings("ridge", architecture={"normalise": "last"}, **plain)).forecaster.forecast(series)
    both = settings("segment", architecture={**alone, "blend": 0.25}, **plain)
    said = train_run(both, tmp_path / "run", series=series).predictor.forecast(series).median
    np.testing.assert_allclose(said, 0.75 * net + 0.25 * ridge.median, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(load(tmp_path / "run").forecast(series).median, said)
    chosen = train_run(
        settings("segment", architecture={**alone, "blend": "auto"}, **plain), tmp_path / "auto", series=series
    )
    share = chosen.predictor.net.share.item()
    # A net after five updates is no match for ridge regression on a sine; halfway from equal shares to all of it.
    assert share == 0.75
    assert load(tmp_path / "auto").net.share.item() == share
    want = 0.25 * net + 0.75 * ridge.median
    np.testing.assert_allclose(chosen.predictor.forecast(series).median, want, rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match=r"blend is for segment.*not for recursive"):
        settings("recursive", architecture={"blend": 0.5})


def test_what_attention_is_shown_is_what_the_forecast_used():
    """Rows sum to 1; the same net with another past looks elsewhere."""
    series = waves()
    forecaster = fit(series, settings("attention", 5)).forecaster
    seen = looked(forecaster, series)
    assert seen is not None
    weights = np.array(seen["weights"])
    assert weights.shape == (8, 24)
    np.testing.assert_allclose(weights.sum(1), 1, atol=24e-5)
    np.testing.assert_allclose(seen["values"], series.values[160 - 8 - 24 : 160, 0], rtol=1e-6)
    other = looked(forecaster, replace(series, values=series.values**2))
    assert other is not None
    assert np.abs(np.array(other["weights"]) - weights).max() > 1e-4
    assert looked(fit(series, settings("ridge")).forecaster, series) is None


def test_a_new_series_and_a_gap():
    """Ids that training never saw are scaled by their own values; missing ones are no reason to fail."""
    trained = fit(waves(), settings(iterations=20))
    values = waves(1, 60).values.copy()
    values[20:25] = np.nan
    other = replace(waves(1, 60), ids=("new",), values=1000 * values)
    said = trained.forecaster.forecast(other)
    assert np.isfinite(said.quantiles).all()
    assert 500 < np.abs(said.median).max() < 10_000
    short = trained.forecaster.forecast(waves(1, 5))
    assert np.isfinite(short.quantiles).all()


@pytest.mark.parametrize("loss", ["mae", "mse", "gaussian", "student"])
def test_losses(loss):
    trained = fit(waves(), settings("recursive", 10, architecture={"loss": loss}))
    assert np.isfinite(trained.forecaster.forecast(waves()).quantiles).all()


def test_counts():
    rng = np.random.default_rng(0)
    series = SeriesSet.of([rng.poisson(4 + 3 * np.sin(np.arange(150) * np.pi / 4)).astype(float) for _ in range(3)])
    chosen = {"loss": "negative_binomial", "normalise": "scale", "scale": "none"}
    trained = fit(series, settings("recursive", 20, architecture=chosen, calibrate=False))
    said = trained.forecaster.forecast(series).quantiles
    assert (said >= 0).all()
    with pytest.raises(ConfigError, match="must not be shifted"):
        fit(series, settings("recursive", 10, architecture={"loss": "negative_binomial"}))


def test_calibrated_intervals_hold():
    series = waves(6, 400, noise=1.0)
    trained = fit(series, settings("ridge", data=DataSettings(test=120, validation=120)))
    found = evaluate(trained.forecaster, series, trained.ends).overall()
    assert found["coverage_80"] == pytest.approx(0.8, abs=0.06)


def test_members_are_joined_by_the_median():
    trained = fit(waves(), settings(iterations=10, members=3, calibrate=False))
    joined = trained.forecaster.forecast(waves()).quantiles
    alone = []
    for net in trained.forecaster.net.members:
        one = type(trained.forecaster)(net, trained.forecaster.preparation, trained.forecaster.settings)
        alone.append(one.forecast(waves()).quantiles)
    np.testing.assert_allclose(joined, np.median(alone, axis=0), rtol=1e-5)


def test_paths_of_the_future():
    trained = fit(waves(), settings("recursive", 20, calibrate=False))
    forecaster = trained.forecaster
    ready = forecaster.preparation.apply(waves())
    windows = forecaster.windows(ready, first=np.full(3, 100), last=np.full(3, 101))
    x = forecaster.preparation.layout.pack(windows[:], ready.series, ready.places)
    import torch

    net = forecaster.net.members[0]
    paths = net.sample(x, 50, torch.Generator().manual_seed(0))
    assert paths.shape == (3, 50, 8)
    again = net.sample(x, 50, torch.Generator().manual_seed(0))
    torch.testing.assert_close(paths, again, rtol=0, atol=0)
    assert paths.std(1).min() > 0


def test_backtest_against_a_loop():
    series = waves()
    forecaster = fit(series, settings("seasonal_naive", calibrate=False)).forecaster
    found = backtest(forecaster, series, origins=4, stride=5)
    assert found.origins == 12
    missed = []
    for one in series:
        values = one.values[:, 0]
        for origin in range(len(values) - 8 - 15, len(values) - 7, 5):
            missed.append(np.abs(values[origin : origin + 8] - values[origin - 8 : origin]))
    np.testing.assert_allclose(found.steps("mae"), np.mean(missed, axis=0), rtol=1e-5)
    assert found.overall()["mae"] == pytest.approx(found.overall()["seasonal_naive.mae"], rel=1e-5)


def test_refitting_never_sees_what_it_forecasts():
    """A jump after the second origin changes nothing about the first forecast."""
    series = waves(1)
    jumped = series.values.copy()
    jumped[-8:] += 50
    runs = []
    for values in (series.values, jumped):
        one = replace(series, values=values)
        forecaster = fit(one, settings("ridge")).forecaster
        runs.append(backtest(forecaster, one, origins=2, stride=8, refit=True).by_origin[""][144])
    assert runs[0] == runs[1]


def test_resumed_runs_are_the_same(tmp_path):
    series = waves()
    whole = train_run(settings(iterations=20), tmp_path / "whole", series=series)
    first = settings(iterations=10)
    train_run(first, tmp_path / "part", series=series)
    longer = msgspec.structs.replace(first, train=msgspec.structs.replace(first.train, iterations=20))
    part = train_run(longer, tmp_path / "part", series=series, resume=True)
    one, other = (outcome.predictor.forecast(series).quantiles for outcome in (whole, part))
    np.testing.assert_array_equal(one, other)


def test_folders_are_never_overwritten(tmp_path):
    train_run(settings("naive"), tmp_path / "run", series=waves())
    with pytest.raises(CheckpointError, match="holds a run already"):
        train_run(settings("naive"), tmp_path / "run", series=waves())
    with pytest.raises(CheckpointError, match="goes on with the settings it began with"):
        train_run(settings("drift"), tmp_path / "run", series=waves(), resume=True)
    with pytest.raises(CheckpointError, match="no such run"):
        load(tmp_path / "other")
    (tmp_path / "run" / "series.json").write_text("{")
    with pytest.raises(CheckpointError, match="is damaged"):
        load(tmp_path / "run")


def test_recurra_load(tmp_path):
    train_run(settings("naive"), tmp_path / "run", series=waves())
    assert recurra.load(tmp_path / "run").forecast(waves()).median.shape == (3, 8)
    held = json.loads((tmp_path / "run" / "held_out.json").read_text())
    assert held["part"] == "validation"


@pytest.mark.parametrize(
    ("series", "said"),
    [
        (SeriesSet.of([np.arange(9.0)]), "the longest series has 9 rows"),
        (SeriesSet.of([np.full(100, np.nan), np.arange(100.0)]), "1 of 2 series have no value"),
    ],
    ids=["short", "empty"],
)
def test_what_is_refused(series, said):
    with pytest.raises(DataError, match=said):
        fit(series, settings("ridge"))


def test_constant_series():
    trained = fit(SeriesSet.of([np.full(120, 5.0)]), settings(iterations=10))
    np.testing.assert_allclose(trained.forecaster.forecast(SeriesSet.of([np.full(120, 5.0)])).median, 5.0, atol=0.2)


def test_missing_future_covariates_are_named():
    series = waves(1).with_known(np.ones((160, 1)), ["promo"])
    forecaster = fit(series, settings(iterations=10)).forecaster
    with pytest.raises(DataError, match="covariate 'promo' is not known for all 8 steps"):
        forecaster.forecast(series)
    with pytest.raises(DataError, match="known covariates promo are missing"):
        forecaster.forecast(waves(1))
    ahead = series.extended(8)
    known = np.where(np.isnan(ahead.known), 1.0, ahead.known)
    assert forecaster.forecast(replace(ahead, known=known)).median.shape == (1, 8)


def test_estimator_with_frames():
    pandas = pytest.importorskip("pandas")
    stamps = pandas.date_range("2024-01-01", periods=120, freq="h")
    parts = [
        pandas.DataFrame({"unique_id": name, "ds": stamps, "y": np.sin(np.arange(120) * np.pi / 12) * size})
        for name, size in (("a", 1.0), ("b", 5.0))
    ]
    frame = pandas.concat(parts)
    made = ForecastEstimator(24, model="ridge", quantiles=(0.1, 0.5, 0.9)).fit(frame)
    said = made.predict()
    assert isinstance(said, pandas.DataFrame)
    assert list(said.columns) == ["unique_id", "ds", "forecast", "q0.1", "q0.5", "q0.9"]
    assert said.ds.iloc[0] == stamps[-1] + pandas.Timedelta("1h")
    base = pytest.importorskip("sklearn.base")
    twin = base.clone(made)
    assert twin.get_params() == made.get_params()
    assert not hasattr(twin, "forecaster_")
    with pytest.raises(DataError, match="not fitted"):
        twin.predict()
    with pytest.raises(ConfigError, match="no parameter is called 'horizn', nearest: horizon"):
        made.set_params(horizn=3)
