"""fit and predict: a forecaster as scikit-learn's users expect one, on tables or arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from recurra.base.errors import DataError, message
from recurra.data.series.columns import frame_kind
from recurra.data.series.series_set import SeriesSet
from recurra.tasks.estimator import TaskEstimator
from recurra.tasks.forecast.forecaster import Forecast, Forecaster
from recurra.tasks.forecast.prepare import read_data
from recurra.tasks.forecast.run import fit_series
from recurra.tasks.forecast.settings import DataSettings, ForecastSettings

__all__ = ["ForecastEstimator"]


class ForecastEstimator(TaskEstimator):
    """A global forecaster for many series.

    horizon: steps ahead. model: see `recurra train forecast --help`. quantiles: rising, with 0.5 among them. target,
    id, time, past, known, static, freq: columns of a table, as in `read_series`. members: nets of as many seeds.
    settings: any other setting by its dotted name, such as {"model.hidden": 32, "train.iterations": 200}.

    `fit` takes a pandas or polars frame, a file, a `SeriesSet`, or arrays: (T,), (T, C) or a list of (T,). `predict`
    gives a frame of the kind that came in (columns unique_id, ds, forecast, q0.1 ...), and an array (S, H) for arrays.

    >>> t = np.arange(300)
    >>> wave = ForecastEstimator(horizon=12, model="ridge", season=12).fit(np.sin(t * np.pi / 6))
    >>> wave.predict().shape
    (1, 12)
    >>> bool(np.abs(wave.predict()[0] - np.sin((300 + np.arange(12)) * np.pi / 6)).max() < 0.02)
    True
    """

    recipe = ForecastSettings()
    parameters = {  # noqa: RUF012
        "horizon": "horizon",
        "model": "model.name",
        "quantiles": "quantiles",
        "season": "season",
        "target": "data.target",
        "id": "data.id",
        "time": "data.time",
        "past": "data.past",
        "known": "data.known",
        "static": "data.static",
        "freq": "data.freq",
        "members": "members",
        "seed": "seed",
    }

    def fit(self, X: Any, y: Any = None) -> ForecastEstimator:
        """Learn from series; y is for pipelines and must be None."""
        if y is not None:
            hint = "targets are a column of the table (target=), or the array itself."
            raise DataError(message("ForecastEstimator.fit", "y must be None", hint=hint))
        series = self._series(X)
        self.forecaster_: Forecaster = fit_series(series, self.task_settings()).forecaster
        self.series_ = series
        self.kind_ = "array" if isinstance(X, np.ndarray | list) else frame_kind(X)
        return self

    def predict(self, X: Any = None) -> Any:
        """The H steps behind the last value of X, or of what was fitted."""
        forecast = self.forecast(X)
        kind = self.kind_ if X is None else "array" if isinstance(X, np.ndarray | list) else frame_kind(X)
        return forecast.median if kind == "array" else forecast.frame(kind)

    def forecast(self, X: Any = None) -> Forecast:
        """The same as a `Forecast`: quantiles (S, H, Q) and stamps."""
        self.require_fitted()
        return self.forecaster_.forecast(self.series_ if X is None else self._series(X))

    def _data(self) -> DataSettings:
        return self.task_settings().data

    def _series(self, X: Any) -> SeriesSet:
        if isinstance(X, SeriesSet):
            return X.univariate()
        if isinstance(X, np.ndarray):
            if X.ndim not in (1, 2) or X.dtype.kind not in "fiub":
                fact = f"an array must be (T,) or (T, C) of numbers, got {X.shape} {X.dtype}"
                raise DataError(message("ForecastEstimator", fact))
            return SeriesSet.of([X]).univariate()
        if isinstance(X, list):
            return SeriesSet.of([np.asarray(part, np.float64) for part in X])
        return read_data(self._data(), X)
