"""Forecasts from many origins against what came: by step, by series, beside the naive forecasts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np

from recurra.base.errors import DataError, message
from recurra.data.series.series_set import SeriesSet
from recurra.data.series.window import SeriesWindows
from recurra.tasks.forecast.metrics import mase_scale, scores
from recurra.tasks.forecast.naive import naive_forecast
from recurra.tasks.forecast.settings import ForecastSettings
from recurra.tasks.forecast.significance import Comparison, diebold_mariano
from recurra.tasks.registry import task_named
from recurra.tasks.train import fit

__all__ = ["Backtest", "Example", "backtest", "evaluate"]

_BASELINES = ("naive", "seasonal_naive")
_EXAMPLES = 4


@dataclass(frozen=True)
class Example:
    """One forecast for a picture, in the data's units."""

    id: str
    stamps: list[str]
    """Of the H steps."""
    before: list[float | None]
    """None where missing."""
    truth: list[float | None]
    quantiles: list[list[float]]
    """(H, Q)."""


@dataclass
class Backtest:
    """Sums over origins; NaN where nothing was there to compare with."""

    ids: tuple[str, ...]
    levels: tuple[float, ...]
    horizon: int
    season: int
    origins: int = 0
    by_step: dict[str, np.ndarray] = field(default_factory=dict[str, np.ndarray])
    """Measure -> (2, H): sums and counts; the baselines' as naive.mae."""
    by_series: dict[str, np.ndarray] = field(default_factory=dict[str, np.ndarray])
    """Measure -> (2, S)."""
    by_origin: dict[str, dict[int, list[float]]] = field(default_factory=dict[str, dict[int, list[float]]])
    """Absolute error of the forecast and the baselines: number of the origin -> [sum, count]."""
    examples: list[Example] = field(default_factory=list[Example])
    stride: int = 1

    def add(self, prefix: str, found: dict[str, np.ndarray], series: np.ndarray, numbers: np.ndarray) -> None:
        """Count a batch of values (B, H) in."""
        for name, values in found.items():
            seen = ~np.isnan(values)
            filled = np.where(seen, values, 0.0)
            steps = self.by_step.setdefault(prefix + name, np.zeros((2, self.horizon)))
            steps += filled.sum(0), seen.sum(0)
            own = self.by_series.setdefault(prefix + name, np.zeros((2, len(self.ids))))
            np.add.at(own[0], series, filled.sum(1))
            np.add.at(own[1], series, seen.sum(1))
            if name == "mae":
                table = self.by_origin.setdefault(prefix, {})
                for number, total, count in zip(numbers.tolist(), filled.sum(1), seen.sum(1), strict=True):
                    entry = table.setdefault(number, [0.0, 0.0])
                    entry[0], entry[1] = entry[0] + float(total), entry[1] + float(count)

    def steps(self, name: str) -> np.ndarray:
        """(H,) the mean of a measure at each step."""
        total, count = self.by_step[name]
        return np.divide(total, count, out=np.full(self.horizon, np.nan), where=count > 0)

    def series(self, name: str) -> np.ndarray:
        """(S,) its mean for each series."""
        total, count = self.by_series[name]
        return np.divide(total, count, out=np.full(len(self.ids), np.nan), where=count > 0)

    def overall(self) -> dict[str, float]:
        """The mean of each measure over all values, the baselines' too."""
        sums = {name: parts.sum(1) for name, parts in self.by_step.items()}
        return {name: float(total / count) if count else float("nan") for name, (total, count) in sums.items()}

    def against(self, baseline: str) -> Comparison | None:
        """Diebold and Mariano's test of the absolute errors by origin against a baseline's; None for too few."""
        own, other = self.by_origin.get("", {}), self.by_origin.get(f"{baseline}.", {})
        shared = sorted(number for number in own if number in other and own[number][1] and other[number][1])
        first = np.array([own[number][0] / own[number][1] for number in shared])
        second = np.array([other[number][0] / other[number][1] for number in shared])
        if len(shared) < 10:
            return None
        return diebold_mariano(first, second, -(-self.horizon // self.stride))

    def numbers(self) -> dict[str, Any]:
        """All but the examples, as plain values (None for NaN)."""
        tests = {name: self.against(name) for name in _BASELINES}
        return {
            "origins": self.origins,
            "overall": {name: _plain(value) for name, value in self.overall().items()},
            "by_step": {name: [_plain(value) for value in self.steps(name)] for name in self.by_step},
            "by_series": {
                one: {name: _plain(self.series(name)[place]) for name in self.by_series if "." not in name}
                for place, one in enumerate(self.ids)
            },
            "against": {
                name: {"p": test.p, "statistic": test.statistic, "says": test.says()}
                for name, test in tests.items()
                if test is not None
            },
        }


def evaluate(
    forecaster: Any,
    series: SeriesSet,
    first: np.ndarray,
    last: np.ndarray | None = None,
    *,
    stride: int = 1,
    scaled: bool = False,
    into: Backtest | None = None,
    examples: int = _EXAMPLES,
    seed: int = 0,
) -> Backtest:
    """Forecast from every `stride`-th origin between rows first and last (S,) of each series, and measure.

    last: (S,) behind the last origin; None: as far as a whole horizon is left. scaled: errors in units of each series'
    training deviation, as the published tables of the ETT data have them.
    """
    preparation = forecaster.preparation
    ready = preparation.apply(series)
    if scaled and preparation.transform != "none":
        raise DataError(message("evaluate", "errors of logarithms are in no units of the series", hint="scaled=False"))
    options: dict[str, Any] = {"first": np.maximum(first, 1), "last": last, "stride": stride, "least": 1}
    options["future"] = preparation.horizon if last is None else 1
    windows = forecaster.windows(ready, **options)
    wide = max(preparation.look_back, preparation.season)
    behind = SeriesWindows(ready.series, wide, preparation.horizon, **options)
    before = mase_scale(series, preparation.season, np.maximum(first, 1))
    found = into or Backtest(series.ids, forecaster.levels, preparation.horizon, preparation.season, stride=stride)
    done, wanted = 0, set(np.linspace(0, len(windows) - 1, examples).astype(int).tolist()) if examples else set()
    for window, said in forecaster.quantiles(windows, ready, seed=seed):
        size = len(window.series)
        back = (lambda values, _: values) if scaled else ready.back
        truth = back(window.values[:, preparation.look_back :, 0], window.series)
        if scaled:
            at = window.series
            said = (said - ready.scale.location[at][:, :, None]) / ready.scale.scale[at][:, :, None]
        mase = before[window.series] / (ready.scale.scale[window.series, 0] if scaled else 1.0)
        numbers = window.origin - ready.series.offsets[window.series]
        found.add("", scores(truth, said, found.levels, mase), window.series, numbers)
        past = back(behind.at(window.series, window.origin).values[:, :wide, 0], window.series)
        for name in _BASELINES:
            plain = naive_forecast(past, preparation.horizon, name, preparation.season)
            errors = scores(truth, plain[..., None], (0.5,), mase)
            errors.pop("crps")
            found.add(f"{name}.", errors, window.series, numbers)
        for place in sorted(number for number in wanted if done <= number < done + size):
            row = place - done
            shown_back = past[row, -min(wide, 2 * preparation.horizon + 24) :]
            rows = window.origin[row] + np.arange(preparation.horizon)
            rows = np.minimum(rows, len(series.stamps) - 1)
            stamps = [str(stamp).replace("T", " ").removesuffix(".000000") for stamp in series.stamps[rows]]
            name = series.ids[window.series[row]]
            back, ahead = ([_plain(value) for value in part] for part in (shown_back, truth[row]))
            found.examples.append(Example(name, stamps, back, ahead, said[row].tolist()))
        done += size
    found.origins += done
    return found


def backtest(
    forecaster: Any,
    series: SeriesSet,
    *,
    origins: int = 10,
    stride: int = 0,
    refit: bool = False,
    scaled: bool = False,
    settings: ForecastSettings | None = None,
    say: Callable[[str], None] | None = None,
    seed: int = 0,
) -> Backtest:
    """The last `origins` origins of each series, `stride` steps apart (0: the horizon); the last one leaves H steps.

    refit: train anew before each origin on what lies before it, by the forecaster's settings.
    Raises DataError where no series is long enough.
    """
    horizon = forecaster.preparation.horizon
    stride = stride or horizon
    if origins < 1 or stride < 1:
        raise DataError(message("backtest", f"origins and stride must be at least 1, got {origins} and {stride}"))
    lengths = series.ends - series.offsets[:-1]
    newest = lengths - horizon
    if (newest < 1).all():
        fact = f"no series is longer than the horizon of {horizon}; the longest has {int(lengths.max(initial=0))} rows"
        raise DataError(message("backtest", fact))
    ended = series.until(series.ends)
    if not refit:
        first = newest - (origins - 1) * stride
        # Series that begin later are met at their own later origins.
        first = np.where(first < 1, newest - np.maximum(newest - 1, 0) // stride * stride, first)
        return evaluate(forecaster, ended, first, stride=stride, scaled=scaled, seed=seed)
    found = Backtest(series.ids, forecaster.levels, horizon, forecaster.preparation.season, stride=stride)
    chosen: Any = settings or forecaster.settings
    for number in range(origins - 1, -1, -1):
        origin = newest - number * stride
        keep = origin >= 1
        if not keep.any():
            continue
        known = series.until(series.offsets[:-1] + np.maximum(origin, 0)).select(np.flatnonzero(keep))
        anew = fit(task_named(chosen.task), _without_test(chosen), SimpleNamespace(series=known))
        later = np.where(keep, origin + 1, 0)
        found = evaluate(
            anew,
            ended,
            np.maximum(origin, 1),
            later,
            scaled=scaled,
            into=found,
            examples=1 if number == 0 else 0,
            seed=seed,
        )
        if say is not None:
            say(f"origin {origins - number} of {origins}: MAE so far {found.overall()['mae']:.4g}")
    return found


def _without_test(settings: ForecastSettings) -> ForecastSettings:
    return msgspec.structs.replace(settings, data=msgspec.structs.replace(settings.data, test=0))


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
