"""Training a forecaster in one line of Python, in a folder or in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from recurra.data.series.series_set import SeriesSet
from recurra.tasks.forecast.forecaster import Forecaster
from recurra.tasks.forecast.prepare import split
from recurra.tasks.forecast.settings import ForecastSettings
from recurra.tasks.forecast.task import Forecast, ForecastData
from recurra.tasks.load import load
from recurra.tasks.train import Outcome, fit, train

__all__ = ["Fitted", "fit_series", "load", "train_run"]


class Fitted(NamedTuple):
    """A forecaster, and where its splits end."""

    forecaster: Forecaster
    stops: np.ndarray
    """(S,) row where the training split of each series ends."""
    ends: np.ndarray
    """(S,) row where its validation split ends."""


def train_run(
    settings: ForecastSettings, folder: Path | str, *, series: SeriesSet | None = None, **options: Any
) -> Outcome:
    """Train into `folder` on the file of the settings, or on series in memory; see `recurra.tasks.train.train`."""
    return train(Forecast(), settings, folder, data=ForecastData(series) if series is not None else None, **options)


def fit_series(series: SeriesSet, settings: ForecastSettings, **options: Any) -> Fitted:
    """Train in memory; `folder`: where the loops have their checkpoints. See `recurra.tasks.train.fit`."""
    forecaster = fit(Forecast(), settings, ForecastData(series), **options)
    return Fitted(forecaster, *split(series, settings))
