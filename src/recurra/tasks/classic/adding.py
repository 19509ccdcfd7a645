"""The adding problem: the sum of two marked numbers among hundreds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from msgspec import Meta
from torch import Generator, nn

from recurra.base.rng import Streams, stream
from recurra.data.batch import Batch
from recurra.data.sets import adding
from recurra.tasks.classic.benchmark import Benchmark, Problem
from recurra.tasks.classic.graded import GradedSettings, graded
from recurra.tasks.classic.model import SequenceModel, as_it_is, squared_error, squared_errors
from recurra.tasks.classic.settings import Positive, training
from recurra.training.config import NonNegative, TrainConfig

__all__ = ["ADDING"]

TESTED = 2560


class AddingSettings(GradedSettings, frozen=True):
    """Of the adding problem."""

    task: Literal["adding"] = "adding"
    form: Literal["unit", "1997"] = "unit"
    """unit: numbers from [0, 1], a mark in each half (Arjovsky et al. 2016); 1997: as in the first paper."""
    length: Annotated[int, Meta(ge=24)] = 400
    """Steps; in the form of 1997 the shortest sequence."""
    hidden: Positive = 32
    chrono: NonNegative = 400.0
    until: NonNegative = 0.01
    batch: Positive = 32
    train: TrainConfig = training(10_000, 5e-3, evaluate_every=100)


def _model(settings: AddingSettings, generator: Generator | None) -> nn.Module:
    return SequenceModel(settings, 2, 1, generator, last=True)


def _build(settings: AddingSettings, streams: Streams) -> Problem:
    make = adding.batch if settings.form == "unit" else adding.batch_1997
    tested = make(TESTED, settings.length, stream(0, "adding test"))
    parts = [
        Batch(x, y, lengths)
        for x, y, lengths in zip(
            tested.x.split(256),
            tested.y.split(256),
            tested.lengths.split(256) if tested.lengths is not None else [None] * TESTED,
            strict=False,
        )
    ]

    def evaluate(model: nn.Module) -> dict[str, float]:
        total, wrong = 0.0, 0
        for part in parts:
            outputs, _ = model(part.x, lengths=part.lengths)
            total += float(squared_error(outputs, part)[0])
            # 1997: "correctly processed if the absolute error at the end is below 0.04", on a scale of 1/4.
            wrong += int(((outputs - part.y).abs() >= (0.04 if settings.form == "1997" else 0.16)).sum())
        return {"mse": total / TESTED, "wrong": float(wrong)}

    return Problem(
        model=_model(settings, streams["init"]),
        objective=squared_error,
        losses=squared_errors,
        shown=as_it_is,
        stream=graded(
            settings,
            streams,
            lambda length, generator: make(settings.batch, length, generator),
            min(24, settings.length),
            settings.length,
        ),
        evaluate=evaluate,
        examples=tested.map(lambda tensor: tensor[:16]),
        inputs=("number", "mark"),
        outputs=("sum",),
    )


def _solved(found: Mapping[str, float], settings: AddingSettings) -> bool:
    return found["mse"] < 0.01 if settings.form == "unit" else found["wrong"] <= 1


ADDING = Benchmark(
    name="adding",
    title="the adding problem: the sum of two marked numbers among hundreds",
    settings=AddingSettings,
    model=_model,
    build=_build,
    metric="mse",
    mode="min",
    solved=_solved,
    rule=f"mean squared error below 0.01 on {TESTED:,} test sequences (form 1997: at most 1 of them 0.04 or more off)",
    baseline=lambda settings: adding.BASELINE if settings.form == "unit" else adding.BASELINE_1997,
    baseline_name="always the mean",
    paper="1997: T = 100 in 74,000 sequences, 500 in 209,000, 1000 in 853,000; 2015: IRNN as good as LSTM to T = 300",
    source="Hochreiter and Schmidhuber 1997, experiment 4; Le et al. 2015; Arjovsky et al. 2016",
)
