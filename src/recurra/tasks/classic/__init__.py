"""The classic tasks of the papers: `run_task("embedded_reber", cell="lstm", seed=0)`; `TASKS` is the registry."""

from recurra.tasks.classic.catalogue import TASKS
from recurra.tasks.classic.problem import ClassicSettings, Problem, Task
from recurra.tasks.classic.run import TaskResult, parameter_count, run_task, task_settings

__all__ = ["TASKS", "ClassicSettings", "Problem", "Task", "TaskResult", "parameter_count", "run_task", "task_settings"]
