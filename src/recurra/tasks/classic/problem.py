"""What a classic task is: settings, a network, data, a loss, a measure, and the figures to hold it against."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Generator, Tensor, nn

from recurra.base.config import Settings
from recurra.base.rng import Streams
from recurra.data.batch import Batch
from recurra.training.config import (
    ClipConfig,
    Count,
    GradientConfig,
    NonNegative,
    OptimConfig,
    Positive,
    ScheduleConfig,
    TrainConfig,
    WatchConfig,
)
from recurra.training.gradient import Objective
from recurra.training.stream import Stream

__all__ = ["ClassicSettings", "Problem", "Task", "training"]


def training(
    iterations: int,
    rate: float,
    *,
    evaluate_every: int,
    clip: float | None = 1.0,
    schedule: Literal["constant", "cosine", "linear"] = "constant",
    optim: Literal["sgd", "momentum", "adam", "adamw", "rmsprop"] = "adam",
    weight_decay: float = 0.0,
    beta2: float = 0.999,
    gradient: GradientConfig | None = None,
) -> TrainConfig:
    """The training settings of a task, in the few words in which they differ."""
    return TrainConfig(
        iterations=iterations,
        gradient=gradient or GradientConfig(),
        optim=OptimConfig(name=optim, learning_rate=rate, beta2=beta2, weight_decay=weight_decay),
        schedule=ScheduleConfig(name=schedule),
        clip=ClipConfig(norm=clip),
        # Losses of single sequences jump; that is no news here.
        watch=WatchConfig(spike="ignore"),
        log_every=min(100, evaluate_every),
        evaluate_every=evaluate_every,
        checkpoint_every=evaluate_every,
        sample_at=(),
        sample_every=0,
    )


class ClassicSettings(Settings, frozen=True):
    """What every classic task can be told; a task adds fields of its own and other defaults."""

    task: str = ""
    """Its name in `TASKS`."""
    seed: Count = 0
    """Of weights and training data. What is judged on is the same for all seeds unless the paper drew it anew."""
    threads: Count = 1
    """CPU threads; 0: as torch finds best. These nets are small: one is mostly fastest."""
    cell: str = "lstm"
    hidden: Positive = 16
    """Units per layer."""
    layers: Positive = 1
    forget_bias: float | None = None
    """Start of the forget gate's bias, for cells that have one; unset: the cell's own."""
    input_bias: float | None = None
    """Start of the input gate's bias, for cells that have one; unset: the cell's own."""
    initial: tuple[str, ...] = ()
    """How parameters start, as `name=initialiser` or `name=number`: "W=glorot_uniform", "b.o=-1"."""
    chrono: NonNegative = 0.0
    """Longest dependency of the task in steps, from which the gates' biases start (Tallec and Ollivier 2018), for cells
    with gates that keep; 0: not so."""
    batch: Positive = 1
    """Sequences per update."""
    stop: bool = True
    """End at the first evaluation at which the task counts as solved."""
    train: TrainConfig = training(1000, 1e-2, evaluate_every=100)


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A task made concrete: everything that `recurra.training.loop.Trainer` is given."""

    model: nn.Module
    objective: Objective
    """`loss_sum, count = objective(outputs, batch)`."""
    losses: Callable[[Tensor, Tensor], Tensor]
    """`losses(outputs, y)`: the same loss of every row and step, (B, T) or (B, 1), 0 where nothing is asked."""
    stream: Stream
    """Training batches; where it has `sequences`, that many were handed out."""
    evaluate: Callable[[nn.Module], dict[str, float]]
    """Named numbers of a model, among them the task's metric; always of the same data."""
    examples: Batch
    """A few held-out sequences, for pictures and diagnostics."""
    inputs: Sequence[str] = ()
    """Names of the input features."""
    outputs: Sequence[str] = ()
    """Names of the outputs."""
    shown: Callable[[Tensor], Tensor] = torch.sigmoid
    """What a picture shows of the outputs: chances from logits, or the outputs as they are."""

    def __post_init__(self) -> None:
        """Nobody differentiates an evaluation."""
        object.__setattr__(self, "evaluate", torch.no_grad()(self.evaluate))


@dataclass(frozen=True, kw_only=True)
class Task:
    """One named task."""

    name: str
    title: str
    """What is to be done, in one line."""
    settings: type[ClassicSettings]
    model: Callable[[Any, Generator | None], nn.Module]
    """Settings and random stream -> the network, untrained; needs no data."""
    build: Callable[[Any, Streams], Problem]
    """Settings and the run's random streams -> the problem."""
    metric: str
    """The number of `evaluate` that counts."""
    mode: Literal["min", "max"]
    """Whether a lower or a higher one is better."""
    monitor: str = ""
    """The number by which the weights to keep are chosen, where that is another one than the metric."""
    monitor_mode: Literal["min", "max"] = "min"
    solved: Callable[[Mapping[str, float], Any], bool]
    """Evaluation and settings -> whether the task counts as solved."""
    rule: str
    """When it does, in words."""
    baseline: Callable[[Any], float | None] = lambda _: None
    """Settings -> the metric of the best answer that ignores the difficulty."""
    baseline_name: str = ""
    verdict: Callable[[Mapping[str, float], Any], str] | None = None
    """Evaluation and settings -> what it means, where "solved" or "not solved" does not say it."""
    paper: str = ""
    """The published figure."""
    source: str = ""
    """Author, year, where."""
