"""Files stay small, say what they are and what they offer, and raise errors instead of asserting."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import pytest

from house.tree import PACKAGE, ROOT, SOURCES, all_names, name_of, parsed, within

LINES = 500
BANNED = re.compile(r"(utils?|helpers?|common|misc|tools?|manager|.*_(utils?|helpers?|manager))\.py")
MODULES = [path for path in SOURCES if path.name not in ("__init__.py", "__main__.py")]
EVERYTHING = within("src", "tests", "benchmarks", "tools")


@pytest.mark.parametrize("path", EVERYTHING, ids=name_of)
def test_a_file_can_be_read_in_one_go(path):
    count = len(path.read_text(encoding="utf-8").splitlines())
    assert count <= LINES, f"{count} lines, {LINES} is the wall: something wants to move out"


@pytest.mark.parametrize("path", EVERYTHING, ids=name_of)
def test_a_file_says_what_it_is(path):
    assert ast.get_docstring(parsed(path)) or not path.read_text().strip(), "no docstring at the top"
    assert not BANNED.fullmatch(path.name), "a name that says what the file is about, please"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_says_what_it_offers(path):
    names = all_names(parsed(path))
    assert names is not None, "__all__ is missing"
    assert len(set(names)) == len(names), "__all__ names something twice"
    module = importlib.import_module(".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts))
    missing = [name for name in names if not hasattr(module, name)]
    assert not missing, f"__all__ promises {', '.join(missing)}"


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_no_assert_and_no_swallowed_error(path):
    for node in ast.walk(parsed(path)):
        assert not isinstance(node, ast.Assert), f"line {node.lineno}: assert vanishes under -O; raise an error"
        if isinstance(node, ast.ExceptHandler) and _catches_everything(node):
            raises = any(isinstance(inner, ast.Raise) for inner in ast.walk(node))
            assert raises, f"line {node.lineno}: catches everything and raises nothing"


def _catches_everything(handler: ast.ExceptHandler) -> bool:
    return handler.type is None or (
        isinstance(handler.type, ast.Name) and handler.type.id in ("Exception", "BaseException")
    )


def test_a_banned_name_would_be_seen():
    assert all(BANNED.fullmatch(name) for name in ("utils.py", "text_utils.py", "helper.py", "run_manager.py"))
    assert not any(BANNED.fullmatch(name) for name in ("tool_use.py", "stream.py", "futility.py"))


def test_the_version_is_written_once():
    stated = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    cited = re.search(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)
    assert stated is not None
    assert cited is not None
    assert stated.group(1) == cited.group(1)


def test_constraints_pin_what_the_project_asks_for():
    pinned = {
        re.sub(r"[-_.]+", "-", line.split("==")[0]).lower()
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line and not line.startswith("#")
    }
    text = (ROOT / "pyproject.toml").read_text()
    wanted = {name.lower() for name in re.findall(r'"([A-Za-z][\w-]*)(?:\[\w+\])?>=[\d.]+(?:,<\d+)?"', text)}
    assert {"torch", "pytest", "keras", "jinja2"} <= wanted
    assert wanted - {"setuptools"} <= pinned
    assert "torch==2.13.0" in (ROOT / "constraints.txt").read_text().splitlines()


def test_no_machine_in_the_files():
    private = re.compile("/" + r"(work|home|root|tmp)/\w+")
    for path in [*SOURCES, ROOT / "Makefile", ROOT / "pyproject.toml", *Path(ROOT / "docs").rglob("*.md")]:
        assert not private.search(path.read_text(encoding="utf-8")), name_of(path)
