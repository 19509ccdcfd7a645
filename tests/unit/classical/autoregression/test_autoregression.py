"""Linear autoregression beside statsmodels, streams, forecasts, order selection, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from recurra.base.errors import DataError, ShapeError
from recurra.classical.autoregression import burg, fit, select_order, yule_walker

LIMIT = 1e-10


def series(steps: int = 400, seed: int = 0) -> np.ndarray:
    chance = np.random.default_rng(seed)
    x = np.zeros(steps + 50)
    for t in range(3, len(x)):
        x[t] = 2 + 0.6 * x[t - 1] - 0.4 * x[t - 2] + 0.2 * x[t - 3] + chance.normal()
    return x[50:]


def several(steps: int = 400, seed: int = 0) -> np.ndarray:
    chance = np.random.default_rng(seed)
    first, second = np.array([[0.5, 0.1], [-0.2, 0.3]]), np.array([[-0.3, 0.0], [0.1, 0.2]])
    x = np.zeros((steps + 50, 2))
    for t in range(2, len(x)):
        x[t] = [1.0, -0.5] + first @ x[t - 1] + second @ x[t - 2] + chance.normal(size=2) * [1.0, 0.5]
    return x[50:]


def close(have, want) -> None:
    have, want = np.asarray(have, dtype=complex), np.asarray(want, dtype=complex)
    assert have.shape == want.shape
    assert np.abs(have - want).max() <= LIMIT * max(1.0, np.abs(want).max())


@pytest.mark.parametrize("trend", ["n", "c", "t", "ct"])
@pytest.mark.parametrize("lags", [3, [1, 2, 12]], ids=str)
@pytest.mark.parametrize("inputs", [0, 2])
def test_least_squares_is_statsmodels(trend, lags, inputs):
    models = pytest.importorskip("statsmodels.tsa.ar_model")
    x = series()
    z = np.random.default_rng(1).normal(size=(len(x), inputs)) if inputs else None
    theirs = models.AutoReg(x, lags, trend=trend, exog=z).fit()
    ours = fit(x, lags, trend=trend, exogenous=z)
    fixed = [getattr(ours, {"c": "intercept", "t": "slope"}[letter]) for letter in trend if letter != "n"]
    close([*fixed, *ours.coefficients, *ours.exogenous], theirs.params)
    close(ours.noise, theirs.sigma2)
    for name in ("aic", "bic", "hqic"):
        close(getattr(ours, name), getattr(theirs, name))
    close(ours.log_likelihood, theirs.llf)
    close(np.sort(np.abs(ours.roots)), np.sort(np.abs(theirs.roots)))
    close(ours.residuals(x, exogenous=z), theirs.resid)
    future = np.random.default_rng(2).normal(size=(10, inputs)) if inputs else None
    close(ours.forecast(10, exogenous=future).mean, theirs.forecast(10, exog=future))


def test_standard_errors_and_forecast_errors_are_statsmodels():
    models = pytest.importorskip("statsmodels.tsa.ar_model")
    x = series()
    theirs = models.AutoReg(x, 3, trend="c").fit()
    ours = fit(x, 3)
    errors = ours.standard_errors
    close([errors["intercept"], *errors["coefficients"]], theirs.bse)
    close(ours.forecast(8).deviation, theirs.get_prediction(len(x), len(x) + 7).se_mean)


@pytest.mark.parametrize("order", [1, 4, 9])
@pytest.mark.parametrize("demean", [True, False])
@pytest.mark.filterwarnings("ignore:yule_walker currently returns:FutureWarning")
def test_yule_walker_and_burg_are_statsmodels(order, demean):
    models = pytest.importorskip("statsmodels.regression.linear_model")
    x = series(120)
    for unbiased, method in ((False, "mle"), (True, "adjusted")):
        phi, noise = yule_walker(x, order, unbiased=unbiased, demean=demean)
        want, sigma = models.yule_walker(x, order, method=method, demean=demean)
        close(phi, want)
        close(noise, sigma**2)
    phi, noise = burg(x, order, demean=demean)
    want, variance = models.burg(x, order, demean=demean)
    close(phi, want)
    close(noise, variance)


@pytest.mark.parametrize("criterion", ["aic", "bic", "hqic"])
@pytest.mark.parametrize("trend", ["n", "c", "ct"])
def test_order_selection_is_statsmodels(criterion, trend):
    models = pytest.importorskip("statsmodels.tsa.ar_model")
    x = series(300)
    theirs = models.ar_select_order(x, 12, ic=criterion, trend=trend)
    ours = select_order(x, 12, criterion=criterion, trend=trend)
    assert tuple(range(1, ours.order + 1)) == tuple(theirs.ar_lags or ())
    for name in ("aic", "bic", "hqic"):
        known, mine = getattr(theirs, name), getattr(ours, name)
        # Keyed by the lags, 0 for none.
        want = {0 if key in (0, None) else len(key): float(np.squeeze(value)) for key, value in known.items()}
        # Theirs does not count the variance as a parameter here (in AutoReg it does): the differences are what chooses.
        close(mine - mine[1], [want[order] - want[1] for order in range(13)])


def test_several_series_are_statsmodels():
    models = pytest.importorskip("statsmodels.tsa.api")
    x = several()
    theirs = models.VAR(x).fit(2, trend="c")
    ours = fit(x, 2)
    close(ours.coefficients, theirs.coefs)
    close(ours.intercept, theirs.intercept)
    close(ours.noise, theirs.sigma_u_mle)
    close(ours.log_likelihood, theirs.llf)
    close(np.sort(np.abs(ours.roots)), np.sort(np.abs(theirs.roots)))
    assert ours.is_stable
    future = ours.forecast(6)
    close(future.mean, theirs.forecast(x[-2:], 6))
    # Theirs divides the noise by the degrees of freedom, ours by the number of steps.
    scale = np.sqrt(theirs.df_resid / theirs.nobs)
    close(future.deviation, np.sqrt(theirs.mse(6).diagonal(axis1=1, axis2=2)) * scale)
    chosen = models.VAR(x).select_order(6, trend="c")
    mine = select_order(x, 6)
    assert mine.order == chosen.bic
    steps, size = len(x) - 6, 2
    known = np.array(chosen.ics["aic"])
    # Per step, without the constant of the likelihood and without counting the covariance.
    close((mine.aic - size * (size + 1)) / steps - size * (1 + np.log(2 * np.pi)), known)


def test_yule_walker_of_several_series_solves_its_equations():
    x = several(3000)
    blocks, noise = yule_walker(x, 2)
    centred = x - x.mean(axis=0)
    gamma = [centred[k:].T @ centred[: len(x) - k] / len(x) for k in range(3)]
    close(blocks[0] @ gamma[0] + blocks[1] @ gamma[1].T, gamma[1])
    close(blocks[0] @ gamma[1] + blocks[1] @ gamma[0], gamma[2])
    close(noise, gamma[0] - blocks[0] @ gamma[1].T - blocks[1] @ gamma[2].T)
    assert np.abs(blocks - fit(x, 2).coefficients).max() < 0.01


@pytest.mark.parametrize("method", ["least squares", "yule-walker", "yule-walker unbiased", "burg"])
def test_methods_agree_on_a_long_series_and_give_the_mean_back(method):
    x = series(50_000)
    model = fit(x, 3, method=method)
    assert np.abs(model.coefficients - [0.6, -0.4, 0.2]).max() < 0.02
    assert model.intercept == pytest.approx(2, abs=0.05)
    assert model.noise == pytest.approx(1, abs=0.02)
    assert model.forecast(500).mean[-1] == pytest.approx(x.mean(), abs=0.02)


@pytest.mark.parametrize("sizes", [(1, 1, 98), (63, 37)])
def test_a_stream_in_chunks_is_the_whole(sizes):
    x, z = several(100), np.random.default_rng(3).normal(size=(100, 1))
    model = fit(x, [1, 5], trend="ct", exogenous=z)
    future = np.random.default_rng(4).normal(size=(100, 1))
    whole, end = model(x, exogenous=future)
    state, at, parts = None, 0, []
    for size in sizes:
        y, state = model(x[at : at + size], state, exogenous=future[at : at + size])
        parts.append(y)
        at += size
    assert state is not None
    # The same products on fewer rows: to the rounding.
    assert np.abs(np.concatenate(parts) - whole).max() < 1e-13
    assert np.array_equal(state.last, end.last)
    assert state.time == 100


def test_a_prediction_is_what_the_forecast_says():
    x = series()
    model = fit(x, 3, trend="ct")
    y, state = model(x)
    assert model.forecast(1).mean[0] == pytest.approx(y[-1], abs=1e-12)
    assert model.forecast(1, state).mean[0] == pytest.approx(y[-1], abs=1e-12)
    assert np.abs(model.residuals(x) - (x[1:] - y[:-1])[2:]).max() < 1e-12


def test_forecast_errors_are_those_of_samples():
    model = fit(series(), 3)
    courses = np.stack([model.sample(5, seed) for seed in range(1500)])
    future = model.forecast(5)
    assert np.abs(courses.mean(axis=0) - future.mean).max() < 4 * future.deviation.max() / np.sqrt(1500)
    assert np.abs(courses.std(axis=0) / future.deviation - 1).max() < 0.08


def test_an_explosive_series_is_called_unstable():
    x = 1.05 ** np.arange(100.0) + 0.01 * np.random.default_rng(0).normal(size=100)
    model = fit(x, 1)
    assert not model.is_stable
    assert model.roots[0] == pytest.approx(1 / 1.05, rel=1e-3)
    assert fit(x, 0).roots.size == 0


@pytest.mark.parametrize(
    ("x", "order", "settings", "error", "fact"),
    [
        (np.array([1.0, np.nan, 2.0, 3.0]), 1, {}, DataError, "1 missing or infinite values of 4, the first at 1"),
        (np.zeros(0), 1, {}, ShapeError, "not empty"),
        (np.zeros((2, 2, 2)), 1, {}, ShapeError, r"\(T,\) or \(T, K\)"),
        (np.array(["a"]), 1, {}, DataError, "must be real numbers"),
        (np.arange(4.0), 3, {}, DataError, "4 values are too few: 1 remain after 3 first ones, for 4 regressors"),
        (np.ones(50), 2, {}, DataError, r"depend on each other \(rank 1\)"),
        (np.zeros(50), 2, {"trend": "n"}, DataError, "zero throughout"),
        (np.ones(50), 2, {"method": "burg"}, DataError, "constant"),
        (np.ones(50), 2, {"method": "yule-walker"}, DataError, "constant"),
        (np.arange(9.0), -1, {}, DataError, "order must be"),
        (np.arange(9.0), [0, 1], {}, DataError, "lags must be"),
        (np.arange(9.0), 1, {"trend": "q"}, DataError, "trend must be one of"),
        (np.arange(9.0), 1, {"method": "ols"}, DataError, "method must be one of"),
        (np.arange(9.0), 1, {"exogenous": np.zeros(8)}, ShapeError, "a row for each of the 9 steps"),
        (np.arange(9.0), 1, {"method": "burg", "trend": "ct"}, DataError, "knows no slope"),
        (np.arange(9.0), 2, {"hold_back": 1}, DataError, "hold_back"),
        (np.random.default_rng(0).normal(size=(9, 2)), 2, {"method": "burg"}, ShapeError, "one series"),
    ],
)
def test_what_cannot_be_fitted(x, order, settings, error, fact):
    with pytest.raises(error, match=fact):
        fit(x, order, **settings)


def test_what_a_model_refuses():
    x = series(60)
    plain, driven = fit(x, 2), fit(x, 2, exogenous=np.random.default_rng(0).normal(size=60))
    with pytest.raises(ShapeError, match=r"x must be \(T,\)"):
        plain(np.zeros((4, 1)))
    with pytest.raises(DataError, match="1 exogenous inputs"):
        driven.forecast(3)
    with pytest.raises(ShapeError, match=r"exogenous must be \(3, 1\)"):
        driven.forecast(3, exogenous=np.zeros(2))
    with pytest.raises(DataError, match="at least 1"):
        plain.forecast(0)
    with pytest.raises(DataError, match="too few for 40 lags"):
        select_order(x, 40)
    with pytest.raises(DataError, match="depend on each other"):
        select_order(np.ones(60), 3)
    with pytest.raises(DataError, match="criterion must be"):
        select_order(x, 3, criterion="cv")
