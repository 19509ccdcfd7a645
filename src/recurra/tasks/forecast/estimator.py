"""fit and predict: a forecaster as scikit-learn's users expect one, on tables or arrays."""

from __future__ import annotations

import inspect
from typing import Any

import msgspec
import numpy as np

from recurra.base import config
from recurra.base.errors import ConfigError, DataError, message, nearest
from recurra.data.series.columns import frame_kind
from recurra.data.series.series_set import SeriesSet
from recurra.tasks.forecast.forecaster import Forecast, Forecaster
from recurra.tasks.forecast.prepare import read_data
from recurra.tasks.forecast.settings import DataSettings, ForecastSettings
from recurra.tasks.forecast.train import fit

__all__ = ["ForecastEstimator"]


class ForecastEstimator:
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

    def __init__(
        self,
        horizon: int = 24,
        *,
        model: str = "segment",
        quantiles: tuple[float, ...] = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95),
        season: int = 0,
        target: str | tuple[str, ...] = (),
        id: str = "",  # noqa: A002
        time: str = "",
        past: tuple[str, ...] = (),
        known: tuple[str, ...] = (),
        static: tuple[str, ...] = (),
        freq: str = "",
        members: int = 1,
        seed: int = 0,
        settings: dict[str, Any] | None = None,
    ) -> None:
        self.horizon, self.model, self.quantiles, self.season = horizon, model, quantiles, season
        self.target, self.id, self.time = target, id, time
        self.past, self.known, self.static, self.freq = past, known, static, freq
        self.members, self.seed, self.settings = members, seed, settings

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The arguments of __init__."""
        del deep
        return {name: getattr(self, name) for name in _parameters()}

    def set_params(self, **changes: Any) -> ForecastEstimator:
        """Change arguments; ConfigError for a name that there is not."""
        for name, value in changes.items():
            if name not in _parameters():
                near = ", ".join(nearest(name, _parameters())[:3])
                raise ConfigError(message("ForecastEstimator", f"no parameter is called {name!r}, nearest: {near}"))
            setattr(self, name, value)
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "forecaster_")

    def fit(self, X: Any, y: Any = None) -> ForecastEstimator:
        """Learn from series; y is for pipelines and must be None."""
        if y is not None:
            hint = "targets are a column of the table (target=), or the array itself."
            raise DataError(message("ForecastEstimator.fit", "y must be None", hint=hint))
        series = self._series(X)
        self.forecaster_: Forecaster = fit(series, self._settings()).forecaster
        self.series_ = series
        self.kind_ = "array" if isinstance(X, np.ndarray | list) else frame_kind(X)
        return self

    def predict(self, X: Any = None) -> Any:
        """The H steps behind the last value of X, or of what was fitted."""
        said = self.forecast(X)
        kind = self.kind_ if X is None else "array" if isinstance(X, np.ndarray | list) else frame_kind(X)
        return said.median if kind == "array" else said.frame(kind)

    def forecast(self, X: Any = None) -> Forecast:
        """The same as a `Forecast`: quantiles (S, H, Q) and stamps."""
        if not self.__sklearn_is_fitted__():
            raise DataError(message("ForecastEstimator", "is not fitted yet", hint="call fit first."))
        return self.forecaster_.forecast(self.series_ if X is None else self._series(X))

    def _settings(self) -> ForecastSettings:
        base = ForecastSettings(
            horizon=self.horizon,
            season=self.season,
            quantiles=tuple(self.quantiles),
            members=self.members,
            seed=self.seed,
            data=self._data(),
        )
        values = config.to_dict(base)
        overrides = [f"model.name={self.model}", *(f"{key}={value}" for key, value in (self.settings or {}).items())]
        return config.parse(ForecastSettings, values, overrides, where="ForecastEstimator")

    def _data(self) -> DataSettings:
        target = (self.target,) if isinstance(self.target, str) else tuple(self.target)
        names = {name: tuple(getattr(self, name)) for name in ("past", "known", "static")}
        plain = DataSettings(target=target if target != ("",) else (), id=self.id, time=self.time, freq=self.freq)
        return msgspec.structs.replace(plain, **names)

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


def _parameters() -> tuple[str, ...]:
    return tuple(name for name in inspect.signature(ForecastEstimator.__init__).parameters if name != "self")
