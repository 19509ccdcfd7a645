"""Tasks for a net with a memory beside it: repeat-copy and associative recall, judged beyond the training lengths."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import msgspec
import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from recurra.base.errors import ConfigError, message
from recurra.base.rng import Streams, stream
from recurra.cells import CELLS
from recurra.data.batch import Batch
from recurra.data.sets import associative_recall, ntm_copy, repeat_copy
from recurra.layers.memory import NTM
from recurra.tasks.classic.benchmark import Benchmark, Problem
from recurra.tasks.classic.graded import GradedSettings, graded
from recurra.tasks.classic.model import SequenceModel
from recurra.tasks.classic.settings import Positive, training
from recurra.training.config import AverageConfig, NonNegative, TrainConfig

__all__ = ["ASSOCIATIVE_RECALL", "NTM_COPY", "REPEAT_COPY", "answer_bits"]

_ROWS = 100
_HELD = 64


def _training(iterations: int, rate: float = 3e-3) -> TrainConfig:
    made = training(iterations, rate, evaluate_every=250, clip=10.0, schedule="linear")
    # A large epsilon, as in Graves' RMSprop: a rare long sequence gone wrong must not throw all weights about.
    optim = msgspec.structs.replace(made.optim, beta2=0.99, epsilon=1e-3)
    return msgspec.structs.replace(made, optim=optim)


class _MachineSettings(GradedSettings, frozen=True):
    cell: str = "ntm"
    """ntm: a neural Turing machine with a feed-forward controller; ntm_lstm and so on: with that cell as controller;
    any other cell: that cell alone."""
    hidden: Positive = 100
    locations: Positive = 128
    width: Positive = 20
    """Places in memory, and numbers in each."""
    heads: Positive = 1
    """Heads that read, and as many that write."""
    batch: Positive = 16
    noise: NonNegative = 0.1
    """Deviation of what is added to the training inputs; it carries the machine beyond the lengths it has seen."""
    until: NonNegative = 1.0
    stop: bool = False
    train: TrainConfig = _training(5000)


class CopySettings(_MachineSettings, frozen=True):
    """Of the copy task."""

    task: Literal["ntm_copy"] = "ntm_copy"
    longest: Positive = 20


class RepeatSettings(_MachineSettings, frozen=True):
    """Of repeat-copy."""

    task: Literal["repeat_copy"] = "repeat_copy"
    longest: Positive = 10
    repeats: Positive = 10
    heads: Positive = 2
    """Of each kind: one alone did not learn it in 10,000 updates."""
    noise: NonNegative = 0.0
    train: TrainConfig = msgspec.structs.replace(_training(20_000, 1e-3), average=AverageConfig(kind="ema", decay=0.99))


class RecallSettings(_MachineSettings, frozen=True):
    """Of associative recall."""

    task: Literal["associative_recall"] = "associative_recall"
    items: Positive = 6
    """Most items in training."""
    hidden: Positive = 256
    heads: Positive = 4
    """Of each kind, as in the paper for this task."""
    noise: NonNegative = 0.0
    train: TrainConfig = _training(8000)


def _network(settings: _MachineSettings, inputs: int, outputs: int, generator: Generator | None) -> nn.Module:
    kind, _, controller = settings.cell.partition("_")
    if kind != "ntm" or settings.cell in CELLS:
        return SequenceModel(settings, inputs, outputs, generator)
    if settings.layers != 1:
        raise ConfigError(message("task", f"a neural Turing machine has one layer, got layers = {settings.layers}"))
    return NTM(
        inputs,
        settings.hidden,
        outputs,
        locations=settings.locations,
        width=settings.width,
        read_heads=settings.heads,
        write_heads=settings.heads,
        controller=controller or "feedforward",
        generator=generator,
    )


def _copy_model(settings: CopySettings, generator: Generator | None) -> nn.Module:
    return _network(settings, 10, 8, generator)


def _repeat_model(settings: RepeatSettings, generator: Generator | None) -> nn.Module:
    return _network(settings, 10, 9, generator)


def _recall_model(settings: RecallSettings, generator: Generator | None) -> nn.Module:
    return _network(settings, 8, 6, generator)


def answer_bits(logits: Tensor, batch: Batch) -> tuple[Tensor, int]:
    """Nats of the answers, summed, and how many sequences: y (B, L, O) belongs to the last L steps of the logits."""
    answer = logits[:, logits.shape[1] - batch.y.shape[1] :]
    return functional.binary_cross_entropy_with_logits(answer, batch.y, reduction="sum"), len(batch.y)


def answer_losses(logits: Tensor, y: Tensor) -> Tensor:
    """The same step by step (B, T), 0 before the answer and where y is NaN."""
    wanted = functional.pad(y, (0, 0, logits.shape[1] - y.shape[1], 0), value=torch.nan)
    each = functional.binary_cross_entropy_with_logits(logits, wanted.nan_to_num(), reduction="none")
    return each.masked_fill(wanted.isnan(), 0).sum(-1)


def _problem(
    settings: _MachineSettings,
    streams: Streams,
    model: nn.Module,
    draw: Callable[[int, Generator], Batch],
    hardest: int,
    tested: Mapping[str, Batch],
    held: Sequence[Batch],
    noisy_channels: int | None = None,
) -> Problem:
    """`tested`: "" within the lengths of training, other names beyond them.

    Measured for each: `bits` a sequence costs, `wrong` bits of it, and the share of sequences without one, `right`.
    By the mean of the bits of `held`, `held_out`, the weights are chosen: sequences as long as in training and, where
    a machine learns to go on, a little beyond, since what it does there changes from one evaluation to the next.
    draw: a batch of at most so many, up to `hardest`. noisy_channels: noise is added to so many of the first, or all.
    """

    def noisy(level: int, generator: Generator) -> Batch:
        batch = draw(level, generator)
        if not settings.noise:
            return batch
        x = batch.x.clone()
        heard = x[..., :noisy_channels]
        heard += settings.noise * torch.randn(heard.shape, generator=generator)
        return batch._replace(x=x)

    def evaluate(model: nn.Module) -> dict[str, float]:
        found: dict[str, float] = {}
        for name, batch in tested.items():
            logits, _ = model(batch.x)
            nats, rows = answer_bits(logits, batch)
            found[f"bits{name}"] = float(nats) / rows / math.log(2)
            answer = logits[:, -batch.y.shape[1] :]
            off = ((answer > 0) != (batch.y > 0.5)).flatten(1).sum(1)
            found[f"wrong{name}"] = float(off.sum()) / rows
            found[f"right{name}"] = float((off == 0).sum()) / rows
        costs = [answer_bits(model(batch.x)[0], batch) for batch in held]
        found["held_out"] = sum(float(nats) / rows for nats, rows in costs) / len(costs) / math.log(2)
        return found

    return Problem(
        model=model,
        objective=answer_bits,
        losses=answer_losses,
        stream=graded(settings, streams, noisy, 2, hardest),
        evaluate=evaluate,
        examples=next(iter(tested.values())).map(lambda tensor: tensor[:8]),
    )


def _copy(settings: CopySettings, streams: Streams) -> Problem:
    most, seeded = settings.longest, stream(0, "ntm copy test")
    tested = {"": ntm_copy.batch(_ROWS, most, generator=seeded)}
    tested |= {f"_length_{n * most}": ntm_copy.batch(_ROWS, n * most, generator=seeded) for n in (2, 3, 6)}
    held = [ntm_copy.batch(_HELD, n * most, generator=stream(0, "ntm copy held out")) for n in (1, 2)]

    def draw(longest: int, generator: Generator) -> Batch:
        return ntm_copy.batch(settings.batch, (1, longest), generator=generator)

    return _problem(settings, streams, _copy_model(settings, streams["init"]), draw, most, tested, held)


def _repeat(settings: RepeatSettings, streams: Streams) -> Problem:
    longest, most, seeded = settings.longest, settings.repeats, stream(0, "repeat copy test")
    hardest = max(longest, most)
    tested = {
        "": repeat_copy.batch(_ROWS, longest, most, generator=seeded),
        "_longer": repeat_copy.batch(_ROWS, 2 * longest, most, generator=seeded),
        "_more_often": repeat_copy.batch(_ROWS, longest, 2 * most, generator=seeded),
    }
    # Only within the lengths of training, where it works; many, since one vector of 256 is all zeros and hard to copy.
    held = [repeat_copy.batch(4 * _HELD, longest, most, generator=stream(0, "repeat copy held out"))]

    def draw(level: int, generator: Generator) -> Batch:
        # Length and repeats grow alike.
        length, repeats = ((1, max(1, round(level * end / hardest))) for end in (longest, most))
        return repeat_copy.batch(settings.batch, length, repeats, generator=generator)

    # A count and the next are 0.35 apart: with noise on it nobody could count to ten.
    return _problem(settings, streams, _repeat_model(settings, streams["init"]), draw, hardest, tested, held, 9)


def _recall(settings: RecallSettings, streams: Streams) -> Problem:
    seeded = stream(0, "associative recall test")
    lengths = {"": settings.items, **{f"_items_{n}": n for n in (8, 10, 12, 15) if n > settings.items}}
    tested = {name: associative_recall.batch(_ROWS, n, generator=seeded) for name, n in lengths.items()}
    held = [
        associative_recall.batch(_HELD, n, generator=stream(0, "associative recall held out"))
        for n in (settings.items, settings.items + 2)
    ]

    def draw(items: int, generator: Generator) -> Batch:
        return associative_recall.batch(settings.batch, (2, items), generator=generator)

    return _problem(settings, streams, _recall_model(settings, streams["init"]), draw, settings.items, tested, held)


def _task(
    name: str, title: str, settings: type[_MachineSettings], model: Any, build: Any, chance: Any, paper: str
) -> Benchmark:
    return Benchmark(
        name=name,
        title=title,
        settings=settings,
        model=model,
        build=build,
        metric="bits",
        mode="min",
        monitor="held_out",
        solved=lambda found, _: found["bits"] < 1,
        rule="less than 1 bit a sequence at the longest of training",
        baseline=chance,
        baseline_name="guessing",
        paper=paper,
        source="Graves, Wayne and Danihelka 2014",
    )


NTM_COPY = _task(
    "ntm_copy",
    "copying bit vectors with a memory, and far longer ones than were seen",
    CopySettings,
    _copy_model,
    _copy,
    lambda settings: 8.0 * settings.longest,
    "NTM close to 0 bits, right up to length 120; LSTM slower, and lost beyond 20",
)

REPEAT_COPY = _task(
    "repeat_copy",
    "copying bit vectors a given number of times",
    RepeatSettings,
    _repeat_model,
    _repeat,
    lambda settings: 8.0 * settings.longest * settings.repeats,
    "NTM close to 0 bits; copies longer sequences, but loses count when asked for more repeats",
)

ASSOCIATIVE_RECALL = _task(
    "associative_recall",
    "a list of items, one again: what followed it?",
    RecallSettings,
    _recall_model,
    _recall,
    lambda _: 18.0,
    "NTM close to 0 bits after 30,000 episodes, right to 12 items and below 1 bit at 15; LSTM not after a million",
)
