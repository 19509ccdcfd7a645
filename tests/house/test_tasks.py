"""No task's name stands outside its own folder, the registry, its family's catalogue and the docs."""

from __future__ import annotations

import ast
import re

import pytest

from house.tree import PACKAGE, SOURCES, name_of, parsed
from recurra.tasks.registry import FAMILIES, TASKS
from recurra.tasks.task import Task

ROOMS = [path for path in SOURCES if path.relative_to(PACKAGE).parts[0] in ("tasks", "cli", "serving", "checks")]
FOLDERS = {package.rpartition(".")[2] for package in (*TASKS.values(), *FAMILIES.values())}
# Within its folder a task may call a model of its own like another task.
SHARED = [path for path in ROOMS if not FOLDERS & set(path.relative_to(PACKAGE).parts[:-1])]


@pytest.mark.parametrize("path", SHARED, ids=name_of)
def test_no_shared_file_asks_for_a_task_by_its_name(path):
    if path == PACKAGE / "tasks" / "registry.py":
        return
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Compare | ast.Match):
            words = {leaf.value for leaf in ast.walk(node) if isinstance(leaf, ast.Constant)}
            assert not words & TASKS.keys(), f"line {node.lineno} compares with a task's name"


@pytest.mark.parametrize("path", ROOMS, ids=name_of)
def test_no_task_imports_another(path):
    inside = path.relative_to(PACKAGE).parts
    own = inside[1] if inside[0] == "tasks" and len(inside) > 2 else ""
    text = path.read_text(encoding="utf-8")
    for other in re.findall(r"recurra\.tasks\.(\w+)\.", text):
        if other in FOLDERS and other != own and inside != ("tasks", "registry.py"):
            # An example in a docstring is no import.
            statements = [line for line in text.splitlines() if line.lstrip().startswith(("from ", "import "))]
            assert not any(f"recurra.tasks.{other}." in line for line in statements), f"imports the task {other}"


@pytest.mark.parametrize("name", TASKS)
def test_a_task_says_nothing_but_its_own(name):
    """The methods of a task are those of the contract: a reader who knows one folder knows the next."""
    from recurra.tasks.registry import task_named

    kind = type(task_named(name))
    own = {key for key in vars(kind) if not key.startswith("_")}
    assert own <= {*vars(Task), *Task.__annotations__, "fixed", "of"}
    assert kind.__doc__
