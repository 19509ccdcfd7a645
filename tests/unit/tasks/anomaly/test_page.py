"""The how-to pages of anomalies and of watch: their blocks run, top to bottom."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGES = Path(__file__).resolve().parents[4] / "docs" / "how-to"


@pytest.mark.parametrize(("page", "count"), [("anomalies.md", 2), ("watch.md", 1)])
def test_every_block_runs(page, count):
    names = {}
    text = (PAGES / page).read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert len(blocks) == count
    for block in blocks:
        exec(block, names)
