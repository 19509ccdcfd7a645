"""The run folders of the classic tasks."""

from __future__ import annotations

from pathlib import Path

from recurra.base.errors import CheckpointError, message
from recurra.tasks.classic.catalogue import TASKS
from recurra.tasks.classic.problem import ClassicSettings
from recurra.tasks.folder import Runs, free, task_in

__all__ = ["runs", "settings_of"]

_MAY_CHANGE = free("train.evaluate_every", "stop")


def runs(task: str) -> Runs[ClassicSettings]:
    """Those of one task; UnknownName where there is none of that name."""
    return Runs(task, TASKS[task].settings, may_change=_MAY_CHANGE, words=f"task {task}")


def settings_of(folder: Path) -> ClassicSettings:
    """The settings of a run of any classic task; CheckpointError where the folder is none, ConfigError for faults."""
    name = task_in(folder)
    if name is not None and name not in TASKS:
        raise CheckpointError(message(str(folder), f"is a run of the task {name}, which is no classic one"))
    # A config.toml that names no task is read as any would be, to say what is wrong with it.
    return runs(name or next(iter(TASKS))).settings(folder)
