"""Fitting: least squares, the Yule-Walker equations, Burg's recursion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from recurra.base.errors import DataError, ShapeError, message
from recurra.classical.autoregression.model import Autoregression, AutoregressionState
from recurra.classical.autoregression.series import (
    TRENDS,
    checked,
    checked_lags,
    checked_order,
    deterministic,
    lagged,
)

__all__ = ["burg", "fit", "yule_walker"]


def fit(
    x: Any,
    order: int | Sequence[int],
    *,
    method: str = "least squares",
    trend: str = "c",
    exogenous: Any = None,
    hold_back: int | None = None,
) -> Autoregression:
    """Fit x (T,) or (T, K) by its own past.

    order: the lags 1 ... order, or a list of lags (such as [1, 2, 12]).
    method: "least squares"; or for stationary series "yule-walker" (always stable), "yule-walker unbiased" and "burg"
    (one series, always stable, best for short ones), which take the mean away and give it back as the intercept.
    trend: "n" none, "c" a constant, "t" a slope, "ct" both.
    exogenous: (T, M), inputs that act on the same step (ARX; least squares only).
    hold_back: how many first values are only looked back at (default: the longest lag).

    Raises DataError for missing values, too few values, or regressors that depend on each other.

    >>> chance = np.random.default_rng(0)
    >>> x = np.zeros(5000)
    >>> for t in range(2, 5000):
    ...     x[t] = 1 + 0.5 * x[t - 1] - 0.3 * x[t - 2] + chance.normal()
    >>> model = fit(x, 2)
    >>> model.coefficients.round(2).tolist(), float(model.intercept.round(1)), model.is_stable
    ([0.5, -0.29], 1.0, True)
    """
    where = "autoregression.fit"
    series = checked(where, x)
    if trend not in TRENDS:
        raise DataError(message(where, f"trend must be one of {', '.join(TRENDS)}, got {trend!r}"))
    if method != "least squares":
        return _by_moments(where, series, np.ndim(x) == 1, order, method, trend, exogenous)
    lags = checked_lags(where, order)
    first = max(lags, default=0) if hold_back is None else hold_back
    if first < max(lags, default=0):
        raise DataError(message(where, f"hold_back must be at least the longest lag, {max(lags)}, got {hold_back}"))
    T, K = series.shape
    z = np.empty((T, 0)) if exogenous is None else checked(where, exogenous, "exogenous")
    if len(z) != T:
        raise ShapeError(message(where, f"exogenous must have a row for each of the {T} steps, got {len(z)}"))
    count = TRENDS[trend] + len(lags) * K + z.shape[1]
    if T - first < count + 1:
        raise DataError(
            message(
                where,
                f"{T} values are too few: {max(T - first, 0)} remain after {first} first ones, for {count} regressors",
            )
        )
    regressors = np.concatenate(
        [deterministic(trend, first, T - first), lagged(series, lags, first), z[first:]], axis=1
    )
    wanted = series[first:]
    found = _solved(where, regressors, wanted)
    rest = wanted - regressors @ found
    noise = rest.T @ rest / len(rest)
    inverse = np.linalg.pinv(regressors.T @ regressors) if count else np.empty((0, 0))
    errors = np.sqrt(np.outer(inverse.diagonal(), noise.diagonal()))
    return Autoregression(
        lags=lags,
        **_named(found, lags, trend, K, np.ndim(x) == 1),
        noise=noise[0, 0] if np.ndim(x) == 1 else noise,
        standard_errors=_named(errors, lags, trend, K, np.ndim(x) == 1),
        state=_end(series, lags),
        steps=len(rest),
        parameters=count * K + K * (K + 1) // 2,
        single=np.ndim(x) == 1,
        method=method,
        trend=trend,
    )


def yule_walker(x: Any, order: int, *, unbiased: bool = False, demean: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients (p,) or (p, K, K) and noise variance () or (K, K) from the autocovariances (Yule 1927, Walker 1931).

    unbiased: autocovariances are divided by the number of products instead of T; such a model may be unstable.
    Several series: the block equations of Whittle (1963).
    """
    where = "autoregression.yule_walker"
    series = checked(where, x)
    order = checked_order(where, order, 1)
    T, K = series.shape
    if order >= T:
        raise DataError(message(where, f"order must be below the number of values, {T}, got {order}"))
    if demean:
        series = series - series.mean(axis=0)
    # gamma[k] = E[x_t x_{t-k}'].
    gamma = [series[k:].T @ series[: T - k] / (T - k if unbiased else T) for k in range(order + 1)]
    if not np.all(gamma[0].diagonal() > 0):
        raise DataError(message(where, "x is constant: it has no autocovariance"))
    rows = [[gamma[j - i] if j >= i else gamma[i - j].T for j in range(order)] for i in range(order)]
    left, right = np.block(rows), np.concatenate(gamma[1:], axis=1)
    solution = np.linalg.solve(left.T, right.T).T
    noise = gamma[0] - solution @ right.T
    blocks = solution.reshape(K, order, K).swapaxes(0, 1)
    return (blocks[:, 0, 0], noise[0, 0]) if np.ndim(x) == 1 else (blocks, (noise + noise.T) / 2)


