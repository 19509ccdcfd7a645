"""Mackey-Glass with delay 17, 84 steps ahead: the standard chaotic series, foretold directly."""

from __future__ import annotations

from typing import Literal

from torch import Generator, nn

from recurra.base.rng import Streams
from recurra.data.sets import mackey_glass
from recurra.tasks.classic.benchmark import Benchmark, Problem
from recurra.tasks.classic.model import SequenceModel
from recurra.tasks.classic.series import SeriesSettings, forecast, split, standardised
from recurra.tasks.classic.settings import Positive, training
from recurra.training.config import TrainConfig

__all__ = ["MACKEY_GLASS"]


class MackeyGlassSettings(SeriesSettings, frozen=True):
    """Of the Mackey-Glass series."""

    task: Literal["mackey_glass"] = "mackey_glass"
    tau: Positive = 17
    """The delay, in units of time; 30 is wilder."""
    ahead: Positive = 84
    """How far to look, in units of time, which are the steps."""
    train: TrainConfig = training(4000, 5e-3, evaluate_every=200, schedule="cosine")


def _model(settings: MackeyGlassSettings, generator: Generator | None) -> nn.Module:
    return SequenceModel(settings, 1, 1, generator)


def _build(settings: MackeyGlassSettings, streams: Streams) -> Problem:
    total = settings.learned + settings.validated + settings.tested
    found = mackey_glass.mackey_glass(total + settings.ahead, tau=settings.tau)
    values = standardised(found, settings.learned)
    return forecast(settings, streams, split(values[:total], values[settings.ahead :], settings))


MACKEY_GLASS = Benchmark(
    name="mackey_glass",
    title="Mackey-Glass (delay 17): the value 84 steps ahead",
    settings=MackeyGlassSettings,
    model=_model,
    build=_build,
    metric="nrmse",
    mode="min",
    monitor="validation_nrmse",
    solved=lambda found, _: found["nrmse"] < 0.1,
    rule="normalised root mean squared error below 0.1",
    baseline=lambda _: 1.0,
    baseline_name="always the mean",
    paper="nets of the LSTM kind .1 to .3, Evolino 1.9e-3, echo state nets 1e-4 (run freely, other settings)",
    source="Mackey and Glass 1977; Jaeger 2001; Schmidhuber et al. 2007",
)
