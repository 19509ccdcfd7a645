"""The examples in docstrings print what they say."""

from __future__ import annotations

import doctest
import importlib
import re

import pytest

from house.tree import PACKAGE, SOURCES, name_of

EXAMPLE = re.compile(r"^ *>>> (?!.*doctest: \+SKIP)", re.MULTILINE)
WITH_EXAMPLES = [path for path in SOURCES if EXAMPLE.search(path.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=name_of)
def test_examples(path):
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    module = importlib.import_module(".".join(part for part in parts if part != "__init__"))
    result = doctest.testmod(module)
    assert result.attempted > 0, "its examples are out of reach of doctest"
    assert result.failed == 0, "what failed is in the captured output"
