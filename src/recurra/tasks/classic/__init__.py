"""The classic tasks of the papers: `run_task("embedded_reber", cell="lstm", seed=0)`; `TASKS` is the registry.

Names are imported when first used: the settings that all share come without torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recurra.tasks.classic.benchmark import Benchmark, Problem
    from recurra.tasks.classic.catalogue import TASKS
    from recurra.tasks.classic.run import TaskResult, parameter_count, run_task, task_settings
    from recurra.tasks.classic.settings import ClassicSettings

__all__ = [
    "TASKS",
    "Benchmark",
    "ClassicSettings",
    "Problem",
    "TaskResult",
    "parameter_count",
    "run_task",
    "task_settings",
]

_MODULES = {"TASKS": "catalogue", "Benchmark": "benchmark", "Problem": "benchmark", "ClassicSettings": "settings"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES.get(name, 'run')}"), name)
