"""Runs that an earlier release wrote load, predict as before, and write their report, wherever the folder lies."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest

from golden.comparison import assert_equal_values
from golden.predictions import predictions
from golden.variants import VARIANTS
from recurra.cli.main import main

GOLDEN = Path(__file__).parent
RUNS = sorted(path.stem for path in (GOLDEN / "predictions").glob("*.json"))


@pytest.fixture
def run(request, tmp_path, monkeypatch):
    """Copy the run folder that the parameter names; data files are named relative to tests/golden."""
    monkeypatch.chdir(GOLDEN)
    return Path(shutil.copytree(GOLDEN / "runs" / request.param, tmp_path / "copy"))


def test_every_run_folder_has_its_records():
    folders = {path.name for path in (GOLDEN / "runs").iterdir()}
    assert folders == set(RUNS)
    assert folders >= VARIANTS.keys()


@pytest.mark.parametrize(("run", "name"), [(name, name) for name in RUNS], indirect=["run"], ids=RUNS)
def test_predictions_in_python_are_those_of_the_earlier_release(run, name):
    expected = json.loads((GOLDEN / "predictions" / f"{name}.json").read_text(encoding="utf-8"))
    assert_equal_values(predictions(run), expected, name)


COMMANDS = [name for name, variant in VARIANTS.items() if variant.commands]


@pytest.mark.parametrize(("run", "name"), [(name, name) for name in COMMANDS], indirect=["run"], ids=COMMANDS)
def test_commands_print_what_they_printed(run, name, tmp_path, capsys):
    file = tmp_path / "out.csv"
    for record in json.loads((GOLDEN / "expected" / f"{name}.json").read_text(encoding="utf-8")):
        words = [{"RUN": str(run), "OUT": str(file)}.get(word, word) for word in record["command"]]
        path = " ".join(record["command"])
        capsys.readouterr()
        code = main(words)
        printed = capsys.readouterr()
        assert code == 0, f"{path}: {printed.err}"
        if "csv" in record:
            rows = list(csv.reader(file.read_text(encoding="utf-8").splitlines()))
            assert_equal_values(_numbers(rows), _numbers(record["csv"]), path)
            continue
        lines = [json.loads(line) for line in printed.out.splitlines()]
        # The copy of the folder has another name.
        expected = [{key: value for key, value in line.items() if key != "run"} for line in record["output"]]
        assert_equal_values(lines, expected, path)


@pytest.mark.parametrize("run", VARIANTS, indirect=True)
def test_the_report_is_written(run, capsys):
    assert main(["report", str(run)]) == 0, capsys.readouterr().err
    assert "</html>" in (run / "report.html").read_text(encoding="utf-8")


def _numbers(rows: list[list[str]]) -> list[list[str | float]]:
    return [[_number(cell) for cell in row] for row in rows]


def _number(cell: str) -> str | float:
    try:
        return float(cell)
    except ValueError:
        return cell
