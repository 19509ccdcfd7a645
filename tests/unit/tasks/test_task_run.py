"""Steps and repetitions of a training: stored as they finish, and a resumed run goes on with the very same values."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recurra.tasks.registry import task_named
from recurra.tasks.run import TaskRun

TASK = task_named("forecast")


def task_run(folder, **options) -> TaskRun:
    return TaskRun(TASK, TASK.settings(), folder, **options)


class Stopped(Exception):
    """Stands for a killed process."""


def grown(state: dict) -> dict:
    # The types tell a state that went through a checkpoint from one that did not.
    state["kinds"].append(f"{type(state['pair']).__name__} {type(state['sum']).__name__}")
    return {**state, "sum": state["sum"] * 3 + np.arange(3), "weight": state["weight"] + 1}


def begin() -> dict:
    return {"sum": np.ones(3), "weight": torch.zeros(2), "pair": (1, 2), "kinds": []}


@pytest.mark.parametrize("stop", [1, 2, 4])
def test_repeat_resumes_to_the_bit(tmp_path, stop):
    whole = task_run(tmp_path / "whole").repeat("rounds", begin(), grown, 5)
    calls = []

    def until_stopped(state: dict) -> dict:
        if len(calls) == stop:
            raise Stopped
        calls.append(0)
        return grown(state)

    with pytest.raises(Stopped):
        task_run(tmp_path / "cut").repeat("rounds", begin(), until_stopped, 5)
    resumed = task_run(tmp_path / "cut", resume=True).repeat("rounds", begin(), grown, 5)
    assert resumed["kinds"][1:] == whole["kinds"][1:]
    assert resumed["sum"].tolist() == whole["sum"].tolist()
    assert resumed["weight"].tolist() == whole["weight"].tolist() == [5.0, 5.0]


def test_finished_steps_are_not_run_again(tmp_path):
    first = task_run(tmp_path).step("initial", lambda size: {"mean": np.arange(size)}, 4)

    def again(size: int) -> None:
        raise AssertionError(f"run again with {size}")

    second = task_run(tmp_path, resume=True).step("initial", again, 4)
    assert type(first["mean"]) is type(second["mean"])
    assert first["mean"].tolist() == second["mean"].tolist() == [0, 1, 2, 3]


def test_without_a_folder_nothing_is_stored():
    run = task_run(None)
    assert run.repeat("rounds", 1, lambda state: state * 2, 5) == 32
    assert run.step("initial", int, "7") == 7
