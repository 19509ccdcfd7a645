"""The task of docs/how-to/add-a-task.md, in a file of the user's own, is as good as ours."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import recurra
from recurra.base.errors import UnknownName
from recurra.checks.task import CHECKS, Battery
from recurra.cli.main import main
from recurra.tasks.registry import task_named

PAGE = Path(__file__).parents[4] / "docs" / "how-to" / "add-a-task.md"
CELL = '''
from recurra import Cell, sigmoid, tanh

class Forgetful(Cell):
    """Forgets."""
    states = "h"
    def step(self, x, h, W, U, b):
        f = sigmoid(W.f @ x + U.f @ h + b.f)
        return f * h + (1 - f) * tanh(W.n @ x + b.n)
'''


@pytest.fixture(scope="module")
def mine(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("own")
    source = re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert source
    (folder / "mine.py").write_text(source.group(1), encoding="utf-8")
    (folder / "cell.py").write_text(CELL, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def battery(mine, tmp_path_factory):
    from recurra.base.code import load_code

    reference = f"{mine / 'mine.py'}:Names"
    load_code(reference)
    return Battery(main, reference, tmp_path_factory.mktemp("battery") / "work")


@pytest.mark.parametrize("check", CHECKS)
def test_it_keeps_the_contract(battery, check):
    CHECKS[check](battery)


def test_all_verbs(battery, mine, tmp_path, capsys):
    run, code = str(battery.trained), ["--code", f"{mine / 'mine.py'}:Names"]
    names = tmp_path / "new.txt"
    names.write_text("rossini\nnovakova\n")
    assert main(["classify", run, str(names), *code, "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["unique_id"] for line in lines] == ["rossini", "novakova"]
    assert main(["eval", run, *code]) == 0
    assert "accuracy" in capsys.readouterr().out
    assert main(["report", run, *code]) == 0
    assert main(["tag", run, str(names), *code]) == 2
    assert "classifies" in capsys.readouterr().err
    words = ["compare", code[1], "--set", f"file={battery.example[0]}", "--cells", "gru,elman", "--parameters", "500"]
    options = [
        "--seeds",
        "0",
        "--trials",
        "0",
        "--iterations",
        "5",
        "--jobs",
        "1",
        "--json",
        "--out",
        str(tmp_path / "c"),
    ]
    assert main([*words, *options]) == 0
    assert {row["cell"] for row in json.loads(capsys.readouterr().out)["rows"]} == {"gru", "elman"}


def test_a_cell_of_ones_own_in_ones_own_task(mine, tmp_path, capsys):
    from recurra.tasks.registry import task_named

    words = task_named("mine.py:Names").example(tmp_path)
    cell = f"{mine / 'cell.py'}:Forgetful"
    run = tmp_path / "run"
    assert main(["train", f"{mine / 'mine.py'}:Names", *words, "--cell", cell, "--out", str(run), "--quiet"]) == 0
    assert 'cell = "cell.py:Forgetful"' in (run / "config.toml").read_text()
    note = json.loads((run / "run.json").read_text())
    assert note["code"]["cell"]["digest"]
    assert str(mine) not in json.dumps(note["code"])
    assert main(["eval", str(run), "--json"]) == 0


def run_alone(*words: str, cwd: Path) -> subprocess.CompletedProcess:
    """In a process of its own, in which nothing was named before."""
    command = [sys.executable, "-m", "recurra", *words]
    return subprocess.run(command, check=False, cwd=cwd, capture_output=True, text=True, env=dict(os.environ))


def test_a_run_of_it_says_which_code_is_missing_and_imports_nothing(battery, mine, tmp_path):
    run = str(battery.trained)
    canary = tmp_path / "mine.py"
    canary.write_text(f"open({str(tmp_path / 'imported')!r}, 'w')\n")
    ended = run_alone("eval", run, cwd=tmp_path)
    assert ended.returncode == 2
    assert "mine.py:Names" in ended.stderr
    assert "--code" in ended.stderr
    assert not (tmp_path / "imported").exists()
    named = run_alone("eval", run, "--code", f"{mine / 'mine.py'}:Names", "--json", cwd=tmp_path)
    assert named.returncode == 0, named.stderr
    assert json.loads(named.stdout)["accuracy"] > 0.5


def test_code_that_changed_is_told(battery, mine, tmp_path):
    other = tmp_path / "mine.py"
    other.write_text((mine / "mine.py").read_text() + "\n# changed\n")
    ended = run_alone("eval", str(battery.trained), "--code", f"{other}:Names", cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert "has changed since this run was trained" in ended.stderr


def test_load_in_python(battery, mine):
    assert recurra.load(battery.trained, code=[f"{mine / 'mine.py'}:Names"]).prepared.languages
    with pytest.raises(UnknownName, match="is called 'nothing'"):
        task_named("nothing")


def test_a_check_that_there_is_not_is_refused(capsys):
    assert main(["check-task", "tag", "--only", "load"]) == 2
    error = capsys.readouterr().err
    assert "no check is called 'load'" in error
    assert "loads" in error
