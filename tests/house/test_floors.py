"""Rooms stand on floors: a module imports from rooms on lower floors and from its own, never up or sideways.

Within a room the files have an order too: no import leads from a file back to itself.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
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


def package_of(path: Path) -> str:
    """The package that the relative imports of a file start from."""
    return ".".join(path.relative_to(PACKAGE.parent).parent.parts)


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_imports_go_down(path):
    module = module_of(path)
    wrong = forbidden(room_of(module), imported(parsed(path), package_of(path)))
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


Graph = Mapping[str, Iterable[str]]


def import_graph(imports: Graph) -> dict[str, list[str]]:
    """Return module -> the other modules that it imports, from module -> the full names that it imports.

    A name that is no module is defined in the module before its last dot; `from package import name` leads to
    package/__init__.py unless the name is a module of the package.
    """
    graph: dict[str, list[str]] = {}
    for module, names in imports.items():
        targets = {name if name in imports else name.rpartition(".")[0] for name in names}
        graph[module] = sorted((targets & imports.keys()) - {module})
    return graph


def shortest_path(graph: Graph, start: str, end: str) -> list[str]:
    """Return the modules from `start` to `end` along at least one import; [] where no imports lead there."""
    paths, visited = [[start]], set()
    for path in paths:
        for target in graph[path[-1]]:
            if target == end:
                return [*path, end]
            if target not in visited:
                visited.add(target)
                paths.append([*path, target])
    return []


def import_cycles(graph: Graph) -> list[list[str]]:
    """Return a shortest cycle of every strongly connected component: [a, b, c, a]."""
    cycles: list[list[str]] = []
    remaining = set(graph)
    while remaining:
        cycle = min(
            filter(None, (shortest_path(graph, module, module) for module in sorted(remaining))), key=len, default=[]
        )
        if not cycle:
            break
        component = {m for m in remaining if shortest_path(graph, cycle[0], m) and shortest_path(graph, m, cycle[0])}
        cycles.append(cycle)
        remaining -= component
    return cycles


def explanation(cycles: list[list[str]]) -> str:
    lines = [" -> ".join(cycle) for cycle in cycles]
    hint = "Hint: pass the value in, describe it by a Protocol, or move what both files need to a third."
    return "\n  ".join(["Files import each other, counting imports in functions and for types:", *lines, hint])


def test_files_do_not_import_each_other():
    imports = {module_of(path): imported(parsed(path), package_of(path)) for path in SOURCES}
    cycles = import_cycles(import_graph(imports))
    assert not cycles, explanation(cycles)


def test_import_cycles_of_a_graph():
    graph = {"a": "bd", "b": "c", "c": "ad", "d": "", "e": "a", "f": "gh", "g": "f", "h": "f"}
    assert import_cycles(graph) == [["f", "g", "f"], ["a", "b", "c", "a"]]
    assert "\n  f -> g -> f\n  a -> b -> c -> a\n" in explanation(import_cycles(graph))


@pytest.mark.parametrize(
    ("line", "cycle"),
    [
        ("import net.b", []),
        ("def f():\n    from net.a import g", ["net.a", "net.b", "net.a"]),
        ("if TYPE_CHECKING:\n    from net import a", ["net.a", "net.b", "net.a"]),
        ("from .a import g", ["net.a", "net.b", "net.a"]),
        ("from net import g", ["net", "net.b", "net"]),
    ],
)
def test_import_cycles_of_sources(line, cycle):
    sources = {"net": "from net.b import g", "net.a": "import torch\nfrom net.b import g", "net.b": line}
    imports = {module: imported(ast.parse(source), "net") for module, source in sources.items()}
    assert import_cycles(import_graph(imports)) == ([cycle] if cycle else [])
