"""How good forecasts are: errors of the middle, of the quantiles, and how often intervals hold."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recurra.base.errors import ShapeError, message
from recurra.data.series.series_set import SeriesSet

__all__ = ["METRICS", "coverage", "crps", "mase_scale", "scores", "smape"]

METRICS = ("mae", "mse", "smape", "mase", "crps")


def smape(truth: np.ndarray, said: np.ndarray) -> np.ndarray:
    """200 |y - f| / (|y| + |f|), in percent, as the M4 competition has it; 0 where both are 0."""
    total = np.abs(truth) + np.abs(said)
    return np.where(total > 0, 200 * np.abs(truth - said) / np.where(total > 0, total, 1), 0.0 * truth)


def crps(truth: np.ndarray, quantiles: np.ndarray, levels: Sequence[float]) -> np.ndarray:
    """Twice the mean pinball loss over levels: the continuous ranked probability score as they grow dense.

    truth (...), quantiles (..., Q). With the level 0.5 alone it is the absolute error.
    """
    missed = truth[..., None] - quantiles
    tau = np.asarray(levels)
    return 2 * np.maximum(tau * missed, (tau - 1) * missed).mean(-1)


def coverage(truth: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """1 where low <= truth <= high, else 0; NaN where the truth is missing."""
    return np.where(np.isnan(truth), np.nan, ((truth >= low) & (truth <= high)).astype(np.float64))


def mase_scale(series: SeriesSet, season: int, stops: np.ndarray | None = None) -> np.ndarray:
    """(S,) the mean absolute error of the seasonal naive forecast within each series (Hyndman and Koehler 2006).

    stops: (S,) use that many rows of each, those before the forecast. NaN for a series shorter than a season or
    without a change.
    """
    found = np.full(len(series), np.nan)
    for index, one in enumerate(series):
        values = one.values[: None if stops is None else int(stops[index]), 0]
        steps = np.abs(values[season:] - values[:-season])
        steps = steps[~np.isnan(steps)]
        if len(steps) and steps.mean() > 0:
            found[index] = steps.mean()
    return found


def scores(
    truth: np.ndarray, quantiles: np.ndarray, levels: Sequence[float], scale: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Each measure for each value: truth (n, H), quantiles (n, H, Q), scale (n,) of MASE -> arrays (n, H).

    NaN where the truth is missing. coverage_80: the share within the outer quantiles that enclose 80 %, and so on.
    """
    if truth.shape != quantiles.shape[:-1] or quantiles.shape[-1] != len(levels) or 0.5 not in levels:
        fact = f"truth {truth.shape}, quantiles {quantiles.shape} and levels {list(levels)} do not fit (0.5 is needed)"
        raise ShapeError(message("scores", fact))
    middle = quantiles[..., list(levels).index(0.5)]
    error = np.abs(truth - middle)
    found = {
        "mae": error,
        "mse": error**2,
        "smape": smape(truth, middle),
        "mase": error / (np.full(len(truth), np.nan) if scale is None else scale)[:, None],
        "crps": crps(truth, quantiles, levels),
    }
    for place, level in enumerate(levels[: len(levels) // 2]):
        mirror = [other for other, high in enumerate(levels) if abs(level + high - 1) < 1e-9]
        if mirror:
            name = f"coverage_{round(100 * (1 - 2 * level))}"
            found[name] = coverage(truth, quantiles[..., place], quantiles[..., mirror[0]])
    return found
