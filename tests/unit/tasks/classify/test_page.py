"""The how-to pages of classification and events: their blocks run, top to bottom."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGES = Path(__file__).resolve().parents[4] / "docs" / "how-to"


@pytest.mark.parametrize(("name", "count"), [("classify.md", 4), ("events.md", 2)])
def test_every_block_runs(name, count):
    names = {}
    blocks = re.findall(r"^```python\n(.*?)^```", (PAGES / name).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert len(blocks) == count
    for block in blocks:
        exec(block, names)
