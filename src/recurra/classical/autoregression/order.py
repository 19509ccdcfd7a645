"""How many lags: Akaike's, Schwarz's and Hannan and Quinn's criteria for all orders, from one factorisation."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from recurra.base.errors import DataError, ShapeError, message
from recurra.classical.autoregression.series import TRENDS, checked, checked_order, deterministic, lagged

__all__ = ["OrderSelection", "select_order"]


class OrderSelection(NamedTuple):
    """The criteria of the orders 0 ... most, all on the same values of the series, so that they compare."""

    order: int
    """The best by the criterion that was asked for."""
    aic: np.ndarray
    bic: np.ndarray
    hqic: np.ndarray


def select_order(
    x: Any, most: int, *, criterion: str = "bic", trend: str = "c", exogenous: Any = None
) -> OrderSelection:
    """Compare least squares fits of x (T,) or (T, K) with 0 ... most lags, each leaving out the first `most` values.

    aic finds the best forecaster, bic the true order (given enough data), hqic lies between. The sums of squares of
    all orders come from one QR factorisation.

    >>> from recurra.classical.autoregression import Autoregression, fit
    >>> chance = np.random.default_rng(0)
    >>> x = np.zeros(3000)
    >>> for t in range(2, 3000):
    ...     x[t] = 0.5 * x[t - 1] - 0.3 * x[t - 2] + chance.normal()
    >>> select_order(x, 10).order
    2
    """
    where = "autoregression.select_order"
    series = checked(where, x)
    most = checked_order(where, most)
    if criterion not in ("aic", "bic", "hqic"):
        raise DataError(message(where, f"criterion must be aic, bic or hqic, got {criterion!r}"))
    if trend not in TRENDS:
        raise DataError(message(where, f"trend must be one of {', '.join(TRENDS)}, got {trend!r}"))
    T, K = series.shape
    z = np.empty((T, 0)) if exogenous is None else checked(where, exogenous, "exogenous")
    if len(z) != T:
        raise ShapeError(message(where, f"exogenous must have a row for each of the {T} steps, got {len(z)}"))
    fixed = TRENDS[trend] + z.shape[1]
    steps = T - most
    if steps < fixed + most * K + 1:
        raise DataError(
            message(where, f"{T} values are too few for {most} lags: {max(steps, 0)} remain to be predicted")
        )
    columns = np.concatenate(
        [deterministic(trend, most, steps), z[most:], lagged(series, range(1, most + 1), most)], axis=1
    )
    triangle = np.asarray(np.linalg.qr(np.concatenate([columns, series[most:]], axis=1), mode="r"))
    width = columns.shape[1]
    if width:
        diagonal = np.abs(triangle.diagonal()[:width])
        if (diagonal <= 1e-12 * np.linalg.norm(columns, axis=0)).any():
            fact = f"the {width} regressors depend on each other"
            raise DataError(
                message(where, fact, hint="a constant series has no past to learn from; ask for fewer lags.")
            )
    # Row by row of Q' x: what each regressor explains; what is left lies below.
    right = triangle[:, width:]
    criteria = np.empty((3, most + 1))
    for order in range(most + 1):
        below = right[fixed + order * K :]
        _, log_determinant = np.linalg.slogdet(below.T @ below / steps)
        deviance = steps * (K * math.log(2 * math.pi) + log_determinant + K)
        count = (fixed + order * K) * K + K * (K + 1) // 2
        weights = (2.0, math.log(steps), 2 * math.log(math.log(steps)))
        criteria[:, order] = [deviance + weight * count for weight in weights]
    best = int(criteria[("aic", "bic", "hqic").index(criterion)].argmin())
    return OrderSelection(best, *criteria)
