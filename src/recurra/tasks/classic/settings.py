"""What the settings of all classic tasks share; without torch."""

from __future__ import annotations

from typing import Annotated, Literal

from recurra.base.option import Option
from recurra.tasks.settings import TaskSettings
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

__all__ = ["ClassicSettings", "training"]


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
    """Return the training settings of a task by what they differ in."""
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


class ClassicSettings(TaskSettings, frozen=True):
    """A classic task of the papers: recurra train task NAME; without a name it lists them.

    Each task has settings of its own and other defaults than those shown; --show-config prints them.
    """

    task: str = ""
    """Its name in `TASKS`."""
    seed: Count = 0
    """Seed of weights and training data; the test data are the same for all seeds unless the paper drew them anew."""
    threads: Count = 1
    """CPU threads; 0: as torch chooses. These nets are small: one is mostly fastest."""
    cell: Annotated[str, Option()] = "lstm"
    """Recurrent cell; recurra cells lists them."""
    hidden: Annotated[Positive, Option()] = 16
    """Units per layer."""
    layers: Annotated[Positive, Option()] = 1
    """Recurrent layers."""
    forget_bias: float | None = None
    """Start of the forget gate's bias, for cells that have one; unset: the cell's own."""
    input_bias: float | None = None
    """Start of the input gate's bias, for cells that have one; unset: the cell's own."""
    initial: tuple[str, ...] = ()
    """How parameters start, as `name=initialiser` or `name=number`: "W=glorot_uniform", "b.o=-1"."""
    chrono: NonNegative = 0.0
    """Longest dependency of the task in steps, from which the gates' biases start (Tallec and Ollivier 2018), for cells
    with gates that keep; 0: not so."""
    batch: Annotated[Positive, Option()] = 1
    """Sequences per update."""
    stop: bool = True
    """End at the first evaluation at which the task counts as solved."""
    train: TrainConfig = training(1000, 1e-2, evaluate_every=100)
