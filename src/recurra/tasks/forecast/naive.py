"""Forecasts without learning: the last value, the last season, the line from the first value to the last."""

from __future__ import annotations

from typing import Literal

import numpy as np

from recurra.base.errors import ConfigError, message

__all__ = ["NAIVE", "naive_forecast"]

NAIVE = ("naive", "seasonal_naive", "drift")


def naive_forecast(
    back: np.ndarray, horizon: int, kind: Literal["naive", "seasonal_naive", "drift"] = "naive", season: int = 1
) -> np.ndarray:
    """Look-backs (B, L) with NaN where missing -> (B, H).

    naive: the last value seen. seasonal_naive: the last value seen at the same place of the season. drift: the last
    value and the mean step since the first (Hyndman and Athanasopoulos 2021). NaN only where no value was seen at all.

    >>> naive_forecast(np.array([[1.0, 2.0, 3.0]]), 3, "seasonal_naive", season=2).tolist()
    [[2.0, 3.0, 2.0]]
    """
    if kind not in NAIVE or season < 1 or horizon < 1:
        fact = (
            f"kind must be one of {', '.join(NAIVE)}, season and horizon at least 1, got {kind!r}, {season}, {horizon}"
        )
        raise ConfigError(message("naive_forecast", fact))
    length = back.shape[1]
    last, at = _last(back)
    if kind == "naive" or (kind == "seasonal_naive" and season == 1):
        return np.repeat(last[:, None], horizon, 1)
    if kind == "drift":
        backwards, behind = _last(back[:, ::-1])
        gap = at - (length - 1 - behind)
        slope = np.where(gap > 0, (last - backwards) / np.maximum(gap, 1), 0.0)
        # From the last value seen, which may lie before the origin.
        return last[:, None] + slope[:, None] * (np.arange(1, horizon + 1) + (length - 1 - at)[:, None])
    short = -length % season
    padded = np.concatenate([np.full((len(back), short), np.nan), back], 1)
    seasons = padded.reshape(len(back), -1, season)
    newest = np.stack([_last(seasons[:, :, place])[0] for place in range(season)], 1)
    newest = np.where(np.isnan(newest), last[:, None], newest)
    return newest[:, np.arange(horizon) % season]


def _last(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The last value seen (B,) and where it was."""
    seen = ~np.isnan(values)
    at = values.shape[1] - 1 - np.argmax(seen[:, ::-1], 1)
    return values[np.arange(len(values)), at], at
