"""The Lorenz attractor: where the point will be half a unit of time from now."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta
from torch import Generator, nn

from recurra.base.rng import Streams
from recurra.data.sets import lorenz
from recurra.tasks.classic.benchmark import Benchmark, Problem
from recurra.tasks.classic.model import SequenceModel
from recurra.tasks.classic.series import SeriesSettings, forecast, split, standardised
from recurra.tasks.classic.settings import Positive, training
from recurra.training.config import TrainConfig

__all__ = ["LORENZ"]


class LorenzSettings(SeriesSettings, frozen=True):
    """Of the Lorenz attractor."""

    task: Literal["lorenz"] = "lorenz"
    dt: Annotated[float, Meta(gt=0, le=0.1)] = 0.02
    """Time between two steps."""
    ahead: Positive = 25
    """Steps to look ahead; 25 x 0.02 is 0.45 Lyapunov times."""
    train: TrainConfig = training(4000, 5e-3, evaluate_every=200, schedule="cosine")


def _model(settings: LorenzSettings, generator: Generator | None) -> nn.Module:
    return SequenceModel(settings, 3, 3, generator)


def _build(settings: LorenzSettings, streams: Streams) -> Problem:
    total = settings.learned + settings.validated + settings.tested
    values = standardised(lorenz.lorenz(total + settings.ahead, dt=settings.dt), settings.learned)
    return forecast(settings, streams, split(values[:total], values[settings.ahead :], settings))


LORENZ = Benchmark(
    name="lorenz",
    title="Lorenz attractor: the point half a unit of time ahead",
    settings=LorenzSettings,
    model=_model,
    build=_build,
    metric="nrmse",
    mode="min",
    monitor="validation_nrmse",
    solved=lambda found, _: found["nrmse"] < 0.1,
    rule="normalised root mean squared error below 0.1",
    baseline=lambda _: 1.0,
    baseline_name="always the mean",
    paper="none for this form; run freely, echo state nets last 10 Lyapunov times and more (recipes/reservoir)",
    source="Lorenz 1963",
)
