"""From settings to a net."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Generator

from recurra.base.errors import ConfigError, message
from recurra.tasks.forecast.heads import Head, QuantileHead, head_of
from recurra.tasks.forecast.naive import NAIVE
from recurra.tasks.forecast.network import ForecastNet, SegmentNet
from recurra.tasks.forecast.prepare import Preparation
from recurra.tasks.forecast.recursive import RecursiveNet
from recurra.tasks.forecast.sequence import AttentionNet, DirectNet
from recurra.tasks.forecast.settings import ForecastSettings
from recurra.tasks.forecast.simple import Members, NaiveNet, RidgeNet

__all__ = ["head_for", "joined", "members_of", "net_of", "segment_of"]


def head_for(settings: ForecastSettings) -> Head:
    """What the net says of each step."""
    loss = settings.model.loss
    if loss in ("mae", "mse"):
        return QuantileHead()
    return head_of(loss, settings.quantiles)


def segment_of(settings: ForecastSettings, preparation: Preparation) -> int:
    """Values per step of the segment net."""
    look_back, season = preparation.look_back, preparation.season
    if settings.model.segment:
        return min(settings.model.segment, look_back)
    return season if 4 <= season <= min(48, look_back // 2) else max(1, min(look_back // 6, 48))


def net_of(settings: ForecastSettings, preparation: Preparation, generator: Generator | None = None) -> ForecastNet:
    """One net with fresh weights; ConfigError where settings do not fit each other."""
    model, layout = settings.model, preparation.layout
    if model.name in NAIVE:
        return NaiveNet(layout, model.name, preparation.season, model.normalise, settings.quantiles)
    if model.name == "ridge":
        return RidgeNet(layout, model.normalise, settings.quantiles)
    head = head_for(settings)
    if model.loss == "negative_binomial" and (model.normalise not in ("scale", "none") or model.scale != "none"):
        hint = "--set model.normalise=scale --set model.scale=none"
        raise ConfigError(
            message("forecast", "negative_binomial speaks of counts, which must not be shifted", hint=hint)
        )
    if model.name == "segment":
        return SegmentNet(
            layout,
            head,
            levels=settings.quantiles,
            normalise=model.normalise,
            cell=model.cell,
            hidden_size=model.hidden,
            num_layers=model.layers,
            segment=segment_of(settings, preparation),
            embedding=model.embedding,
            dropout=model.dropout,
            skip=model.skip,
            generator=generator,
        )
    options: dict[str, Any] = {
        "levels": settings.quantiles,
        "normalise": model.normalise,
        "cell": model.cell,
        "hidden_size": model.hidden,
        "num_layers": model.layers,
        "embedding": model.embedding,
        "dropout": model.dropout,
        "decay": model.decay,
    }
    if model.name == "recursive":
        return RecursiveNet(layout, head, paths=model.paths, generator=generator, **options)
    if model.name == "narx":
        delays = min(model.delays or max(preparation.season, 1) + 1, preparation.look_back)
        return RecursiveNet(layout, head, paths=model.paths, delays=delays, generator=generator, **options)
    if model.name == "attention":
        return AttentionNet(layout, head, generator=generator, **options)
    return DirectNet(layout, head, body=model.name, seed=settings.seed, generator=generator, **options)


def members_of(settings: ForecastSettings, preparation: Preparation) -> Members:
    """The whole ensemble with fresh weights, for saved ones to go into."""
    nets = [net_of(settings, preparation) for _ in range(settings.members)]
    return joined(nets, settings, preparation)


def joined(nets: Sequence[ForecastNet], settings: ForecastSettings, preparation: Preparation) -> Members:
    """Nets of different seeds, with the share of ridge regression that was asked for."""
    share = settings.model.blend
    if not share:
        return Members(nets)
    ridge = RidgeNet(preparation.layout, "last", settings.quantiles)
    return Members(nets, ridge, 0.5 if share == "auto" else share)
