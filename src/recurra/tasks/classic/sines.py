"""A sum of sines without a common period: ten steps ahead."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta
from torch import Generator, nn

from recurra.base.rng import Streams
from recurra.data.sets import sines
from recurra.tasks.classic.benchmark import Benchmark, Problem
from recurra.tasks.classic.model import SequenceModel
from recurra.tasks.classic.series import SeriesSettings, forecast, split, standardised
from recurra.tasks.classic.settings import Positive, training
from recurra.training.config import Count, TrainConfig

__all__ = ["SINES"]


class SinesSettings(SeriesSettings, frozen=True):
    """Of the sums of sines."""

    task: Literal["sines"] = "sines"
    components: Annotated[int, Meta(ge=1, le=12)] = 5
    """How many of the frequencies of the multiple superimposed oscillators."""
    ahead: Positive = 10
    hidden: Positive = 32
    learned: Positive = 20_000
    """Steps to learn from: an LSTM learns 3,000 by heart, where five sines meet in few of their combinations."""
    window: Positive = 200
    washout: Count = 50
    train: TrainConfig = training(3000, 1e-2, evaluate_every=200, schedule="cosine")


def _model(settings: SinesSettings, generator: Generator | None) -> nn.Module:
    return SequenceModel(settings, 1, 1, generator)


def _build(settings: SinesSettings, streams: Streams) -> Problem:
    total = settings.learned + settings.validated + settings.tested
    values = standardised(sines.sines(total + settings.ahead, settings.components), settings.learned)
    return forecast(settings, streams, split(values[:total], values[settings.ahead :], settings))


SINES = Benchmark(
    name="sines",
    title="a sum of sines without a common period: ten steps ahead",
    settings=SinesSettings,
    model=_model,
    build=_build,
    metric="nrmse",
    mode="min",
    monitor="validation_nrmse",
    solved=lambda found, _: found["nrmse"] < 0.1,
    rule="normalised root mean squared error below 0.1",
    baseline=lambda _: 1.0,
    baseline_name="always the mean",
    paper="an autoregression of order 2 K is exact: K sines obey a linear recurrence",
    source="Jaeger and Haas 2004 (the frequencies)",
)
