"""Runs of an earlier release load with the same predictions, from wherever their folder lies."""

from __future__ import annotations

import json
import math
import shutil
from typing import Any

import pytest

import recurra
from golden.runs import GOLDEN, RUNS
from recurra.cli.main import main

# Recorded on one kind of CPU; another one sums in another order.
TOLERANCE = 2e-5


def assert_alike(actual: Any, expected: Any, path: str = "") -> None:
    """The structure and every text are equal, numbers to the last digits; what is new beside it is no fault."""
    if isinstance(expected, dict):
        assert isinstance(actual, dict), path
        assert expected.keys() <= actual.keys(), f"{path} lost {expected.keys() - actual.keys()}"
        for name, value in expected.items():
            assert_alike(actual[name], value, f"{path}.{name}")
    elif isinstance(expected, list):
        assert len(actual) == len(expected), path
        for index, value in enumerate(expected):
            assert_alike(actual[index], value, f"{path}[{index}]")
    elif isinstance(expected, float) and not isinstance(expected, bool):
        close = math.isclose(actual, expected, rel_tol=TOLERANCE, abs_tol=TOLERANCE * 0.1)
        assert close, f"{path}: {actual} instead of {expected}"
    else:
        assert actual == expected, path


@pytest.mark.parametrize("name", RUNS)
def test_an_old_run_predicts_as_it_did(name, tmp_path, capsys, monkeypatch):
    run = shutil.copytree(GOLDEN / "runs" / name, tmp_path / "moved")
    monkeypatch.chdir(GOLDEN)
    for record in json.loads((GOLDEN / "expected" / f"{name}.json").read_text()):
        if record["command"] == ["evaluate"]:
            assert_alike([recurra.load(run).evaluate()], record["output"])
            continue
        words = [str(run) if word == "RUN" else word for word in record["command"]]
        capsys.readouterr()
        assert main(words) == 0, capsys.readouterr().err
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        for line, expected in zip(lines, record["output"], strict=True):
            # The folder was moved on purpose.
            expected.pop("run", None)
            assert_alike(line, expected, " ".join(words[:1]))


@pytest.mark.parametrize("name", RUNS)
def test_the_report_of_an_old_run_is_written(name, tmp_path, monkeypatch, capsys):
    run = shutil.copytree(GOLDEN / "runs" / name, tmp_path / "moved")
    monkeypatch.chdir(GOLDEN)
    assert main(["report", str(run)]) == 0, capsys.readouterr().err
    assert "<html" in (run / "report.html").read_text()
