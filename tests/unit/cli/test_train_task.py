"""recurra train task: what it lists, writes, continues and refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from recurra.tasks.classic import TASKS
from unit.cli.command_line import Ended, Recurra

TINY = ("--set", "strings=16", "--set", "stop=false", "--set", "train.evaluate_every=4", "--quiet")


def refused(ended: Ended, *parts: str) -> None:
    assert ended.code == 2, ended
    assert ended.out == ""
    assert "Traceback" not in ended.err
    for part in parts:
        assert part in ended.err, ended.err


def test_without_a_name_it_lists_the_tasks(recurra: Recurra) -> None:
    ended = recurra("train", "task")
    assert ended.code == 0
    assert all(name in ended.out and task.title in ended.out for name, task in TASKS.items())
    listed = json.loads(recurra("train", "task", "--json").out)
    assert [one["name"] for one in listed] == list(TASKS)
    assert all(one["source"] and one["paper"] for one in listed)


def test_a_run_its_folder_and_its_report(recurra: Recurra, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    words = ("train", "task", "embedded_reber", "--out", folder, "--iterations", "8", "--hidden", "6", *TINY)
    ended = recurra(*words)
    assert ended.code == 0
    assert ended.err == ""
    for part in ("embedded_reber: not solved", "sequences   8", "Published: LSTM 8,440 strings", "report.html"):
        assert " ".join(part.split()) in " ".join(ended.out.split()), ended.out
    assert {"config.toml", "run.json", "weights.safetensors", "metrics.jsonl", "report.html"} <= {
        path.name for path in folder.iterdir()
    }
    assert "recurra train task embedded_reber --out" in (folder / "report.html").read_text()
    refused(recurra(*words), "holds a run already", "recurra train task embedded_reber --out")
    # The run's own settings come back: nothing but the new limit is named.
    more = recurra("train", "task", "embedded_reber", "--out", folder, "--resume", "--iterations", "12", "--json")
    assert more.code == 0
    numbers = json.loads(more.out)
    assert (numbers["updates"], numbers["hidden"], numbers["sequences"]) == (12, 6, 12)
    assert numbers["report"] == str(folder / "report.html")


def test_without_a_folder_nothing_is_written(recurra: Recurra, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ended = recurra("train", "task", "reber", "--iterations", "2", "--json", *TINY)
    assert json.loads(ended.out)["report"] is None
    assert not list(tmp_path.iterdir())


def test_options_are_those_of_the_task(recurra: Recurra) -> None:
    words = ("--cell", "gru", "--hidden", "5", "--rate", "0.5", "--seed", "3", "--batch", "2", "--set", "strings=7")
    shown = recurra("train", "task", "reber", "--show-config", *words).out
    for line in ('cell = "gru"', "hidden = 5", "learning_rate = 0.5", "seed = 3", "batch = 2", "strings = 7"):
        assert line in shown


def test_what_cannot_be_is_refused(recurra: Recurra, tmp_path: Path) -> None:
    refused(recurra("train", "task", "embeded_reber"), "no task is called 'embeded_reber'", "There are: embedded_reber")
    refused(recurra("train", "task", "reber", "adding"), "one task at a time, got reber, adding")
    refused(
        recurra("train", "task", "reber", "--level", "byte", "--config", "x"), "unrecognized arguments: --level byte"
    )
    refused(recurra("train", "task", "reber", "--hidden", "0", "--set", "strins=3"), "2 settings are wrong", "strings")
    refused(recurra("train", "task", "reber", "--resume"), "--resume needs the folder of the run")
    refused(recurra("train", "task", "reber", "--out", ""), "--out is empty")
    refused(recurra("train", "task", "chorales"), "no file of piano rolls was named", "--set data=JSB_Chorales.mat")
    refused(recurra("train", "task", "reber", "--cell", "lstn"), "no cell is called 'lstn'")
    refused(recurra("train", "text"), "--out is missing")
    folder = tmp_path / "run"
    assert recurra("train", "task", "reber", "--out", folder, "--iterations", "2", *TINY).code == 0
    refused(
        recurra("train", "task", "adding", "--out", folder, "--resume"),
        "is a run of the task reber, one of adding was expected",
    )
    refused(
        recurra("train", "task", "reber", "--out", folder, "--resume", "--hidden", "9"),
        "a run goes on with the settings it began with",
        "hidden: 4 then, 9 now",
    )
    refused(recurra("train", "task", "reber", "--out", tmp_path / "no", "--resume"), "holds no run that could be")
