"""Measures, tests of significance and closed forms, against what others computed."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from recurra.base.errors import ConfigError, DataError, ShapeError
from recurra.data.series import SeriesSet, SeriesWindows, read_series, series_from_rows, series_scale
from recurra.tasks.forecast.metrics import coverage, crps, mase_scale, scores, smape
from recurra.tasks.forecast.naive import naive_forecast
from recurra.tasks.forecast.ridge import fit_ridge, normalised
from recurra.tasks.forecast.significance import diebold_mariano


def test_m4_hourly_seasonal_naive(data_dir):
    """The competition's own figures of that method: sMAPE 13.912, MASE 1.193."""
    folder = data_dir / "m4_hourly"
    if not folder.is_dir():
        pytest.skip("no M4 files")
    train, test = (series_from_rows(next(folder.glob(f"Hourly-{part}.csv*"))) for part in ("train", "test"))
    windows = SeriesWindows(train, 48, 48, future=0, first=train.lengths)
    said = naive_forecast(windows[:].values[:, :48, 0], 48, "seasonal_naive", 24)
    truth = test.values.reshape(-1, 48)
    assert smape(truth, said).mean() == pytest.approx(13.912, abs=5e-4)
    mase = (np.abs(truth - said).mean(1) / mase_scale(train, 24)).mean()
    assert mase == pytest.approx(1.193, abs=5e-4)


@pytest.mark.parametrize(
    ("horizon", "last", "seasonal"), [(96, (1.294, 0.713), (0.512, 0.433)), (720, (1.335, 0.755), (0.655, 0.514))]
)
def test_etth1_protocol(data_dir, horizon, last, seasonal):
    """Repeat-last and seasonal naive as published for this split and scaling."""
    path = data_dir / "ett" / "ETTh1.csv.gz"
    if not path.exists():
        pytest.skip("no ETT files")
    series = read_series(path).univariate().rows(0, 14_400)
    scale = series_scale(series.rows(0, 8640))
    windows = SeriesWindows(series, 24, horizon, first=11_520)
    assert len(windows) == 7 * (2880 - horizon + 1)
    sums = np.zeros((2, 2))
    for begin in range(0, len(windows), 2048):
        window = windows[slice(begin, begin + 2048)]
        at = window.series
        values = (window.values[..., 0] - scale.location[at]) / scale.scale[at]
        for row, kind in enumerate(("naive", "seasonal_naive")):
            missed = naive_forecast(values[:, :24], horizon, kind, 24) - values[:, 24:]
            sums[row] += (missed**2).sum(), np.abs(missed).sum()
    found = sums / (len(windows) * horizon)
    np.testing.assert_allclose(found, [last, seasonal], atol=6e-4)


def test_crps_of_dense_quantiles_is_the_closed_form():
    """Gneiting and Raftery 2007: of a standard normal at y."""
    levels = (np.arange(2000) + 0.5) / 2000
    y = 0.7
    wanted = y * (2 * stats.norm.cdf(y) - 1) + 2 * stats.norm.pdf(y) - 1 / np.sqrt(np.pi)
    assert crps(np.array(y), stats.norm.ppf(levels), levels) == pytest.approx(wanted, abs=1e-4)


def test_scores_leave_out_what_is_missing():
    truth = np.array([[1.0, np.nan, 3.0]])
    quantiles = np.array([[[0.0, 1.0, 2.0]] * 3])
    found = scores(truth, quantiles, (0.1, 0.5, 0.9), np.array([2.0]))
    np.testing.assert_array_equal(found["mae"], [[0, np.nan, 2]])
    np.testing.assert_array_equal(found["mase"], [[0, np.nan, 1]])
    np.testing.assert_array_equal(found["coverage_80"], [[1, np.nan, 0]])
    with pytest.raises(ShapeError, match="do not fit"):
        scores(truth, quantiles, (0.1, 0.9))


