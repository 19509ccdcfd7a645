"""Counting: a^n b^n and a^n b^n c^n, learned from short strings, judged on long ones."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from msgspec import Meta
from torch import Generator, nn

from recurra.base.rng import Streams
from recurra.data.sets import counting
from recurra.layers.sequence import valid_mask
from recurra.tasks.classic.benchmark import Benchmark, Problem
from recurra.tasks.classic.graded import GradedSettings, graded
from recurra.tasks.classic.model import SequenceModel, set_loss, set_losses
from recurra.tasks.classic.settings import Positive, training
from recurra.training.config import TrainConfig

__all__ = ["COUNTING"]


class CountingSettings(GradedSettings, frozen=True):
    """Of the counting languages."""

    task: Literal["counting"] = "counting"
    letters: Annotated[int, Meta(ge=2, le=3)] = 2
    """2: a^n b^n; 3: a^n b^n c^n."""
    longest: Positive = 10
    """Largest n of the training strings."""
    tested: Positive = 1000
    """Largest n of the test strings."""
    hidden: Positive = 4
    batch: Positive = 10
    stop: bool = False
    """How far it counts is what is asked, so training goes on."""
    train: TrainConfig = training(5000, 1e-2, evaluate_every=250, schedule="cosine")


def _model(settings: CountingSettings, generator: Generator | None) -> nn.Module:
    size = len(counting.symbols(settings.letters))
    return SequenceModel(settings, size, size, generator)


def _build(settings: CountingSettings, streams: Streams) -> Problem:
    def draw(longest: int, generator: Generator) -> counting.Batch:
        numbers = torch.randint(1, longest + 1, (settings.batch,), generator=generator).tolist()
        return counting.batch(numbers, settings.letters)

    trained = counting.batch(range(1, settings.longest + 1), settings.letters)

    def evaluate(model: nn.Module) -> dict[str, float]:
        total, steps = set_loss(model(trained.x, lengths=trained.lengths)[0], trained)
        return {"reach": float(reach(model, settings.tested, settings.letters)), "loss": float(total) / steps}

    return Problem(
        model=_model(settings, streams["init"]),
        objective=set_loss,
        losses=set_losses,
        stream=graded(settings, streams, draw, 2, settings.longest),
        evaluate=evaluate,
        examples=trained,
        inputs=counting.symbols(settings.letters),
        outputs=counting.symbols(settings.letters),
    )


def reach(model: nn.Module, most: int, letters: int) -> int:
    """The largest N up to `most` such that every string with n = 1 ... N is predicted without one mistake.

    A step is right when exactly the symbols that may follow have outputs above 1/2.
    """
    for start in range(1, most + 1, 50):
        batch = counting.batch(range(start, min(start + 50, most + 1)), letters)
        logits, _ = model(batch.x, lengths=batch.lengths)
        right = ((logits > 0) == (batch.y > 0.5)).all(-1)
        if batch.lengths is not None:
            right = right | ~valid_mask(batch.lengths, right.shape[1])
        wrong = (~right.all(1)).nonzero().flatten()
        if len(wrong):
            return start + int(wrong[0]) - 1
    return most


COUNTING = Benchmark(
    name="counting",
    title="counting: a^n b^n and a^n b^n c^n beyond the lengths seen",
    settings=CountingSettings,
    model=_model,
    build=_build,
    metric="reach",
    mode="max",
    monitor="loss",
    monitor_mode="min",
    solved=lambda found, settings: found["reach"] >= 2 * settings.longest,
    rule="every string up to twice the longest n of training is predicted without a mistake",
    baseline=lambda _: 0.0,
    baseline_name="no counting",
    paper="an LSTM with peepholes goes far beyond its training lengths, the simple recurrent net does not",
    source="Gers and Schmidhuber 2001; Weiss, Goldberg and Yahav 2018 (LSTM counts, GRU does not)",
)
