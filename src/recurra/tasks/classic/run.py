"""Running a classic task: settings -> problem -> the one training loop -> what came out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import nn

from recurra.base import config
from recurra.base.errors import CheckpointError, message
from recurra.base.rng import Streams
from recurra.tasks.classic.catalogue import TASKS
from recurra.tasks.classic.folder import runs
from recurra.tasks.classic.graded import climbing, with_level
from recurra.tasks.classic.problem import ClassicSettings, Problem, Task
from recurra.tasks.folder import CHECKPOINT, write_note
from recurra.training.callback import Callback, every
from recurra.training.loop import Trainer
from recurra.training.progress import Progress

__all__ = ["TaskResult", "parameter_count", "run_task", "task_settings"]


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
    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    if folder is None:
        if resume:
            raise CheckpointError(message("run_task", "a run without a folder cannot be continued"))
        return _train(task, chosen, None, progress, callbacks, False)
    folder = Path(folder)
    with runs(name).opened(folder, chosen, resume, command):
        saved = resume and (folder / CHECKPOINT).exists()
        result = _train(task, chosen, folder, progress, callbacks, saved)
        write_note(folder, result=result.numbers())
        return result


def _train(
    task: Task,
    settings: ClassicSettings,
    folder: Path | None,
    progress: Progress | None,
    callbacks: Sequence[Callback],
    resume: bool,
) -> TaskResult:
    # Dropout, and what draws from torch's own stream.
    torch.manual_seed(settings.seed)
    streams = Streams(settings.seed)
    problem = task.build(settings, streams)
    watched, mode = (task.monitor, task.monitor_mode) if task.monitor else (task.metric, task.mode)
    stopping = msgspec.structs.replace(settings.train.stopping, monitor=watched, mode=mode)
    trainer = Trainer(
        problem.model,
        problem.objective,
        problem.stream,
        msgspec.structs.replace(settings.train, stopping=stopping),
        evaluate=torch.no_grad()(with_level(problem, settings)),
        callbacks=(*callbacks, *climbing(problem, settings), *_until_solved(task, settings)),
        folder=folder,
        streams=streams,
        progress=progress,
        resume_hint=runs(task.name).continuing(folder) if folder else "",
    )
    if resume:
        trainer.resume()
        if settings.stop and trainer.metrics and task.solved(trainer.metrics, settings):
            _end(trainer)
    ended = trainer.train()
    problem.model.eval()
    with torch.no_grad():
        metrics = problem.evaluate(problem.model)
    solved = bool(task.solved(metrics, settings))
    early = solved and settings.stop and ended.reason == "iterations" and ended.iteration < settings.train.iterations
    return TaskResult(
        task=task.name,
        metric=task.metric,
        value=metrics[task.metric],
        solved=solved,
        metrics=metrics,
        updates=ended.iteration,
        sequences=_sequences(problem, settings, ended.iteration),
        best_update=ended.best_iteration or ended.iteration,
        seconds=trainer.wall_s,
        parameters=sum(parameter.numel() for parameter in trainer.parameters),
        reason="solved" if early else ended.reason,
        settings=settings,
        folder=folder,
        model=problem.model,
    )


def _until_solved(task: Task, settings: ClassicSettings) -> list[Callback]:
    """What ends training at the first evaluation that counts as solved; callbacks run right after evaluations."""
    if not settings.stop:
        return []

    def look(trainer: Trainer) -> None:
        if trainer.evaluated == trainer.iteration and task.solved(trainer.metrics, settings):
            # Where the loss is watched, it may have been lower when the task was not solved yet.
            if trainer.stopping.iteration != trainer.iteration:
                trainer.prefer()
            _end(trainer)

    return [Callback(every(settings.train.evaluate_every), look)]


def _end(trainer: Trainer) -> None:
    trainer.config = msgspec.structs.replace(trainer.config, iterations=trainer.iteration)


def _sequences(problem: Problem, settings: ClassicSettings, updates: int) -> int:
    counted = getattr(problem.stream, "sequences", None)
    return int(counted) if counted is not None else updates * settings.batch