def test_smape_of_nothing_is_nothing():
    assert smape(np.zeros(2), np.array([0.0, 1.0])).tolist() == [0, 200]
    assert np.isnan(coverage(np.array([np.nan]), np.zeros(1), np.ones(1))).all()


def test_diebold_mariano_is_a_paired_t_test_at_one_step():
    """With a horizon of 1 the correction makes it Student's test of the mean difference."""
    rng = np.random.default_rng(0)
    first, second = rng.normal(1, 1, 60) ** 2, rng.normal(0, 1, 60) ** 2
    found = diebold_mariano(first, second, 1)
    wanted = stats.ttest_rel(first, second)
    # The t test divides by n - 1.
    assert found.statistic == pytest.approx(wanted.statistic, rel=1e-12)
    assert found.p == pytest.approx(wanted.pvalue, rel=1e-10)


def test_equal_forecasts_are_no_different():
    same = np.random.default_rng(0).normal(size=50)
    assert diebold_mariano(same, same, 5).says() == "no difference"
    with pytest.raises(DataError, match="needs 10 pairs"):
        diebold_mariano(same[:5], same[:5], 1)


def test_overlapping_random_walks_are_not_called_significant():
    """Losses of overlapping horizons hang together; a t test that does not know it cries wolf far more often."""
    rng = np.random.default_rng(1)
    cried = plain = 0
    for _ in range(200):
        noise = rng.normal(size=(2, 320))
        losses = [np.convolve(row, np.ones(20), "valid") for row in noise]
        cried += diebold_mariano(*losses, 20).p < 0.05
        plain += stats.ttest_rel(*losses).pvalue < 0.05
    assert cried < 0.2 * 200 < 0.5 * 200 < plain


def test_naive_forecasts_by_hand():
    nan = np.nan
    back = np.array([[1.0, 2, 3, nan], [nan, 4, nan, 8]])
    np.testing.assert_array_equal(naive_forecast(back, 2), [[3, 3], [8, 8]])
    np.testing.assert_array_equal(naive_forecast(back, 3, "seasonal_naive", 2), [[3, 2, 3], [8, 8, 8]])
    np.testing.assert_allclose(naive_forecast(back, 2, "drift"), [[5, 6], [10, 12]])
    with pytest.raises(ConfigError, match="kind must be"):
        naive_forecast(back, 2, "theta")


@pytest.mark.parametrize("intercept", [False, True])
def test_ridge_is_scikit_learns(intercept):
    linear = pytest.importorskip("sklearn.linear_model")
    rng = np.random.default_rng(0)
    series = SeriesSet.of([rng.normal(size=200).cumsum(), rng.normal(size=90)])
    train, held = SeriesWindows(series, 6, 3), SeriesWindows(series, 6, 3, first=50)
    found = fit_ridge(train, held, ridges=[0.5, 50.0], intercept=intercept)
    x, y = normalised()(train[:].values[:, :6, 0], train[:].values[:, 6:, 0])
    peers = {ridge: linear.Ridge(ridge, fit_intercept=intercept).fit(x, y) for ridge in (0.5, 50.0)}
    np.testing.assert_allclose(found.weights, peers[found.ridge].coef_, atol=1e-9)
    np.testing.assert_allclose(found.bias, peers[found.ridge].intercept_, atol=1e-9)
    a, b = normalised()(held[:].values[:, :6, 0], held[:].values[:, 6:, 0])
    weight = 1 / np.arange(1, 4)
    wanted = [(((peer.predict(a) - b) ** 2).mean(0) @ weight) / weight.sum() for peer in peers.values()]
    np.testing.assert_allclose(found.errors, wanted, rtol=1e-8)


def test_ridge_needs_targets():
    series = SeriesSet.of([np.array([1.0, 2, 3, np.nan, 5, np.nan])])
    with pytest.raises(DataError, match="no window whose targets"):
        fit_ridge(SeriesWindows(series, 2, 2))
