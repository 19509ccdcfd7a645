"""The source files of the checkout and their syntax trees, for the tests of the house."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

__all__ = ["PACKAGE", "ROOT", "SOURCES", "all_names", "imported", "name_of", "parsed", "within"]

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "recurra"
SOURCES = sorted(PACKAGE.rglob("*.py"))


def name_of(path: Path) -> str:
    """The path within the checkout: what a failing test is called."""
    return str(path.relative_to(ROOT))


def within(*folders: str) -> list[Path]:
    """All Python files in these folders of the checkout."""
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


@cache
def parsed(path: Path) -> ast.Module:
    """The syntax tree of a file."""
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imported(tree: ast.Module, package: str) -> set[str]:
    """Full names of all that a module imports, at its top, in functions and under TYPE_CHECKING."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")
                base = ".".join([*parents[: len(parents) - node.level + 1], *filter(None, [base])])
            names.update(f"{base}.{alias.name}" for alias in node.names)
    return names


def all_names(tree: ast.Module) -> list[str] | None:
    """The value of `__all__`; None where there is none that can be read."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets):
            return ast.literal_eval(node.value)
    return None
