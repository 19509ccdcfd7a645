"""A cell's docstring opens with its equations, as traced; and it says where they come from."""

from __future__ import annotations

import ast
import inspect
import re
from importlib import import_module

import pytest

from house.tree import PACKAGE, parsed
from recurra.cells import CELLS, lstm_variants
from recurra.equations.cell import Cell
from recurra.equations.show import equations

REFERENCES = PACKAGE / "cells" / "references.bib"
OTHERS = ("__init__", "interop", "lstm_variants", "sources")
FILES = sorted(path for path in (PACKAGE / "cells").glob("*.py") if path.stem not in OTHERS)
REQUIRED = {
    "article": {"journal", "volume", "pages"},
    "inproceedings": {"booktitle", "pages"},
    "techreport": {"institution", "number"},
    "misc": {"eprint", "archiveprefix"},
}


def entries() -> dict[str, tuple[str, dict[str, str]]]:
    """Key -> (kind, fields) of the bibliography."""
    found = {}
    for kind, key, body in re.findall(r"^@(\w+)\{(\w+),\n(.*?)^\}$", REFERENCES.read_text(), re.MULTILINE | re.DOTALL):
        assert key not in found, f"{key} is there twice"
        found[key] = kind, dict(re.findall(r"^  (\w+) *= \{(.*?)\},$", body, re.MULTILINE | re.DOTALL))
    return found


@pytest.mark.parametrize("name", CELLS)
def test_the_docstring_holds_the_equations_that_run(name):
    documented = inspect.getdoc(CELLS[name])
    assert documented is not None
    block = re.search(r"\n\n((?:    .*\n?)+)", documented)
    assert block is not None, "no indented block of equations"
    assert inspect.cleandoc(block.group(1)) == equations(CELLS[name]().spec)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_is_a_cell(path):
    classes = [node for node in parsed(path).body if isinstance(node, ast.ClassDef)]
    assert len(classes) == 1
    cell = getattr(import_module(f"recurra.cells.{path.stem}"), classes[0].name)
    assert issubclass(cell, Cell)
    assert cell().name == path.stem
    assert CELLS[path.stem] is cell


def test_every_cell_has_a_file():
    derived = {name for name in CELLS if CELLS[name].__module__ == lstm_variants.__name__}
    assert {CELLS[name].__name__ for name in derived} == set(lstm_variants.__all__)
    assert {path.stem for path in FILES} | derived == set(CELLS)


@pytest.mark.parametrize("name", CELLS)
def test_sources(name):
    known, cell, documented = entries(), CELLS[name], inspect.getdoc(CELLS[name]) or ""
    assert cell.cite, "no source"
    assert set(cell.cite) <= set(known), "not in references.bib"
    for key in cell.cite:
        author, year = re.fullmatch(r"([a-z]+)(\d{4})", key).groups()  # pyright: ignore[reportOptionalMemberAccess]
        assert re.search(rf"{author}\b.*?\b{year}", documented, re.IGNORECASE | re.DOTALL), f"{key}: not in the text"


@pytest.mark.parametrize("key", entries())
def test_references_are_whole(key):
    kind, fields = entries()[key]
    assert {"author", "title", "year"} | REQUIRED[kind] <= set(fields)
    assert key == re.match(r"[A-Za-z]+", fields["author"]).group().lower() + fields["year"]  # pyright: ignore[reportOptionalMemberAccess]
    assert all(value.count("{") == value.count("}") for value in fields.values())
    assert {"doi", "eprint", "note"} & set(fields) or fields["journal"] == "Journal of Machine Learning Research"


def test_no_reference_is_left_over():
    assert set(entries()) == {key for name in CELLS for key in CELLS[name].cite}


def test_references_are_shipped():
    assert '"cells/references.bib"' in (PACKAGE.parents[1] / "pyproject.toml").read_text()
