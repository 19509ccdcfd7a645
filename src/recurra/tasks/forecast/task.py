"""The declaration of forecasting: many series, one model, bands that never cross."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Generator, nn

from recurra.base.errors import DataError, message
from recurra.base.rng import Streams
from recurra.data.series.series_set import SeriesSet
from recurra.tasks.forecast import figures
from recurra.tasks.forecast.backtest import evaluate
from recurra.tasks.forecast.build import joined, net_of
from recurra.tasks.forecast.fitting import (
    WindowSplits,
    best_share,
    calibrate,
    changed,
    linear_map,
    needs_ridge,
    set_linear,
    windows_of,
)
from recurra.tasks.forecast.forecaster import Forecaster
from recurra.tasks.forecast.looked import attention_of
from recurra.tasks.forecast.network import forecast_loss
from recurra.tasks.forecast.prepare import Preparation, prepare, read_data, split
from recurra.tasks.forecast.settings import ForecastSettings
from recurra.tasks.forecast.simple import Members, RidgeNet
from recurra.tasks.forecast.stream import ForecastStream
from recurra.tasks.task import Measures, Problem, Run, Task, View

__all__ = ["Forecast", "ForecastData", "splits_of"]

_ORIGINS = 20_000
"""Origins of an evaluation, about; more are thinned out."""


class ForecastData(NamedTuple):
    """Series of one channel each, and the first origin (S,) of those that are measured."""

    series: SeriesSet
    first: np.ndarray | None = None


class Forecast(Task):
    """See `ForecastSettings`."""

    settings = ForecastSettings
    page = figures
    prepared = Preparation
    prepared_file = "series.json"
    metric = "overall.mae"
    next_command = "recurra forecast {run} data.csv --out forecast.csv"

    def read(self, settings: Any, prepared: Any = None, *, labelled: bool = True) -> ForecastData:
        """Read the series."""
        del prepared, labelled
        return ForecastData(read_data(settings.data))

    def prepare(self, settings: Any, data: Any, before: Any = None) -> Preparation:
        """Learn scales, sizes and series from the training rows."""
        del before
        return prepare(data.series, settings)[0]

    def net(self, settings: Any, prepared: Any, generator: Generator | None, member: int = 0) -> nn.Module:
        """Make one member."""
        del member
        return net_of(settings, prepared, generator)

    def ensemble(self, settings: Any, prepared: Any, nets: Sequence[Any]) -> Members:
        """Join the members by the median of their quantiles, with the share of a ridge regression."""
        return joined(nets, settings, prepared)

    def problem(self, settings: Any, prepared: Any, data: Any, net: Any, streams: Streams) -> Problem:
        """The loss of the net's head on windows; the weights of least loss on the validation windows are used."""
        splits, layout = splits_of(settings, prepared, data.series), prepared.layout
        show = getattr(net, "taught", False)
        stream = ForecastStream(
            splits.train,
            layout,
            settings.batch,
            per_epoch=settings.per_epoch,
            show=show,
            forget=settings.forget,
            generator=streams["data"],
        )
        validation = ForecastStream(splits.validation, layout, 1024, shuffle=False, show=show)
        objective = forecast_loss(net.head, settings.model.loss == "mse")

        def evaluate_net(model: nn.Module) -> dict[str, float]:
            total, count = 0.0, 0
            for batch in validation.batches(splits.selected):
                loss, targets = objective(model(batch.x)[0], batch)
                total, count = total + float(loss), count + targets
            if not count:
                raise DataError(message("forecast", "no validation window has a target to compare with"))
            return {"loss": total / count}

        return Problem(model=net, objective=objective, stream=stream, evaluate=evaluate_net, evaluate_first=True)

    def train(self, run: Run, data: Any) -> Forecaster:
        """Fit ridge regressions in closed form, train the members' nets, join and calibrate them."""
        settings, prepared = run.settings, run.prepare(data)
        splits = splits_of(settings, prepared, data.series)
        linear = run.step("ridge", linear_map, splits, settings) if needs_ridge(settings) else None

        def fresh(member: int, streams: Streams) -> Any:
            net: Any = self.net(settings, prepared, streams["init"], member)
            if linear is not None:
                set_linear(net, linear)
            return net

        def build(member: int, streams: Streams) -> Problem:
            return self.problem(settings, prepared, data, fresh(member, streams), streams)

        nets: list[Any] = [fresh(member, Streams(settings.seed + member)).eval() for member in range(settings.members)]
        if any(_learns(net) for net in nets):
            nets = run.members(build)
        network = joined(nets, settings, prepared)
        if network.ridge is not None:
            linear = run.step("blend", linear_map, splits, changed(settings, normalise="last"))
            if linear is None:
                fact = "no window of the training rows has all its targets, so there is no ridge regression to blend in"
                raise DataError(message("forecast", fact, hint="--set model.blend=0, or a shorter horizon."))
            set_linear(network.ridge, linear)
            if settings.model.blend == "auto":
                network.share.fill_(run.step("share", best_share, network, splits))
        if settings.calibrate:
            shifts = run.step("calibrate", calibrate, network, splits)
            if shifts is not None:
                network.offsets.copy_(torch.from_numpy(shifts))
        run.note(ridge=None if linear is None else linear["ridge"])
        return self.predictor(settings, prepared, network, None)

    def predictor(self, settings: Any, prepared: Any, net: Any, arrays: Mapping[str, Any] | None) -> Forecaster:
        """Make the forecaster."""
        del arrays
        return Forecaster(net, prepared, settings)

    def held_out(self, predictor: Any, data: Any) -> tuple[str, ForecastData]:
        """Return the test rows, or without any the validation rows."""
        series, settings = data.series, predictor.settings
        stops, ends = split(series, settings)
        if settings.data.test:
            return "test", ForecastData(series.until(series.ends), ends)
        return "validation", ForecastData(series.until(series.offsets[:-1] + ends), stops)

    def measure(self, predictor: Any, data: Any, options: Any) -> Measures:
        """Measure forecasts from every origin (of many a regular sample), beside the naive ones."""
        del options
        series = data.series
        # Of other data every origin that a look-back lies before.
        first = np.minimum(predictor.preparation.look_back, series.lengths) if data.first is None else data.first
        stride = max(1, len(series) * int((series.lengths - first).max()) // _ORIGINS)
        result = evaluate(predictor, series, first, stride=stride)
        details: dict[str, Any] = {
            "levels": result.levels,
            "examples": [asdict(example) for example in result.examples],
        }
        if (weights := attention_of(predictor, series)) is not None:
            details["attention"] = weights
        return Measures(numbers=result.numbers(), details=details, scores=result)

    def facts(self, run: Run, predictor: Any, data: Any) -> dict[str, Any]:
        """Count series and rows; the share of the ridge regression in the ensemble."""
        del run
        net, series = predictor.net, data.series
        facts = {"series": len(series), "rows": int(series.lengths.sum()), "members": predictor.settings.members}
        return facts | ({"share": float(net.share)} if net.ridge is not None else {})

    def cell(self, settings: Any) -> str | None:
        """Only the recurrent models have one."""
        recurrent = ("segment", "direct", "recursive", "attention")
        return settings.model.cell if settings.model.name in recurrent else None

    def example(self, folder: Path, seed: int = 0) -> list[str]:
        """Write two daily waves, hour by hour."""
        rng, hours = np.random.default_rng(seed), np.arange(24 * 21)
        rows = ["unique_id,ds,y"]
        for name, level in (("north", 5.0), ("south", 9.0)):
            values = level + np.sin(hours * np.pi / 12) + 0.1 * rng.normal(size=len(hours))
            stamps = np.datetime64("2024-01-01T00", "h") + hours
            rows += [f"{name},{str(s).replace('T', ' ')}:00,{v:.4f}" for s, v in zip(stamps, values, strict=True)]
        (folder / "waves.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
        return [str(folder / "waves.csv"), "--horizon", "6", "--hidden", "8", "--iterations", "20", "--test", "24"]

    def lead(self, view: View) -> str:
        """Name the model, and count series and rows."""
        return figures.lead(view, self.cell(view.settings))


def splits_of(settings: ForecastSettings, prepared: Preparation, series: SeriesSet) -> WindowSplits:
    """Return the windows that train and validate."""
    return windows_of(series, prepared, *split(series, settings))


def _learns(net: nn.Module) -> bool:
    return not isinstance(net, RidgeNet) and any(parameter.requires_grad for parameter in net.parameters())
