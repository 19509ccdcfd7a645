"""The how-to pages of trees, images and memory: every block runs, top to bottom."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

PAGES = Path(__file__).resolve().parents[3] / "docs" / "how-to"


@pytest.mark.parametrize("name", ["trees", "images", "memory"])
def test_a_page_runs(name):
    torch.manual_seed(0)
    blocks = re.findall(r"```python\n(.*?)```", (PAGES / f"{name}.md").read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) > 2
    space: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, f"{name}.md", "exec"), space)
