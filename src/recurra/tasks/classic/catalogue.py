"""Every classic task by name, in the order in which one would teach them."""

from __future__ import annotations

from recurra.base.registry import Registry
from recurra.tasks.classic.problem import Task
from recurra.tasks.classic.reber import EMBEDDED_REBER, REBER

__all__ = ["TASKS"]

TASKS: Registry[Task] = Registry("task")
for _task in (REBER, EMBEDDED_REBER):
    TASKS.add(_task.name, _task)
