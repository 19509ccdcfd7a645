"""What a forecaster learns outside of the loop: ridge regressions, the share of one in an ensemble, calibration."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import torch
from torch import Generator, Tensor

from recurra.base.errors import DataError
from recurra.data.series.series_set import SeriesSet
from recurra.data.series.window import SeriesWindows, Window
from recurra.tasks.forecast.network import ForecastNet, SegmentNet
from recurra.tasks.forecast.prepare import Preparation, Ready
from recurra.tasks.forecast.ridge import RIDGES, fit_ridge, normalised
from recurra.tasks.forecast.settings import ForecastSettings
from recurra.tasks.forecast.simple import Members, RidgeNet

__all__ = [
    "WindowSplits",
    "best_share",
    "calibrate",
    "changed",
    "linear_map",
    "needs_ridge",
    "set_linear",
    "windows_of",
]

_VALIDATION_LIMIT = 2048
_RIDGE_LIMIT = 60_000
# Fewer windows than this say nothing about the tails.
_CALIBRATION_MINIMUM = 40
_BATCH = 512


@dataclass(frozen=True)
class WindowSplits:
    """Scaled series, and the windows of them that train and validate."""

    preparation: Preparation
    ready: Ready
    train: SeriesWindows
    validation: SeriesWindows

    @property
    def selected(self) -> np.ndarray:
        """Validation windows, at most 2048 of them, spread evenly."""
        count = len(self.validation)
        return np.unique(np.linspace(0, count - 1, _VALIDATION_LIMIT).astype(np.int64))

    def batches(self) -> Iterator[tuple[Window, Tensor, Tensor]]:
        """Yield the selected validation windows: window, x as the net reads it, targets (B, H)."""
        layout, rows = self.preparation.layout, self.selected
        for begin in range(0, len(rows), _BATCH):
            window = self.validation[rows[begin : begin + _BATCH]]
            y = torch.from_numpy(window.values[:, layout.look_back :, 0].astype(np.float32))
            yield window, layout.pack(window, self.ready.series), y


def windows_of(series: SeriesSet, preparation: Preparation, stops: np.ndarray, ends: np.ndarray) -> WindowSplits:
    """Return the windows of series whose training rows end at stops (S,), whose validation rows at ends (S,)."""
    ready = preparation.apply(series)
    scaled = ready.series
    L, H = preparation.look_back, preparation.horizon
    starts = scaled.offsets[:-1]
    # Where series are shorter than a window, some of the past will do; the mask says which.
    least = L if (stops >= L + H).all() else max(1, min(L, int(np.median(stops)) // 4))
    # Windows near the end have only some of their targets, and are worth having.
    train = SeriesWindows(scaled.until(starts + stops), L, H, least=least, future=max(1, H // 4))
    validation = SeriesWindows(scaled.until(starts + ends), L, H, least=1, first=np.maximum(stops, 1))
    return WindowSplits(preparation, ready, train, validation)


def linear_map(splits: WindowSplits, settings: ForecastSettings) -> dict[str, Any] | None:
    """Return weights, bias and ridge of the best ridge regression on the windows; None where none has all targets."""
    kind = settings.model.normalise
    if kind == "scale":
        # A mean magnitude is no location: the linear map is fitted to the values themselves.
        kind = "none"
    try:
        complete = SeriesWindows(splits.train.set, splits.train.past, splits.train.horizon)
        best = fit_ridge(complete, splits.validation, ridges=RIDGES, normalise=normalised(kind), most=_RIDGE_LIMIT)
    except DataError:
        return None
    return {"weights": best.weights, "bias": best.bias, "ridge": best.ridge}


def needs_ridge(settings: ForecastSettings) -> bool:
    """Whether the net itself has a ridge regression in it."""
    model = settings.model
    return model.name == "ridge" or (model.name == "segment" and model.skip and model.normalise != "scale")


def set_linear(net: ForecastNet, linear: dict[str, Any]) -> None:
    """Copy a ridge regression into the net's linear layer, where it has one."""
    layer = net.skip if isinstance(net, RidgeNet) else net.net.skip if isinstance(net, SegmentNet) else None
    if isinstance(layer, torch.nn.Linear):
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(linear["weights"]))
            layer.bias.copy_(torch.from_numpy(linear["bias"]))


@torch.no_grad()
def best_share(net: Members, splits: WindowSplits) -> float:
    """Return the share of the ridge: halfway from equal shares to the eighth with the least squared error.

    What one validation season prefers is a noisy estimate; shrinking it towards equal shares costs little where it is
    right (Diebold and Pauly, The use of prior information in forecast combination, 1990).
    """
    middle, shares = net.levels.index(0.5), np.linspace(0, 1, 9)
    squares = np.zeros(9)
    for _, x, y in splits.batches():
        quantiles, linear, location, scale = net.apart(x)
        if linear is None:
            return 0.0
        # In units of the series' scale, where every window counts alike.
        error = y - location - quantiles[..., middle] * scale
        step = (linear - quantiles)[..., middle] * scale
        for index, share in enumerate(shares):
            squares[index] += float(torch.nansum((error - share * step) ** 2))
    return (0.5 + float(shares[int(np.argmin(squares))])) / 2


@torch.no_grad()
def calibrate(net: Members, splits: WindowSplits) -> np.ndarray | None:
    """Return (H, Q) by how much each quantile at each step must shift to hold on the validation windows.

    None where there are too few of them.
    """
    if len(splits.validation) < _CALIBRATION_MINIMUM:
        return None
    residuals = []
    generator = Generator().manual_seed(0)
    for _, x, y in splits.batches():
        quantiles, location, scale = net.raw_quantiles(x, generator)
        residuals.append((((y - location) / scale).unsqueeze(-1) - quantiles).numpy())
    gaps = np.concatenate(residuals)
    middle = net.levels.index(0.5)
    shifts = [
        np.zeros(gaps.shape[1]) if index == middle else np.nanquantile(gaps[..., index], level, axis=0)
        for index, level in enumerate(net.levels)
    ]
    return np.nan_to_num(np.stack(shifts, axis=1))


def changed(settings: ForecastSettings, **changes: Any) -> ForecastSettings:
    """Return the settings with changes in their model."""
    return msgspec.structs.replace(settings, model=msgspec.structs.replace(settings.model, **changes))
