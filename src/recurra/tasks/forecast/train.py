"""Training a forecaster: series -> what is learnt in closed form -> nets in the one loop -> calibration."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from torch import nn

from recurra.base.errors import DataError, message
from recurra.base.rng import Streams
from recurra.data.series.series_set import SeriesSet
from recurra.data.series.window import SeriesWindows
from recurra.tasks.forecast.build import joined, net_of
from recurra.tasks.forecast.forecaster import Forecaster
from recurra.tasks.forecast.network import ForecastNet, SegmentNet, forecast_loss
from recurra.tasks.forecast.prepare import Preparation, Ready, prepare
from recurra.tasks.forecast.ridge import RIDGES, fit_ridge, normalised
from recurra.tasks.forecast.settings import ForecastSettings
from recurra.tasks.forecast.simple import Members, RidgeNet
from recurra.tasks.forecast.stream import ForecastStream
from recurra.training.loop import Trainer
from recurra.training.progress import Progress
from recurra.training.report import Result

__all__ = ["Trained", "fit", "plain", "summary", "weights_of_skip"]

_VALIDATION_MOST = 2048
_RIDGE_MOST = 60_000
# Fewer windows than this say nothing about the tails.
_CALIBRATION_LEAST = 40


@dataclass(frozen=True)
class Trained:
    """A fitted forecaster and how that went."""

    forecaster: Forecaster
    stops: np.ndarray
    """(S,) row where the training part of each series ends."""
    ends: np.ndarray
    """(S,) row where its validation part ends."""
    results: tuple[Result, ...]
    """Of each member that was trained in the loop."""
    ridge: float | None
    interrupted: bool = False


@dataclass(frozen=True)
class _Parts:
    preparation: Preparation
    ready: Ready
    train: SeriesWindows
    validation: SeriesWindows


def fit(
    series: SeriesSet,
    settings: ForecastSettings,
    *,
    folder: Path | None = None,
    progress: Progress | None = None,
    resume: bool = False,
    resume_hint: str = "",
) -> Trained:
    """Fit by `settings` to series of one channel each.

    folder: where the loop of each member keeps its checkpoints and lines (members/1 ...). Raises DataError for series
    that are too short, TrainingError where numbers run away.
    """
    if settings.threads:
        torch.set_num_threads(settings.threads)
    torch.set_flush_denormal(True)
    preparation, stops, ends = prepare(series, settings)
    parts = _parts(series, preparation, stops, ends)
    nets, results, ridge = [], [], None
    skip = weights_of_skip(parts.train, parts.validation, settings) if _wants_ridge(settings) else None
    for member in range(settings.members):
        streams = Streams(settings.seed + member)
        torch.manual_seed(settings.seed + member)
        net = net_of(settings, preparation, streams["init"])
        if skip is not None:
            ridge = skip[2]
            _give_skip(net, skip)
        if any(parameter.requires_grad for parameter in net.parameters()) and not isinstance(net, RidgeNet):
            place = folder / "members" / str(member + 1) if folder else None
            result = _train(net, parts, settings, streams, place, progress, resume, resume_hint)
            results.append(result)
            if result.reason == "interrupted":
                forecaster = Forecaster(Members([net]), preparation, settings)
                return Trained(forecaster, stops, ends, tuple(results), ridge, True)
        nets.append(net.eval())
    whole = joined(nets, settings, preparation)
    if whole.ridge is not None:
        linear = weights_of_skip(parts.train, parts.validation, plain(settings, normalise="last"))
        if linear is None:
            fact = "no window of the training rows has all its targets, so there is no ridge regression to blend in"
            raise DataError(message("forecast", fact, hint="--set model.blend=0, or a shorter horizon."))
        ridge = linear[2]
        _give_skip(whole.ridge, linear)
        if settings.model.blend == "auto":
            whole.share.fill_(_best_share(whole, parts))
    if settings.calibrate:
        _calibrate(whole, parts)
    return Trained(Forecaster(whole, preparation, settings), stops, ends, tuple(results), ridge)


def weights_of_skip(
    train: SeriesWindows, validation: SeriesWindows, settings: ForecastSettings
) -> tuple[np.ndarray, np.ndarray, float] | None:
    """Ridge regression on the same windows; None where no window has all its targets."""
    kind = settings.model.normalise
    if kind == "scale":
        # A mean magnitude is no location: the linear map is found on the values themselves.
        kind = "none"
    try:
        whole = SeriesWindows(train.set, train.past, train.horizon)
        found = fit_ridge(whole, validation, ridges=RIDGES, normalise=normalised(kind), most=_RIDGE_MOST)
    except DataError:
        return None
    return found.weights, found.bias, found.ridge


def _wants_ridge(settings: ForecastSettings) -> bool:
    model = settings.model
    return model.name == "ridge" or (model.name == "segment" and model.skip and model.normalise != "scale")


def _give_skip(net: ForecastNet, skip: tuple[np.ndarray, np.ndarray, float]) -> None:
    layer = net.skip if isinstance(net, RidgeNet) else net.net.skip if isinstance(net, SegmentNet) else None
    if isinstance(layer, nn.Linear):
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(skip[0]))
            layer.bias.copy_(torch.from_numpy(skip[1]))


def _parts(series: SeriesSet, preparation: Preparation, stops: np.ndarray, ends: np.ndarray) -> _Parts:
    ready = preparation.apply(series)
    inner = ready.series
    L, H = preparation.look_back, preparation.horizon
    starts = inner.offsets[:-1]
    learnt = inner.until(starts + stops)
    # Where series are shorter than a window, a part of the past will do; the mask says which.
    least = L if (stops >= L + H).all() else max(1, min(L, int(np.median(stops)) // 4))
    # Windows near the end have only a part of their targets, and are worth having.
    train = SeriesWindows(learnt, L, H, least=least, future=max(1, H // 4))
    seen = inner.until(starts + ends)
    validation = SeriesWindows(seen, L, H, least=1, first=np.maximum(stops, 1))
    return _Parts(preparation, ready, train, validation)


def _train(
    net: ForecastNet,
    parts: _Parts,
    settings: ForecastSettings,
    streams: Streams,
    folder: Path | None,
    progress: Progress | None,
    resume: bool,
    resume_hint: str,
) -> Result:
    layout = parts.preparation.layout
    shows = getattr(net, "taught", False)
    stream = ForecastStream(
        parts.train,
        layout,
        settings.batch,
        per_epoch=settings.per_epoch,
        show=shows,
        forget=settings.forget,
        generator=streams["data"],
    )
    chosen = np.unique(np.linspace(0, len(parts.validation) - 1, _VALIDATION_MOST).astype(np.int64))
    held = ForecastStream(parts.validation, layout, 1024, shuffle=False, show=shows)
    objective = forecast_loss(net.head, settings.model.loss == "mse")

    def evaluate(model: nn.Module) -> dict[str, float]:
        total, count = 0.0, 0
        for begin in range(0, len(chosen), 512):
            batch = held._batch((chosen[begin : begin + 512], None), 0)
            loss, seen = objective(model(batch.x)[0], batch)
            total, count = total + float(loss), count + seen
        if not count:
            raise DataError(message("forecast", "no validation window has a target to compare with"))
        return {"loss": total / count}

    trainer = Trainer(
        net,
        objective,
        stream,
        settings.train,
        evaluate=evaluate,
        folder=folder,
        streams=streams,
        progress=progress,
        resume_hint=resume_hint,
    )
    if resume and trainer.path is not None and trainer.path.exists():
        trainer.resume()
    elif folder is not None and folder.exists():
        # A run that was killed before its first checkpoint begins again.
        shutil.rmtree(folder)
    if trainer.evaluated < 0 and not trainer.iteration:
        trainer._evaluate()
    return trainer.train()


@torch.no_grad()
def _best_share(net: Members, parts: _Parts) -> float:
    """Of the ridge: halfway from equal shares to the eighth with the least squared error on the validation windows.

    What one validation season prefers is a noisy estimate; shrinking it towards equal shares costs little where it is
    right (Diebold and Pauly, The use of prior information in forecast combination, 1990).
    """
    layout, middle = parts.preparation.layout, net.levels.index(0.5)
    chosen = np.unique(np.linspace(0, len(parts.validation) - 1, _VALIDATION_MOST).astype(np.int64))
    shares = np.linspace(0, 1, 9)
    errors = np.zeros(9)
    for begin in range(0, len(chosen), 512):
        window = parts.validation[chosen[begin : begin + 512]]
        said, linear, location, scale = net.apart(layout.pack(window, parts.ready.series))
        if linear is None:
            return 0.0
        y = torch.from_numpy(window.values[:, layout.look_back :, 0].astype(np.float32))
        # In units of the series' scale, where every window counts alike.
        missed, step = (y - location - said[..., middle] * scale), (linear - said)[..., middle] * scale
        for place, share in enumerate(shares):
            errors[place] += float(torch.nansum((missed - share * step) ** 2))
    return (0.5 + float(shares[int(np.argmin(errors))])) / 2


def _calibrate(net: Members, parts: _Parts) -> None:
    """Shift each quantile at each step by what makes it hold on the validation windows."""
    count = len(parts.validation)
    if count < _CALIBRATION_LEAST:
        return
    chosen = np.unique(np.linspace(0, count - 1, _VALIDATION_MOST).astype(np.int64))
    layout, missed = parts.preparation.layout, []
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for begin in range(0, len(chosen), 512):
            window = parts.validation[chosen[begin : begin + 512]]
            said, location, scale = net.raw_quantiles(layout.pack(window, parts.ready.series), generator)
            y = torch.from_numpy(window.values[:, layout.look_back :, 0].astype(np.float32))
            missed.append((((y - location) / scale).unsqueeze(-1) - said).numpy())
    gaps = np.concatenate(missed)
    middle = net.levels.index(0.5)
    for place, level in enumerate(net.levels):
        shift = np.nanquantile(gaps[..., place], level, axis=0) if place != middle else np.zeros(gaps.shape[1])
        net.offsets[:, place] = torch.from_numpy(np.nan_to_num(shift))


def summary(trained: Trained) -> dict[str, Any]:
    """The facts of a training for a run's notes."""
    net = trained.forecaster.net
    return {
        "parameters": sum(parameter.numel() for parameter in net.parameters()),
        "members": len(trained.results),
        "ridge": trained.ridge,
        **({"share": float(net.share)} if isinstance(net, Members) and net.ridge is not None else {}),
        "iterations": [result.iteration for result in trained.results],
        "reasons": [result.reason for result in trained.results],
        "best": [result.best for result in trained.results],
    }


def plain(settings: ForecastSettings, **changes: Any) -> ForecastSettings:
    """The settings with changes in their model."""
    return msgspec.structs.replace(settings, model=msgspec.structs.replace(settings.model, **changes))