def burg(x: Any, order: int, *, demean: bool = True) -> tuple[np.ndarray, float]:
    """Coefficients (p,) and noise variance of one series from forward and backward errors (Burg 1967)."""
    where = "autoregression.burg"
    series = checked(where, x)
    order = checked_order(where, order, 1)
    if series.shape[1] != 1:
        raise ShapeError(message(where, f"Burg's recursion is for one series (T,), got {np.shape(x)}"))
    T = len(series)
    if order >= T:
        raise DataError(message(where, f"order must be below the number of values, {T}, got {order}"))
    values = series[:, 0] - series.mean() if demean else series[:, 0]
    forward, backward = values[1:], values[:-1]
    phi, variance = np.empty(0), 0.0
    if not values @ values > 0:
        raise DataError(message(where, "x is constant: there is nothing to predict"))
    for _ in range(order):
        below = float(forward @ forward + backward @ backward)
        reflection = 2 * float(forward @ backward) / below if below > 0 else 0.0
        phi = np.append(phi - reflection * phi[::-1], reflection)
        # The mean square of the errors of this order in both directions.
        variance = (1 - reflection**2) * below / (2 * len(forward))
        forward, backward = (forward - reflection * backward)[1:], (backward - reflection * forward)[:-1]
    return phi, variance


def _by_moments(
    where: str, series: np.ndarray, single: bool, order: int | Sequence[int], method: str, trend: str, exogenous: Any
) -> Autoregression:
    methods = ("least squares", "yule-walker", "yule-walker unbiased", "burg")
    if method not in methods:
        raise DataError(message(where, f"method must be one of {', '.join(methods)}; got {method!r}"))
    if trend not in ("n", "c") or exogenous is not None or isinstance(order, Sequence):
        fact = f"{method} knows no slope, no exogenous inputs and no lists of lags"
        raise DataError(message(where, fact, hint="least squares does."))
    order, demean = checked_order(where, order, 1), trend == "c"
    x = series[:, 0] if single else series
    if method == "burg":
        phi, noise = burg(x, order, demean=demean)
    else:
        phi, noise = yule_walker(x, order, unbiased=method.endswith("unbiased"), demean=demean)
    T, K = series.shape
    mean = series.mean(axis=0) if demean else np.zeros(K)
    intercept = mean - phi.reshape(order, K, K).sum(axis=0) @ mean
    lags = tuple(range(1, order + 1))
    return Autoregression(
        lags=lags,
        coefficients=phi,
        intercept=intercept[0] if single else intercept,
        slope=np.zeros(()) if single else np.zeros(K),
        exogenous=np.empty(0) if single else np.empty((K, 0)),
        noise=np.asarray(noise),
        standard_errors={},
        state=_end(series, lags),
        steps=T,
        parameters=(order * K + TRENDS[trend]) * K + K * (K + 1) // 2,
        single=single,
        method=method,
        trend=trend,
    )


def _solved(where: str, regressors: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Least squares by singular values, columns brought to one length first."""
    scale = np.linalg.norm(regressors, axis=0)
    if (scale == 0).any():
        raise DataError(message(where, f"regressor {int((scale == 0).argmax())} is zero throughout"))
    found, _, rank, _ = np.linalg.lstsq(regressors / scale, wanted, rcond=None)
    if rank < regressors.shape[1]:
        raise DataError(
            message(
                where,
                f"the {regressors.shape[1]} regressors depend on each other (rank {rank})",
                hint="a constant series has no past to learn from; with one take trend='n' or fewer lags or inputs.",
            )
        )
    return found / scale[:, None]


def _named(rows: np.ndarray, lags: tuple[int, ...], trend: str, K: int, single: bool) -> dict[str, np.ndarray]:
    """Rows of the solution, one per regressor, as what they are."""
    fixed, past = TRENDS[trend], len(lags) * K
    zero = np.zeros(K)
    parts = {
        "coefficients": rows[fixed : fixed + past].reshape(len(lags), K, K).swapaxes(1, 2),
        "intercept": rows[0] if "c" in trend else zero,
        "slope": rows[fixed - 1] if "t" in trend else zero,
        "exogenous": rows[fixed + past :].T,
    }
    if not single:
        return parts
    return {
        "coefficients": parts["coefficients"][:, 0, 0],
        "intercept": parts["intercept"][0],
        "slope": parts["slope"][0],
        "exogenous": parts["exogenous"][0],
    }


def _end(series: np.ndarray, lags: tuple[int, ...]) -> AutoregressionState:
    order = max(lags, default=0)
    kept = np.concatenate([np.zeros((max(0, order - len(series)), series.shape[1])), series])
    return AutoregressionState(kept[len(kept) - order :].copy(), len(series))
