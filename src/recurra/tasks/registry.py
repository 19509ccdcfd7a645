"""Every task by name. Lazy: the settings of a task come without torch, for its help; the task itself when it is used.

A task of this package is a folder with a module `settings`, whose one subclass of `TaskSettings` names the task, and a
module `task`, whose one subclass of `Task` declares it. A family has many tasks under one word. Tasks of other packages
come by the entry point group `recurra.tasks`, and by `mine.py:Name` on the command line.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from recurra.base.code import entry_point, named
from recurra.base.errors import UnknownName, message, nearest
from recurra.tasks.settings import TaskSettings

if TYPE_CHECKING:
    from recurra.tasks.task import Task

__all__ = ["FAMILIES", "TASKS", "settings_named", "task_named"]

TASKS: Mapping[str, str] = {
    "text": "recurra.tasks.text",
    "forecast": "recurra.tasks.forecast",
    "classify": "recurra.tasks.classify",
    "events": "recurra.tasks.events",
    "anomaly": "recurra.tasks.anomaly",
    "tag": "recurra.tasks.tag",
}
"""Name -> the package that declares the task."""

FAMILIES: Mapping[str, str] = {"task": "recurra.tasks.classic"}
"""Word behind `recurra train` -> a package with `TASKS`, a mapping of names to tasks."""


def task_named(name: str) -> Task:
    """Return the task of this name: of this package, of a family, of an installed package, or the user's own.

    Raises:
        UnknownName: with the names that there are, or the way to give one's own code.

    """
    if name in TASKS:
        return declared(f"{TASKS[name]}.task", "Task")()
    if ":" in name:
        return named(name, "task")()
    for package in FAMILIES.values():
        family = import_module(package).TASKS
        if name in family:
            return family[name]
    kind = entry_point("recurra.tasks", name)
    if kind is not None:
        return kind()
    known = ", ".join(nearest(name, [*TASKS, *_family_names()]))
    raise UnknownName(message("task", f"no task is called {name!r}", f"There are: {known}."))


def settings_named(name: str, packages: Mapping[str, str] = TASKS) -> type[TaskSettings]:
    """Return the settings of a task of this package, or those that a family shares, without importing the task."""
    return declared(f"{packages[name]}.settings", "TaskSettings")


def declared(module_name: str, base: str) -> Any:
    """Return the one class of a module that is a subclass of the class called `base`."""
    module = import_module(module_name)
    kinds = [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and value.__module__ == module_name
        and any(kind.__name__ == base for kind in value.__mro__[1:])
    ]
    if len(kinds) != 1:
        raise TypeError(f"{module_name} must declare one subclass of {base}, has {[kind.__name__ for kind in kinds]}")
    return kinds[0]


def _family_names() -> Iterator[str]:
    for package in FAMILIES.values():
        yield from import_module(package).TASKS
