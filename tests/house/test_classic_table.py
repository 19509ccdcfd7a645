"""The table of the classic tasks is what the tool makes of the committed measurements, and every task has a row."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import tomllib

from house.tree import ROOT
from recurra.tasks.classic import TASKS, task_settings

_FOLDER = ROOT / "recipes" / "classic"
_ROWS = tomllib.loads((_FOLDER / "rows.toml").read_text(encoding="utf-8"))
_ELSEWHERE = {"ntm_copy", "chorales"}
"""Their figures stand in recipes/ntm and docs/how-to/compare.md."""


def test_the_table_is_generated():
    done = subprocess.run([sys.executable, "table.py", "--check"], cwd=_FOLDER, check=False)
    assert done.returncode == 0, "run: python recipes/classic/table.py"


def test_every_task_has_a_row():
    assert {shlex.split(row["run"])[0] for row in _ROWS.values()} == set(TASKS) - _ELSEWHERE


def test_what_was_measured_is_what_the_row_says():
    for name, row in _ROWS.items():
        task, *words = shlex.split(row["run"])
        named = dict(zip(words[::2], words[1::2], strict=True))
        overrides = [value for key, value in zip(words[::2], words[1::2], strict=True) if key == "--set"]
        settings = task_settings(
            task,
            overrides,
            cell=named.get("--cell"),
            hidden=int(named["--hidden"]) if "--hidden" in named else None,
            rate=float(named["--rate"]) if "--rate" in named else None,
            iterations=int(named["--iterations"]) if "--iterations" in named else None,
        )
        lines = (_FOLDER / "measured" / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
        assert lines, name
        for found in map(json.loads, lines):
            assert found["task"] == task, name
            assert (found["cell"], found["hidden"]) == (settings.cell, settings.hidden), name
            assert found["updates"] <= settings.train.iterations, name
            if found.get("commit"):
                assert found["set"] == overrides, name
