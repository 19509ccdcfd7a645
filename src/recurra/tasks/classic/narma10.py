"""NARMA-10: the output of a system with a memory of ten steps, from its input."""

from __future__ import annotations

from typing import Literal

from torch import Generator, nn

from recurra.base.rng import Streams
from recurra.data.sets import narma
from recurra.tasks.classic.benchmark import Benchmark, Problem
from recurra.tasks.classic.model import SequenceModel
from recurra.tasks.classic.series import SeriesSettings, forecast, split, standardised
from recurra.tasks.classic.settings import Positive, training
from recurra.training.config import Count, TrainConfig

__all__ = ["NARMA10"]


class NarmaSettings(SeriesSettings, frozen=True):
    """Of the NARMA systems."""

    task: Literal["narma10"] = "narma10"
    order: Literal[10, 20, 30] = 10
    hidden: Positive = 32
    learned: Positive = 20_000
    """Steps to learn from: an LSTM learns 3,000 by heart, which are enough for an echo state net."""
    window: Positive = 200
    washout: Count = 50
    train: TrainConfig = training(3000, 1e-2, evaluate_every=200, schedule="cosine")


def _model(settings: NarmaSettings, generator: Generator | None) -> nn.Module:
    return SequenceModel(settings, 1, 1, generator)


def _build(settings: NarmaSettings, streams: Streams) -> Problem:
    # y[t] is what the inputs up to u[t-1] decide, so the pair of step t is u[t] and y[t+1].
    u, y = narma.narma(settings.learned + settings.validated + settings.tested + 1, order=settings.order)
    x, wanted = standardised(u, settings.learned)[:-1], standardised(y, settings.learned)[1:]
    return forecast(settings, streams, split(x, wanted, settings))


NARMA10 = Benchmark(
    name="narma10",
    title="NARMA-10: the output of a system with memory and products, from its input",
    settings=NarmaSettings,
    model=_model,
    build=_build,
    metric="nrmse",
    mode="min",
    monitor="validation_nrmse",
    solved=lambda found, _: found["nrmse"] < 0.2,
    rule="normalised root mean squared error below 0.2, what an echo state net of 400 units gets",
    baseline=lambda _: 1.0,
    baseline_name="always the mean",
    paper="echo state nets of 100 and 400 units .34 and .19 (measured with this library's own)",
    source="Atiya and Parlos 2000",
)
