"""Linear autoregression for every step of the horizon at once, in closed form: the yardstick, and the nets' start.

Windows are normalised by their last value; one map (H, L) for all series. The Gram matrix of the windows is gathered
piece by piece and decomposed once; then each ridge value costs a product, on training and on validation windows alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import scipy.linalg

from recurra.base.errors import DataError, message
from recurra.data.series.scaling import InstanceKind, instance_scale
from recurra.data.series.window import SeriesWindows

__all__ = ["RIDGES", "Linear", "fit_ridge", "normalised"]

RIDGES = tuple(float(value) for value in np.logspace(-1, 6, 15))
"""Candidates, for windows of unit variance; the sum of squares grows with their number."""

_PIECE = 4096

Normalise = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
"""`inputs, targets = normalise(back (B, L), ahead (B, H))`, NaN where missing."""


class Linear(NamedTuple):
    """targets = inputs @ weights.T + bias."""

    weights: np.ndarray
    """(H, L)."""
    bias: np.ndarray
    """(H,)."""
    ridge: float
    errors: tuple[float, ...]
    """Mean squared validation error of each candidate; empty where none was held out."""
    windows: int


class _Moments(NamedTuple):
    count: int
    inputs: np.ndarray
    targets: np.ndarray
    gram: np.ndarray
    cross: np.ndarray
    squares: np.ndarray


def normalised(kind: InstanceKind = "last") -> Normalise:
    """Both sides of a window minus its location, divided by its scale; a missing input becomes 0."""

    def apply(back: np.ndarray, ahead: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        scale = instance_scale(back[..., None], kind)
        location, spread = scale.location[..., 0], scale.scale[..., 0]
        return np.nan_to_num((back - location) / spread), (ahead - location) / spread

    return apply


def fit_ridge(
    train: SeriesWindows,
    validation: SeriesWindows | None = None,
    *,
    ridges: Sequence[float] = RIDGES,
    normalise: Normalise | None = None,
    intercept: bool = False,
    most: int = 120_000,
) -> Linear:
    """The map from L to H values with the ridge that is best on the validation windows (the middle one without).

    intercept: also learn the mean step away from the last value. Left out by default: it is the drift of the training
    years, and on the ETT data it costs 3 % of the error at 720 steps.
    most: no more training windows than this are read, evenly spread. Windows without a value in the whole look-back,
    or with a missing target, are left out. Raises DataError where none is left.
    """
    normalise = normalise or normalised()
    found = _moments(train, normalise, most)
    if found is None:
        raise DataError(message("fit_ridge", "there is no window whose targets are all observed"))
    mean, aim = (part / found.count * intercept for part in (found.inputs, found.targets))
    gram = found.gram - found.count * np.outer(mean, mean)
    cross = found.cross - found.count * np.outer(mean, aim)
    values, vectors = scipy.linalg.eigh(gram, check_finite=False)
    values, turned = np.maximum(values, 0.0), vectors.T @ cross
    held = _moments(validation, normalise, most) if validation is not None else None

    def solution(ridge: float) -> tuple[np.ndarray, np.ndarray]:
        weights = vectors @ (turned / (values + ridge)[:, None])
        return weights, aim - mean @ weights

    if held is None:
        chosen, errors = float(np.sqrt(ridges[0] * ridges[-1])), ()
    else:
        errors = tuple(_error(held, *solution(ridge)) for ridge in ridges)
        chosen = float(ridges[int(np.argmin(errors))])
    weights, bias = solution(chosen)
    return Linear(np.ascontiguousarray(weights.T), bias, chosen, errors, found.count)


def _moments(windows: SeriesWindows, normalise: Normalise, most: int) -> _Moments | None:
    stride = max(1, -(-len(windows) // most))
    chosen = np.arange(0, len(windows), stride)
    L, H = windows.past, windows.horizon
    sums = [np.zeros(L), np.zeros(H), np.zeros((L, L)), np.zeros((L, H)), np.zeros(H)]
    count = 0
    for begin in range(0, len(chosen), _PIECE):
        values = windows[chosen[begin : begin + _PIECE]].values[..., 0]
        whole = ~np.isnan(values[:, L:]).any(1) & ~np.isnan(values[:, :L]).all(1)
        if not whole.any():
            continue
        x, y = normalise(values[whole, :L], values[whole, L:])
        count += len(x)
        for total, part in zip(sums, (x.sum(0), y.sum(0), x.T @ x, x.T @ y, (y**2).sum(0)), strict=True):
            total += part
    return _Moments(count, *sums) if count else None


def _error(held: _Moments, weights: np.ndarray, bias: np.ndarray) -> float:
    """Mean squared error from the moments alone, step h weighing 1/h.

    So many windows of a validation part are independent: a far step alone would be judged by two or three of them.
    """
    fitted = (weights * (held.gram @ weights)).sum(0)
    linear = (weights * held.cross).sum(0)
    total = held.squares - 2 * linear + fitted + held.count * bias**2
    total += 2 * bias * (held.inputs @ weights - held.targets)
    weight = 1 / np.arange(1, len(bias) + 1)
    return float((total @ weight) / (held.count * weight.sum()))
