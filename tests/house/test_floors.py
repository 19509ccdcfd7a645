"""Rooms stand on floors: a module imports from rooms on lower floors and from its own, never up or sideways."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from house.tree import PACKAGE, SOURCES, imported, name_of, parsed

FLOORS = {
    "base": 0,
    "equations": 1,
    "cells": 2,
    "kernels": 2,
    "layers": 3,
    "data": 3,
    "classical": 3,
    "reservoir": 4,
    "training": 4,
    "decoding": 4,
    "diagnostics": 4,
    "tasks": 5,
    "serving": 6,
    "checks": 6,
    # The public face: recurra/__init__.py.
    "recurra": 7,
    "cli": 8,
    # `python -m recurra`.
    "__main__": 9,
}


def room_of(module: str) -> str:
    """`recurra.layers.stack` -> `layers`; the package itself and what it re-exports -> `recurra`."""
    first = [*module.split("."), ""][1]
    return first if first in FLOORS else "recurra"


def forbidden(room: str, names: set[str]) -> list[str]:
    """The imports that go up or sideways."""
    ours = {name for name in names if name.split(".")[0] == "recurra"}
    return sorted(name for name in ours if room_of(name) != room and FLOORS[room_of(name)] >= FLOORS[room])


def module_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_imports_go_down(path):
    module = module_of(path)
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    wrong = forbidden(room_of(module), imported(parsed(path), package))
    assert not wrong, f"{module} stands on floor {FLOORS[room_of(module)]} and must not import {', '.join(wrong)}"


@pytest.mark.parametrize("path", sorted((PACKAGE / "equations").glob("*.py")), ids=name_of)
def test_equations_do_not_import_torch(path):
    assert not [name for name in imported(parsed(path), "recurra.equations") if name.split(".")[0] == "torch"]


def test_every_folder_has_a_floor():
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert folders <= set(FLOORS)
    assert {path.name for path in PACKAGE.glob("*.py")} <= {"__init__.py", "__main__.py"}


@pytest.mark.parametrize(
    ("room", "line", "allowed"),
    [
        ("layers", "from recurra.kernels.dispatch import run", True),
        ("layers", "import recurra.layers.stack", True),
        ("layers", "from . import stack", True),
        ("layers", "from recurra.data.batch import Batch", False),
        ("layers", "from ..training import loop", False),
        ("layers", "from recurra import training", False),
        ("layers", "def f():\n    from recurra.cli import main", False),
        ("layers", "if TYPE_CHECKING:\n    from recurra import load", False),
        ("cells", "from recurra.kernels import plan", False),
        ("cli", "from recurra import load", True),
        ("serving", "import recurra.cli.main", False),
        ("base", "import torch, recurrance", True),
    ],
)
def test_the_rule_sees_what_it_should(room, line, allowed):
    assert (forbidden(room, imported(ast.parse(line), f"recurra.{room}")) == []) is allowed


def import_graph() -> dict[str, set[str]]:
    """Module -> the modules of the package that it imports, at its top, in functions and for types."""
    modules = {module_of(path): path for path in SOURCES}
    graph: dict[str, set[str]] = {}
    for module, path in modules.items():
        package = module if path.name == "__init__.py" else module.rpartition(".")[0]
        names = imported(parsed(path), package)
        nearest = {name if name in modules else name.rpartition(".")[0] for name in names}
        graph[module] = (nearest & modules.keys()) - {module}
    return graph


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Groups of modules each of which leads to the others."""

    def reached(start: str) -> set[str]:
        waiting, known = list(graph[start]), set()
        while waiting:
            module = waiting.pop()
            if module not in known:
                known.add(module)
                waiting.extend(graph[module])
        return known

    reach = {module: reached(module) for module in graph}
    groups = {frozenset({module} | {other for other in reach[module] if module in reach[other]}) for module in graph}
    return sorted(sorted(group) for group in groups if len(group) > 1)


def test_files_import_each_other_in_no_circle():
    assert circles(import_graph()) == []


def test_a_circle_would_be_seen():
    graph = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": set()}
    assert circles(graph) == [["a", "b", "c"]]
