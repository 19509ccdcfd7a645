"""A series as the estimators want it: checked, (T, K), with its regressors laid out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from recurra.base.errors import DataError, ShapeError, message

__all__ = ["TRENDS", "checked", "checked_lags", "checked_order", "deterministic", "lagged"]

TRENDS = {"n": 0, "c": 1, "t": 1, "ct": 2}
"""No constant, a constant, a slope, both; and how many regressors that is."""


def checked(where: str, x: Any, what: str = "x") -> np.ndarray:
    """The series as float64 (T, K)."""
    series = np.asarray(x)
    if series.dtype.kind not in "biuf":
        raise DataError(message(where, f"{what} must be real numbers, got dtype {series.dtype}"))
    if series.ndim not in (1, 2) or not series.size:
        raise ShapeError(message(where, f"{what} must be (T,) or (T, K) and not empty, got {series.shape}"))
    series = series.astype(np.float64)
    wrong = ~np.isfinite(series).reshape(len(series), -1).all(axis=1)
    if wrong.any():
        raise DataError(
            message(
                where,
                f"{what} has {wrong.sum()} missing or infinite values of {len(series)}, the first at {wrong.argmax()}",
                hint="fill them (np.interp over the known ones) or fit the longest stretch without any.",
            )
        )
    return series.reshape(len(series), -1)


def checked_order(where: str, order: Any, least: int = 0) -> int:
    """A whole number from `least` on."""
    if not isinstance(order, (int, np.integer)) or isinstance(order, bool) or order < least:
        raise DataError(message(where, f"order must be a whole number from {least} on, got {order!r}"))
    return int(order)


def checked_lags(where: str, order: int | Sequence[int]) -> tuple[int, ...]:
    """1 ... order, or the lags that were listed."""
    if isinstance(order, Sequence):
        lags = tuple(sorted(order))
        if len(set(lags)) != len(lags) or any(not isinstance(lag, (int, np.integer)) or lag < 1 for lag in lags):
            raise DataError(message(where, f"lags must be different whole numbers from 1 on, got {list(order)}"))
        return tuple(int(lag) for lag in lags)
    return tuple(range(1, checked_order(where, order) + 1))


def deterministic(trend: str, first: int, steps: int) -> np.ndarray:
    """(steps, 0 ... 2): one, and the time, which is 1 at the first value of the series; `first` counts from 0."""
    time = np.arange(first + 1, first + steps + 1, dtype=np.float64)
    columns = {"c": np.ones(steps), "t": time}
    return (
        np.stack([columns[letter] for letter in trend if letter != "n"], axis=1)
        if trend != "n"
        else np.empty((steps, 0))
    )


def lagged(series: np.ndarray, lags: Sequence[int], first: int) -> np.ndarray:
    """(T - first, len(lags) * K): for each step from `first` on the values before it, lag by lag."""
    if not lags:
        return np.empty((len(series) - first, 0))
    return np.concatenate([series[first - lag : len(series) - lag] for lag in lags], axis=1)
