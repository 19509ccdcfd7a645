"""Spike timing: measure a delay, make spikes at the right moment, follow a wave; with and without peepholes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

import torch
from msgspec import Meta
from torch import Generator, nn

from recurra.base.rng import Streams, stream
from recurra.data.batch import Batch
from recurra.data.sets import spikes
from recurra.tasks.classic.benchmark import Benchmark, Problem
from recurra.tasks.classic.graded import GradedSettings, graded
from recurra.tasks.classic.model import SequenceModel, as_it_is, squared_error, squared_errors
from recurra.tasks.classic.settings import Positive, training
from recurra.training.config import NonNegative, TrainConfig

__all__ = ["GENERATE_SPIKES", "MEASURE_SPIKES", "PERIODIC"]


class _TimingSettings(GradedSettings, frozen=True):
    cell: str = "peephole_lstm"
    hidden: Positive = 4
    tested: Positive = 1000
    """Spikes or periods of the test sequence."""
    until: NonNegative = 0.002


class MeasureSettings(_TimingSettings, frozen=True):
    """Measuring spike delays (MSD)."""

    task: Literal["measure_spikes"] = "measure_spikes"
    period: Positive = 49
    """F: delays are F and F + 1."""
    spread: Positive = 1
    """Delays are F ... F + spread."""
    spikes: Positive = 4
    """Delays per training sequence."""
    hidden: Positive = 16
    chrono: NonNegative = 50.0
    batch: Positive = 64
    """The two delays differ by a fiftieth: what is to be learned is lost in the noise of few answers."""
    train: TrainConfig = training(8000, 1e-2, evaluate_every=100)


class _SilentSettings(_TimingSettings, frozen=True):
    def __post_init__(self) -> None:
        """Raise ValueError where batches of several periods would be mixed."""
        if self.curriculum in ("mixed", "combined"):
            fact = "without an input the net cannot know which of several periods is wanted"
            raise ValueError(f"curriculum must be full or naive, got {self.curriculum}: {fact}")


class GenerateSettings(_SilentSettings, frozen=True):
    """Generating timed spikes (GTS)."""

    task: Literal["generate_spikes"] = "generate_spikes"
    period: Annotated[int, Meta(ge=2)] = 10
    periods: Positive = 10
    """Per training sequence."""
    train: TrainConfig = training(20_000, 5e-3, evaluate_every=100)


class PeriodicSettings(_SilentSettings, frozen=True):
    """Periodic function generation (PFG)."""

    task: Literal["periodic"] = "periodic"
    period: Annotated[int, Meta(ge=2)] = 10
    shape: spikes.Wave = "cosine"
    periods: Positive = 10
    train: TrainConfig = training(20_000, 5e-3, evaluate_every=100)


def _model(settings: _TimingSettings, generator: Generator | None) -> nn.Module:
    return SequenceModel(settings, 1, 1, generator)


def _measure(settings: MeasureSettings, streams: Streams) -> Problem:
    def draw(period: int, generator: Generator) -> Batch:
        return spikes.measure(settings.batch, settings.spikes, period, settings.spread, generator)

    seeded = stream(0, "measure spikes test")
    tested = spikes.measure(1, settings.tested, settings.period, settings.spread, seeded)
    examples = spikes.measure(8, 4, settings.period, settings.spread, seeded)
    return _problem(settings, streams, draw, (5, settings.period), tested, examples, 0.49)


def _generate(settings: GenerateSettings, streams: Streams) -> Problem:
    def draw(period: int, _: Generator) -> Batch:
        return spikes.generate(settings.periods, period, settings.batch)

    tested = spikes.generate(settings.tested, settings.period)
    examples = spikes.generate(settings.periods, settings.period, settings.batch)
    return _problem(settings, streams, draw, (10, settings.period), tested, examples, 0.49)


def _periodic(settings: PeriodicSettings, streams: Streams) -> Problem:
    def draw(period: int, _: Generator) -> Batch:
        return spikes.periodic(settings.periods, period, settings.shape, settings.batch)

    tested = spikes.periodic(settings.tested, settings.period, settings.shape)
    examples = spikes.periodic(settings.periods, settings.period, settings.shape, settings.batch)
    return _problem(settings, streams, draw, (10, settings.period), tested, examples, 0.3)


def _problem(
    settings: _TimingSettings,
    streams: Streams,
    draw: Callable[[int, Generator], Batch],
    ends: tuple[int, int],
    tested: Batch,
    examples: Batch,
    tolerance: float,
) -> Problem:
    def evaluate(model: nn.Module) -> dict[str, float]:
        outputs, _ = model(tested.x)
        asked = ~torch.isnan(tested.y)
        off = (outputs - tested.y)[asked].abs()
        return {
            "wrong": float((off >= tolerance).sum()) / off.numel(),
            "largest": float(off.max()),
            "mse": float(off.square().mean()),
        }

    return Problem(
        model=_model(settings, streams["init"]),
        objective=squared_error,
        losses=squared_errors,
        shown=as_it_is,
        stream=graded(settings, streams, draw, *ends),
        evaluate=evaluate,
        examples=examples,
    )


def _task(
    name: str,
    title: str,
    settings: type[_TimingSettings],
    build: Callable[[Any, Streams], Problem],
    rule: str,
    paper: str,
) -> Benchmark:
    return Benchmark(
        name=name,
        title=title,
        settings=settings,
        model=_model,
        build=build,
        metric="wrong",
        mode="min",
        monitor="mse",
        solved=lambda found, _: found["wrong"] == 0,
        source="Gers, Schraudolph and Schmidhuber 2002",
        rule=rule,
        paper=paper,
    )


MEASURE_SPIKES = _task(
    "measure_spikes",
    "measuring delays: 49 or 50 steps since the last spike?",
    MeasureSettings,
    _measure,
    rule="every answer over 1,000 test spikes is within 0.49",
    paper="LSTM solves it with and without peepholes",
)

GENERATE_SPIKES = _task(
    "generate_spikes",
    "generating spikes: one at every tenth step, without any input",
    GenerateSettings,
    _generate,
    rule="every output over 1,000 test periods is within 0.49",
    paper="solved with peepholes only, and not without forget gates",
)

PERIODIC = _task(
    "periodic",
    "following a wave without any input: cosine, triangle or rectangle",
    PeriodicSettings,
    _periodic,
    rule="every output over 1,000 test periods is within 0.3",
    paper="peepholes needed for most; without them only the cosine with F = 10",
)
