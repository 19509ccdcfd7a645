"""Run folders, of whatever task: what is no run of the task is told apart, and what fails leaves nothing behind."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from recurra.base import config
from recurra.base.config import Settings
from recurra.base.errors import CheckpointError, DataError
from recurra.tasks.classify.run import train_run
from recurra.tasks.classify.settings import CaseSettings, ClassifySettings
from recurra.tasks.folder import CONFIG, NOTE, RunFolder, footer, locked, read_note, task_in, write_note
from recurra.tasks.load import load
from recurra.tasks.registry import TASKS, task_named
from recurra.tasks.settings import TaskSettings
from recurra.tasks.task import Task


class Inner(Settings, frozen=True):
    """Settings within settings."""

    width: int = 3
    minutes: float = 0.0


class Outer(TaskSettings, frozen=True):
    """Settings of a task that there is not."""

    task: str = "knitting"
    train: Inner = Inner()


class Knitting(Task):
    """A task that there is not."""

    settings = Outer
    prepared = dict[str, int]
    prepared_file = "pattern.json"
    free = ("seed",)


def folder(path: Path) -> RunFolder:
    return RunFolder(Knitting(), path)


@pytest.mark.parametrize(("task", "other"), list(itertools.permutations(TASKS, 2)))
def test_a_run_of_another_task_is_named(tmp_path: Path, task: str, other: str) -> None:
    (tmp_path / CONFIG).write_text(f'task = "{other}"\n')
    with pytest.raises(CheckpointError, match=f"is a run of the task {other}, one of {task} was expected"):
        RunFolder(task_named(task), tmp_path).settings()


@pytest.mark.parametrize("task", list(TASKS))
def test_what_is_no_run_names_its_siblings(tmp_path: Path, task: str) -> None:
    (tmp_path / "airline").mkdir()
    (tmp_path / "airline" / CONFIG).write_text(f'task = "{task}"\n')
    with pytest.raises(CheckpointError, match=r"no such run[\s\S]*airline\."):
        load(tmp_path / "airlines")


def test_a_run_goes_on_with_the_settings_it_began_with(tmp_path: Path) -> None:
    with folder(tmp_path).opened(Outer(), False, command="recurra train knitting") as begin:
        begin()
    with pytest.raises(CheckpointError, match=r"holds a run already.*nothing was changed"):
        folder(tmp_path).check(Outer(), False)
    folder(tmp_path).check(Outer(seed=4, train=Inner(minutes=2.0)), True)
    with pytest.raises(CheckpointError, match=r"train\.width: 3 then, 5 now"):
        folder(tmp_path).check(Outer(train=Inner(width=5)), True)
    with folder(tmp_path).opened(Outer(seed=4), True, command="recurra train knitting --resume") as begin:
        begin()
    assert read_note(tmp_path)["commands"] == ["recurra train knitting", "recurra train knitting --resume"]
    assert folder(tmp_path).settings().seed == 4


def test_files_of_others_are_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "pattern.json").write_text("mine")
    with (
        pytest.raises(CheckpointError, match=r"would overwrite: pattern\.json"),
        folder(tmp_path).opened(Outer(), False),
    ):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["pattern.json"]
    with pytest.raises(CheckpointError, match="no run that could be continued"):
        folder(tmp_path).check(Outer(), True)
    with pytest.raises(CheckpointError, match="is a file"):
        folder(tmp_path / "pattern.json").check(Outer(), False)


def test_one_process_at_a_time(tmp_path: Path) -> None:
    with locked(tmp_path):
        fault = pytest.raises(CheckpointError, match="another process trains there")
        with fault, folder(tmp_path).opened(Outer(), False):
            pass
    assert not (tmp_path / CONFIG).exists()


def test_unfinished_and_damaged_files(tmp_path: Path) -> None:
    config.save(Outer(), tmp_path / CONFIG)
    with pytest.raises(CheckpointError, match=r"not finished[\s\S]*recurra train knitting --out .* --resume"):
        folder(tmp_path).prepared()
    (tmp_path / "pattern.json").write_text('{"rows": 3')
    with pytest.raises(CheckpointError, match="is damaged"):
        folder(tmp_path).prepared()
    (tmp_path / "pattern.json").write_text('{"rows": "three"}')
    with pytest.raises(CheckpointError, match="is damaged"):
        folder(tmp_path).prepared()


def test_notes(tmp_path: Path) -> None:
    write_note(tmp_path, rows=3)
    write_note(tmp_path, columns=2)
    assert read_note(tmp_path) == {"rows": 3, "columns": 2}
    (tmp_path / NOTE).write_text('{"format": 99}')
    with pytest.raises(CheckpointError, match="is of format 99"):
        read_note(tmp_path)
    # Notes of an earlier version have less of the machine.
    assert footer({"environment": {"python": "3.11.7", "threads": 2}}) == "Python 3.11.7"


def test_a_config_without_a_task(tmp_path: Path) -> None:
    (tmp_path / CONFIG).write_text("seed = 3\n")
    assert task_in(tmp_path) is None
    (tmp_path / CONFIG).write_text("seed = \n")
    assert task_in(tmp_path) is None


def test_data_that_cannot_be_used_leaves_no_run(tmp_path: Path) -> None:
    (tmp_path / "cases.csv").write_text("a,b\n1,2\n")
    settings = ClassifySettings(data=CaseSettings(file=str(tmp_path / "cases.csv")))
    with pytest.raises(DataError):
        train_run(settings, tmp_path / "run")
    assert not (tmp_path / "run").exists()
