"""One way back from a run folder to a model that predicts, whatever task it was trained for."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from recurra.base.registry import Registry
from recurra.tasks.folder import task_in

__all__ = ["load", "task_of"]

LOADERS: Registry[Callable[[Path], Any]] = Registry("task")


def _add_home(task: str) -> None:
    # A task's libraries are loaded with its first run: a model of text need not wait for those of time series.
    LOADERS.add(task, lambda folder: import_module(f"recurra.tasks.{task}.run").load(folder))


for _task in ("text", "forecast", "classify", "events", "anomaly"):
    _add_home(_task)


def _add_classic() -> None:
    # The classic tasks bring their data sets.
    from recurra.tasks.classic import trained
    from recurra.tasks.classic.catalogue import TASKS

    for task in TASKS:
        LOADERS.add(task, trained.load)


def load(folder: Path | str) -> Any:
    """The trained model of a run folder, with its best weights, ready to predict.

    A text run gives a `TextRun`: `generate`, `stream`, `score`; one of a classic task a `ClassicRun`: `predict`,
    `evaluate`.

    >>> run = load("runs/demo")                                  # doctest: +SKIP
    >>> run.generate("The ", length=100, seed=1)                 # doctest: +SKIP

    Raises CheckpointError where the folder is no run, or its parts are missing, damaged, of another version, or do not
    belong together; ConfigError where its config.toml is faulty; UnknownName for a task that is not installed.
    """
    folder = Path(folder)
    task = task_of(folder)
    if task not in LOADERS:
        _add_classic()
    return LOADERS[task](folder)


def task_of(folder: Path | str) -> str:
    """The task that a run folder's config.toml names; "text" where it names none, whose loader then says what is wrong.

    Raises CheckpointError where the folder is no run, or that is no name.
    """
    return task_in(Path(folder)) or "text"
