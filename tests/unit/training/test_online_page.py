"""The page on online gradients: its block runs, and its table is what the block gives."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

PAGE = Path(__file__).resolve().parents[3] / "docs" / "ideas" / "online-gradients.md"


def test_the_page_runs_and_has_its_table_from_there():
    text = PAGE.read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(block, PAGE.name, "exec"), names)
    online, tbptt, cosine = names["online"], names["tbptt"], names["cosine"]
    rows = re.findall(r"^\| ([a-z]\w+) \|((?: [\d.]+ \|){5})$", text, re.MULTILINE)
    assert [cell for cell, _ in rows] == ["elman", "lstm", "gru", "gru_v1", "ind_rnn"]
    for cell, printed in rows:
        uoro = online("uoro", generator=torch.Generator().manual_seed(0))
        found = [cosine(cell, method) for method in (online("snap1"), online("eprop"), uoro, tbptt(1, 1), tbptt(1, 10))]
        assert found == pytest.approx([float(part) for part in printed.split("|")[:-1]], abs=6e-4), cell
