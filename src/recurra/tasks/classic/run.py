"""Running a classic task in one line of Python."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from recurra.base import config
from recurra.tasks.classic.catalogue import TASKS
from recurra.tasks.classic.settings import ClassicSettings
from recurra.tasks.train import Outcome, train
from recurra.training.callback import Callback
from recurra.training.progress import Progress

__all__ = ["TaskResult", "parameter_count", "run_task", "task_result", "task_settings"]


@dataclass(frozen=True, kw_only=True)
class TaskResult:
    """What came out of a run."""

    task: str
    metric: str
    """The name of the number that counts."""
    value: float
    """That number, of the weights kept (the best ones by it)."""
    solved: bool
    metrics: dict[str, float]
    """Everything that the evaluation of those weights gave."""
    updates: int
    """Updates of the weights until the run ended."""
    sequences: int
    """Training sequences shown until then."""
    best_update: int
    """The update after which the kept weights were."""
    seconds: float
    parameters: int
    reason: str
    """Why it ended: solved, iterations, epochs, minutes, patience or interrupted."""
    settings: ClassicSettings
    folder: Path | None = None
    model: nn.Module | None = field(default=None, repr=False, compare=False)
    """The network with those weights."""

    def numbers(self) -> dict[str, Any]:
        """All but the model, as plain values."""
        names = ("task", "metric", "value", "solved", "metrics", "updates", "sequences", "best_update")
        plain = {name: getattr(self, name) for name in (*names, "seconds", "parameters", "reason")}
        return plain | {"cell": self.settings.cell, "hidden": self.settings.hidden, "seed": self.settings.seed}


def task_settings(
    name: str,
    overrides: Iterable[str] = (),
    *,
    cell: str | None = None,
    hidden: int | None = None,
    seed: int | None = None,
    rate: float | None = None,
    iterations: int | None = None,
    settings: ClassicSettings | None = None,
) -> Any:
    """The settings of task `name`: its own, or `settings`, then `key=value` overrides, then what is named.

    Raises ConfigError with every fault, UnknownName for a task that does not exist.

    >>> task_settings("embedded_reber", ["batch=2"], hidden=12).hidden
    12
    """
    task = TASKS[name]
    named = {"cell": cell, "hidden": hidden, "seed": seed, "train.optim.learning_rate": rate}
    named["train.iterations"] = iterations
    given = [*overrides, *(f"{key}={value}" for key, value in named.items() if value is not None)]
    values = config.to_dict(settings if settings is not None else task.settings())
    return config.parse(task.settings, values, given, where=f"task {name}")


def parameter_count(
    name: str, *, cell: str | None = None, hidden: int | None = None, settings: ClassicSettings | None = None
) -> int:
    """How many numbers the network of a task learns.

    >>> parameter_count("embedded_reber", cell="lstm", hidden=8)
    575
    """
    model = TASKS[name].model(task_settings(name, cell=cell, hidden=hidden, settings=settings), None)
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def run_task(
    name: str,
    *,
    cell: str | None = None,
    hidden: int | None = None,
    seed: int | None = None,
    rate: float | None = None,
    iterations: int | None = None,
    folder: Path | str | None = None,
    progress: Progress | None = None,
    settings: ClassicSettings | None = None,
    callbacks: Sequence[Callback] = (),
    resume: bool = False,
    command: str = "",
) -> TaskResult:
    """Train the task `name`; what is not given is the task's own.

    cell, hidden, seed, rate (learning rate), iterations (updates at most): over those of `settings`.
    folder: a run folder as `recurra train task` writes it; without one nothing is written.
    callbacks: as `Trainer` takes them. resume: continue the run in `folder`. command: for the run's own record.

    Raises UnknownName, ConfigError and DataError for what cannot be; CheckpointError where the folder holds a run
    already (or, with resume, none); TrainingError where numbers run away.

    >>> run_task("reber", seed=1, iterations=20).updates
    20
    """
    task = TASKS[name]
    chosen = task_settings(
        name, cell=cell, hidden=hidden, seed=seed, rate=rate, iterations=iterations, settings=settings
    )
    outcome = train(task, chosen, folder, resume=resume, progress=progress, callbacks=callbacks, command=command)
    return task_result(outcome)


def task_result(outcome: Outcome) -> TaskResult:
    """Return the outcome of a classic task by its own names."""
    facts, predictor = outcome.facts, outcome.predictor
    if outcome.measures is None or predictor is None:
        raise KeyboardInterrupt
    numbers = outcome.measures.numbers
    names = ("updates", "sequences", "best_update", "seconds", "parameters", "reason")
    return TaskResult(
        **{name: numbers[name] for name in ("task", "metric", "value", "solved", "metrics")},
        **{name: facts[name] for name in names},
        settings=outcome.settings,
        folder=outcome.folder,
        model=predictor.net,
    )
