"""Scales of series, learnt on the training part and undone after a forecast."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

from recurra.base.errors import ConfigError, message
from recurra.data.series.series_set import SeriesSet

__all__ = ["InstanceKind", "Scale", "ScaleKind", "instance_scale", "series_scale"]

ScaleKind = Literal["none", "standard", "robust", "mean"]
InstanceKind = Literal["none", "last", "mean", "standard", "spread"]


class Scale(NamedTuple):
    """z = (y - location) / scale; both (S, C) for series, (B, 1, C) for windows."""

    location: np.ndarray
    scale: np.ndarray

    def forward(self, values: np.ndarray) -> np.ndarray:
        """To the scaled side."""
        return (values - self.location) / self.scale

    def back(self, values: np.ndarray) -> np.ndarray:
        """From it."""
        return values * self.scale + self.location


def series_scale(series: SeriesSet, kind: ScaleKind = "standard") -> Scale:
    """Location and scale (S, C) of each series and channel over what is observed of it.

    standard: mean and deviation (divided by n). robust: median and 1.4826 times the median absolute deviation.
    mean: 0 and the mean magnitude (DeepAR, Salinas et al. 2020). A constant series has scale 1, a series without a
    value location 0.
    """
    if kind not in ("none", "standard", "robust", "mean"):
        raise ConfigError(message("series_scale", f"kind must be none, standard, robust or mean, got {kind!r}"))
    shape = (len(series), len(series.names))
    location, scale = np.zeros(shape), np.ones(shape)
    if kind == "none":
        return Scale(location, scale)
    owner = np.repeat(np.arange(len(series)), series.lengths)
    for channel in range(shape[1]):
        values = series.values[:, channel]
        known = ~np.isnan(values)
        whose, seen = owner[known], values[known]
        count = np.maximum(np.bincount(whose, minlength=len(series)), 1)
        largest = np.zeros(len(series))
        np.maximum.at(largest, whose, np.abs(seen))
        if kind == "mean":
            spread = np.bincount(whose, np.abs(seen), len(series)) / count
        elif kind == "robust":
            spread = np.zeros(len(series))
            for index, one in enumerate(series):
                own = one.values[:, channel][~np.isnan(one.values[:, channel])]
                if len(own):
                    location[index, channel] = np.median(own)
                    spread[index] = 1.4826 * np.median(np.abs(own - location[index, channel]))
        else:
            location[:, channel] = np.bincount(whose, seen, len(series)) / count
            spread = np.sqrt(np.bincount(whose, (seen - location[whose, channel]) ** 2, len(series)) / count)
        # Rounding leaves a constant series a deviation of about 1e-16 of its values.
        varied = spread > 1e-12 * np.maximum(1.0, largest)
        scale[varied, channel] = spread[varied]
    return Scale(location, scale)


def instance_scale(values: np.ndarray, kind: InstanceKind = "last") -> Scale:
    """Location and scale (B, 1, C) of each window (B, L, C): reversible instance normalisation (Kim et al. 2022).

    last: the last value seen, and 1; mean: the mean, and 1; standard: mean and deviation; spread: the last value seen,
    and the deviation. Without any value 0 and 1.
    """
    seen = ~np.isnan(values)
    count = seen.sum(1, keepdims=True)
    filled = np.where(seen, values, 0.0)
    one = np.ones_like(filled[:, :1])
    if kind == "none":
        return Scale(0 * one, one)
    at = values.shape[1] - 1 - np.argmax(seen[:, ::-1], axis=1, keepdims=True)
    last = np.take_along_axis(filled, at, 1)
    if kind == "last":
        return Scale(last, one)
    mean = filled.sum(1, keepdims=True) / np.maximum(count, 1)
    if kind == "mean":
        return Scale(mean, one)
    spread = np.sqrt((np.where(seen, values - mean, 0.0) ** 2).sum(1, keepdims=True) / np.maximum(count, 1))
    location = last if kind == "spread" else mean
    return Scale(location, np.where(spread > 1e-12 * np.maximum(1.0, np.abs(mean)), spread, 1.0))
