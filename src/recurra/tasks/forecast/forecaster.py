"""A fitted forecaster: series in, quantiles of their future out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Generator

from recurra.base.errors import DataError, message
from recurra.data.series.columns import as_frame
from recurra.data.series.frequency import Frequency
from recurra.data.series.series_set import SeriesSet
from recurra.data.series.stamps import shown
from recurra.data.series.window import SeriesWindows, Window
from recurra.diagnostics.subject import Subject
from recurra.tasks.capability import BacktestOptions, ForecastOptions
from recurra.tasks.capability import Forecast as Record
from recurra.tasks.forecast.backtest import backtest
from recurra.tasks.forecast.live import ForecastLive, targets_of
from recurra.tasks.forecast.network import ForecastNet
from recurra.tasks.forecast.prepare import Preparation, Ready, frequency_of
from recurra.tasks.forecast.settings import ForecastSettings
from recurra.tasks.forecast.subject import forecast_subject
from recurra.tasks.task import Measures

__all__ = ["Forecast", "Forecaster"]

_BATCH = 1024


class Forecast(NamedTuple):
    """What is expected of S series over H steps."""

    ids: tuple[str, ...]
    stamps: np.ndarray
    """(S, H)."""
    quantiles: np.ndarray
    """(S, H, Q), rising along Q."""
    levels: tuple[float, ...]

    @property
    def median(self) -> np.ndarray:
        """(S, H)."""
        return self.quantiles[..., self.levels.index(0.5)]

    def columns(self) -> dict[str, np.ndarray]:
        """Long: unique_id, ds, forecast (the median), and q0.05 ... for the quantiles."""
        horizon = self.stamps.shape[1]
        found = {
            "unique_id": np.repeat(np.array(self.ids, object), horizon),
            "ds": self.stamps.ravel(),
            "forecast": self.median.ravel(),
        }
        levels = [(f"q{level:g}", self.quantiles[..., place].ravel()) for place, level in enumerate(self.levels)]
        return found | dict(levels)

    def frame(self, kind: str | None = "pandas") -> Any:
        """`columns` as a pandas or polars frame, or as they are for None."""
        return as_frame(self.columns(), kind)


class Forecaster:
    """A net, what was learnt of the data before it, and the settings of both."""

    def __init__(
        self, net: ForecastNet, preparation: Preparation, settings: ForecastSettings, folder: Path | None = None
    ) -> None:
        self.net, self.preparation, self.settings, self.folder = net.eval(), preparation, settings, folder

    @property
    def prepared(self) -> Preparation:
        """Return what is stored beside the weights."""
        return self.preparation

    @property
    def levels(self) -> tuple[float, ...]:
        """Of the quantiles."""
        return self.net.levels

    def forecast(self, series: SeriesSet, *, seed: int = 0) -> Forecast:
        """The H steps behind the last value of each series.

        Covariates known ahead stand in the rows behind it. Series that were not in training are scaled by their own
        values. Raises DataError for a series without a value, and where future covariates are missing.
        """
        series = series.univariate()
        ends = series.ends - series.offsets[:-1]
        empty = [name for name, end in zip(series.ids, ends, strict=True) if not end]
        if empty:
            raise DataError(message("forecast", f"{len(empty)} series have no value, the first {empty[0]!r}"))
        horizon = self.preparation.horizon
        full = series.extended(horizon)
        if full.frequency is None:
            full = _with_frequency(full, frequency_of(self.preparation))
        ready = self.preparation.apply(full)
        origins = ready.series.offsets[1:] - horizon
        self._check_future(ready, origins)
        windows = self.windows(ready, first=ends, last=ends + 1)
        said = np.concatenate([part for _, part in self.quantiles(windows, ready, seed=seed)])
        rows = origins[:, None] + np.arange(horizon)
        return Forecast(series.ids, full.stamps[rows], said, self.levels)

    def forecasts(self, data: Any, options: ForecastOptions) -> Iterator[Record]:
        """Yield the forecast of each series."""
        result = self.forecast(data.series, seed=options.seed)
        names = [f"q{level:g}" for level in result.levels]
        for name, stamps, rows, medians in zip(
            result.ids, result.stamps, result.quantiles, result.median.tolist(), strict=True
        ):
            columns = dict(zip(names, rows.T.tolist(), strict=True))
            yield Record(name, [shown(stamp) for stamp in stamps], medians, columns)

    def backtests(self, data: Any, options: BacktestOptions, say: Callable[[str], None]) -> Measures:
        """Return the measures of forecasts from past origins."""
        result = backtest(
            self,
            data.series,
            origins=options.origins,
            stride=options.stride,
            refit=options.refit,
            scaled=options.scaled,
            say=say,
            seed=options.seed,
        )
        examples = [asdict(example) for example in result.examples]
        details = {"levels": result.levels, "refit": options.refit, "examples": examples}
        return Measures(numbers=result.numbers(), details=details, scores=result)

    def live(self, *, columns: Sequence[str] = ()) -> ForecastLive:
        """Return a live forecaster; columns: the targets of the stream, where they cannot be told from the run."""
        return ForecastLive(self, tuple(columns) or targets_of(self))

    def windows(self, ready: Ready, **options: Any) -> SeriesWindows:
        """Windows of the net's sizes, wherever in the series; a short past is filled up with what is missing."""
        options = {"least": 1, "future": 0} | options
        return SeriesWindows(ready.series, self.preparation.look_back, self.preparation.horizon, **options)

    def quantiles(
        self, windows: SeriesWindows, ready: Ready, indices: np.ndarray | None = None, *, seed: int = 0
    ) -> Iterator[tuple[Window, np.ndarray]]:
        """Batch by batch: the windows (values scaled) and the quantiles (B, H, Q) in the data's own units."""
        indices = np.arange(len(windows)) if indices is None else indices
        generator = Generator().manual_seed(seed)
        for begin in range(0, len(indices), _BATCH):
            window = windows[indices[begin : begin + _BATCH]]
            x = self.preparation.layout.pack(window, ready.series, ready.places)
            with torch.no_grad():
                said = self.net.quantiles(x, generator).double().numpy()
            yield window, ready.back(said, window.series)

    def subject(self, data: Sequence[Path | str] = (), *, rows: int = 8, steps: int = 512) -> Subject:
        """Return the net with one window, for the diagnostics: see `forecast_subject`."""
        del rows, steps
        return forecast_subject(self, data, self.folder.resolve().name if self.folder else "forecast")

    def _check_future(self, ready: Ready, origins: np.ndarray) -> None:
        names: Sequence[str] = ready.series.known_names
        if not names:
            return
        rows = origins[:, None] + np.arange(self.preparation.horizon)
        lacking = np.isnan(ready.series.known[rows]).any(1)
        if lacking.any():
            at, which = np.argwhere(lacking)[0]
            fact = f"covariate {names[which]!r} is not known for all {self.preparation.horizon} steps of the future"
            hint = "add rows behind the last value, with the stamp, the covariate, and no target."
            raise DataError(message("forecast", f"{fact}, of series {ready.series.ids[at]!r} first", hint=hint))


def _with_frequency(series: SeriesSet, frequency: Frequency | None) -> SeriesSet:
    return replace(series, frequency=frequency)
