"""A forecaster as the diagnostics see it: one window, and what the net says of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from recurra.base.errors import ConfigError, DataError, message
from recurra.data.batch import Batch
from recurra.data.series.series_set import SeriesSet
from recurra.diagnostics.subject import Subject
from recurra.layers.recurrent import Recurrent
from recurra.tasks.forecast.heads import QuantileHead
from recurra.tasks.forecast.network import ForecastNet, Said, SegmentNet, forecast_loss, instance
from recurra.tasks.forecast.prepare import read_data
from recurra.tasks.forecast.sequence import DirectNet
from recurra.tasks.forecast.simple import Members, NaiveNet

__all__ = ["forecast_subject"]


def forecast_subject(forecaster: Any, data: Sequence[Path | str] = (), name: str = "forecast") -> Subject:
    """The first member's net with the newest window, of the longest series, whose future is known.

    data: one table; without any, the file that the run was trained on. What is looked at is what the recurrence reads
    (a segment of values a step in a segment net; the values where there is none) and, as one answer, the whole forecast
    in normalised units. Raises DataError where the data has no whole window, ConfigError for an echo state network and
    the naive forecasts.
    """
    net = cast("ForecastNet", forecaster.net.members[0] if isinstance(forecaster.net, Members) else forecaster.net)
    if isinstance(net, NaiveNet) or (isinstance(net, DirectNet) and net.body == "esn"):
        model = forecaster.settings.model.name
        what = (
            "learns nothing" if isinstance(net, NaiveNet) else "has a reservoir that passes no gradient to its inputs"
        )
        fact = f"the model {model!r} {what}, so there is nothing to look into"
        raise ConfigError(message("forecast", fact, hint="all but esn and the naive forecasts can be looked into."))
    if len(data) > 1:
        raise DataError(message("forecast", f"one table is looked at, got {len(data)} files"))
    settings = forecaster.settings.data
    series = read_data(settings, Path(data[0])) if data else read_data(settings)
    return _subject(forecaster, net, series, name)


def _subject(forecaster: Any, net: ForecastNet, series: SeriesSet, name: str) -> Subject:
    preparation = forecaster.preparation
    layout, horizon = preparation.layout, preparation.horizon
    ends = series.ends - series.offsets[:-1]
    place = int(np.argmax(ends))
    if ends[place] < horizon + 2:
        fact = f"the longest series has {ends[place]} values; {horizon} ahead and a past are needed"
        raise DataError(message("forecast", fact))
    ready = preparation.apply(series)
    taught = bool(getattr(net, "taught", False))
    windows = forecaster.windows(ready)
    window = windows.at(np.array([place]), np.array([series.offsets[place] + ends[place] - horizon]))
    x = layout.pack(window, ready.series, ready.places, show=taught)
    y = torch.from_numpy(window.values[:, layout.look_back :, 0].astype(np.float32))
    parts = layout.parts(x)
    location, scale = instance(parts.values, parts.observed, net.normalise)
    parts = parts._replace(values=(parts.values - location) / scale * parts.observed)
    with torch.no_grad():
        inputs = net.layer_input(parts, location, scale)
    objective = forecast_loss(net.head, forecaster.settings.model.loss == "mse")

    def answer(model: nn.Module, given: Tensor, lengths: Tensor | None) -> Tensor:
        del lengths
        # Copies of the one window, where the diagnostics hand in several.
        alike = parts._make(part.expand(len(given), *part.shape[1:]) for part in parts)
        alike = alike._make(part.to(given.dtype) if part.is_floating_point() else part for part in alike)
        found = cast("ForecastNet", model)
        if isinstance(found, SegmentNet):
            _, state = found.net.recurrent(given)
            with _unwatched(found.net.recurrent):
                return found.decoded(state, alike).flatten(1)
        return found.answered(given, alike).flatten(1)

    def losses(outputs: Tensor, targets: Tensor) -> Tensor:
        shaped = outputs.view(len(outputs), horizon, -1)
        said = Said(shaped, location.to(outputs.dtype), scale.to(outputs.dtype))
        total, seen = objective(said, Batch(x, targets, None))
        return (total / max(1, seen)).view(1, 1)

    middle = net.head.middle if isinstance(net.head, QuantileHead) else 0
    segment = net.net.segment if isinstance(net, SegmentNet) else 1
    steps = inputs.shape[1]
    said = f"{segment} values" if segment > 1 else "value"
    return Subject(
        name=name,
        model=net,
        inputs=inputs,
        targets=y,
        losses=losses,
        answer=answer,
        steps=[[str(step - steps) if not taught else str(step - layout.look_back + 1) for step in range(steps)]],
        names=_names(horizon, net.head.outputs, middle),
        shown=(horizon - 1) * net.head.outputs + middle,
        unit="segment" if segment > 1 else "step",
        lead=f"On the newest window of {series.ids[place]!r} with a known future, one step per {said}",
    )


@contextmanager
def _unwatched(layer: Recurrent) -> Iterator[None]:
    """The one step for all segments ahead is no step of the look-back: nobody writes it down."""
    own = [dict(vars(unit)) for unit in layer.units]
    watched = ("forward", "step", "advance")
    for unit in layer.units:
        for method in watched:
            vars(unit).pop(method, None)
    try:
        yield
    finally:
        for unit, before in zip(layer.units, own, strict=True):
            vars(unit).update({method: before[method] for method in watched if method in before})


def _names(horizon: int, outputs: int, middle: int) -> list[str]:
    """A step's median or mean by its step alone, what else the head is given of it with a number."""
    return [f"+{step + 1}" if k == middle else f"+{step + 1}.{k}" for step in range(horizon) for k in range(outputs)]
