"""The command that compares cells: table, JSON, report, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from recurra.base.errors import ConfigError
from recurra.cli.compare import rate_range, seeds_of
from unit.cli.command_line import Recurra

QUICK = (
    *("compare", "xor_sequence", "--parameters", "100", "--trials", "0", "--rate", "0.05", "--iterations", "3"),
    *("--set", "tested=5", "--set", "train.evaluate_every=3", "--jobs", "1"),
)


@pytest.mark.slow
def test_a_table_and_its_json(recurra: Recurra, tmp_path: Path) -> None:
    ended = recurra(*QUICK, "--cells", "elman,gru", "--seeds", "0-1", "--out", tmp_path / "c")
    assert ended.code == 0
    head, columns, *rows = ended.out.splitlines()
    assert head == "xor_sequence: right (higher is better)"
    assert columns.split()[:6] == ["cell", "hidden", "parameters", "rate", "seeds", "mean"]
    assert {row.split()[0] for row in rows[:2]} == {"elman", "gru"}
    assert "p: Welch's t test against" in ended.out
    assert "4/4" in ended.err
    again = recurra(*QUICK, "--cells", "elman,gru", "--seeds", "0-1", "--out", tmp_path / "c", "--json")
    found = json.loads(again.out)
    assert again.err == ""
    assert [row["cell"] for row in found["rows"]] == [row.split()[0] for row in rows[:2]]
    assert all(len(row["values"]) == 2 for row in found["rows"])
    assert Path(found["report"]).exists()


def test_what_cannot_be_is_refused(recurra: Recurra, tmp_path: Path) -> None:
    out = ("--out", tmp_path / "c")
    for words, fact in (
        (("--cells", "lstn"), "no cell is called 'lstn'"),
        (("--cells", ","), "at least one cell"),
        (("--seeds", "a-b"), "--seeds reads 0-4 or 0,3,7, got 'a-b'"),
        (("--seeds", "4-2"), "names no seed"),
        (("--jobs", "0"), "--jobs must be at least 1"),
        (("--jobs", "two"), "--jobs must be a number"),
        (("--rate", "0.1,0.2,0.3"), "--rate reads LOW,HIGH"),
        (("--rate", "0.2,0.1"), "from low to high"),
        (("--parameters", "many"), "parameters"),
        (("--set", "no.such=1"), "no such setting"),
    ):
        ended = recurra(*QUICK, *out, *words)
        assert ended.code == 2, words
        assert fact in ended.err
        assert "Traceback" not in ended.err
    assert recurra("compare", "no_such_task", *out).code == 2
    assert not (tmp_path / "c" / "results.jsonl").exists()


def test_seeds_and_rates_as_typed():
    assert seeds_of("0-2,7") == [0, 1, 2, 7]
    assert rate_range("0.1", "xor_sequence", []) == (0.1, 0.1)
    assert rate_range("1e-3,1e-1", "xor_sequence", []) == (1e-3, 1e-1)
    assert rate_range(None, "xor_sequence", ["train.optim.learning_rate=0.02"]) == (0.002, 0.2)
    with pytest.raises(ConfigError, match="got 'nan'"):
        rate_range("nan", "xor_sequence", [])
