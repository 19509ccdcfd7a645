"""Temporal order: two, three or four relevant symbols among a hundred others, classified by their order."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from msgspec import Meta
from torch import Generator, nn

from recurra.base.rng import Streams, stream
from recurra.data.sets import temporal_order
from recurra.tasks.classic.benchmark import Benchmark, Problem
from recurra.tasks.classic.graded import GradedSettings, graded
from recurra.tasks.classic.model import SequenceModel, cross_entropies, cross_entropy, probabilities
from recurra.tasks.classic.settings import Positive, training
from recurra.training.config import NonNegative, TrainConfig

__all__ = ["TEMPORAL_ORDER"]

TESTED = 2560


class OrderSettings(GradedSettings, frozen=True):
    """Of the temporal order problem."""

    task: Literal["temporal_order"] = "temporal_order"
    relevant: Annotated[int, Meta(ge=2, le=4)] = 2
    """Relevant symbols: 2 is experiment 6a, 3 is 6b, 4 goes beyond the paper."""
    length: Annotated[int, Meta(ge=20)] = 100
    """Shortest sequence; the longest has a tenth more steps."""
    hidden: Positive = 8
    chrono: NonNegative = 100.0
    until: NonNegative = 0.05
    batch: Positive = 16
    train: TrainConfig = training(20_000, 1e-2, evaluate_every=200)


def _model(settings: OrderSettings, generator: Generator | None) -> nn.Module:
    return SequenceModel(settings, len(temporal_order.SYMBOLS), 2**settings.relevant, generator, last=True)


def _build(settings: OrderSettings, streams: Streams) -> Problem:
    def draw(length: int, generator: Generator) -> temporal_order.Batch:
        return temporal_order.batch(settings.batch, settings.relevant, length, generator)

    tested = temporal_order.batch(TESTED, settings.relevant, settings.length, stream(0, "temporal order test"))

    def evaluate(model: nn.Module) -> dict[str, float]:
        outputs, _ = model(tested.x, lengths=tested.lengths)
        total, count = cross_entropy(outputs, tested)
        chance = torch.softmax(outputs, -1)
        # 1997: "correctly classified if the absolute error of all output units is below 0.3".
        off = (chance - nn.functional.one_hot(tested.y, chance.shape[-1])).abs().amax(1)
        return {
            "wrong": float((off >= 0.3).float().sum()),
            "error": float((outputs.argmax(-1) != tested.y).float().mean()),
            "loss": float(total) / count,
        }

    return Problem(
        model=_model(settings, streams["init"]),
        objective=cross_entropy,
        losses=cross_entropies,
        shown=probabilities,
        stream=graded(settings, streams, draw, 20, settings.length),
        evaluate=evaluate,
        examples=tested.map(lambda tensor: tensor[:32]),
        inputs=temporal_order.SYMBOLS,
        outputs=_classes(settings.relevant),
    )


def _classes(relevant: int) -> list[str]:
    return ["".join("XY"[number >> place & 1] for place in reversed(range(relevant))) for number in range(2**relevant)]


TEMPORAL_ORDER = Benchmark(
    name="temporal_order",
    title="temporal order: in what order did X and Y come, far apart among distractors",
    settings=OrderSettings,
    model=_model,
    build=_build,
    metric="wrong",
    mode="min",
    monitor="loss",
    solved=lambda found, _: found["wrong"] <= 2,
    rule=f"at most 2 of {TESTED:,} test sequences with an output that is 0.3 or more off",
    baseline=lambda _: TESTED,
    baseline_name="guessing",
    paper="LSTM: 6a 31,390 sequences (1 of 2,560 wrong), 6b 571,100 (2 of 2,560 wrong)",
    source="Hochreiter and Schmidhuber 1997, experiments 6a and 6b",
)
