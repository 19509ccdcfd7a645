"""Curricula of the classic tasks: the full one is the task itself, the others climb, resume to the bit and say so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from recurra.base.errors import ConfigError
from recurra.base.rng import Streams
from recurra.tasks.classic import TASKS, run_task, task_settings
from recurra.tasks.classic.graded import GradedSettings
from recurra.training.callback import Callback, every
from recurra.training.curriculum import Curriculum

SMALL: dict[str, list[str]] = {
    "adding": ["length=48", "hidden=4"],
    "copy_memory": ["wait=9", "hidden=4"],
    "temporal_order": ["length=40"],
    "counting": ["tested=20"],
    "measure_spikes": ["tested=20"],
    "generate_spikes": ["period=20", "tested=20"],
    "periodic": ["period=20", "tested=20"],
    "ntm_copy": ["longest=6", "hidden=4", "locations=8", "width=4"],
    "repeat_copy": ["longest=6", "repeats=3", "hidden=4", "locations=8", "width=4"],
    "associative_recall": ["items=6", "hidden=4", "locations=8", "width=4"],
}


def settings_of(name: str, *more: str) -> Any:
    return task_settings(name, [*SMALL[name], "stop=false", *more])


def steps_of(name: str, curriculum: str, batches: int = 40) -> list[int]:
    """How long each of the first batches is, of the level the curriculum stands at."""
    settings = settings_of(name, f"curriculum={curriculum}")
    found: list[int] = []
    for batch in TASKS[name].build(settings, Streams(0)).stream:
        found.append(batch.x.shape[1])
        if len(found) == batches:
            return found
    raise AssertionError("an epoch is longer than that")


def test_every_graded_task_is_looked_at_here():
    assert {name for name, task in TASKS.items() if issubclass(task.settings, GradedSettings)} == SMALL.keys()


@pytest.mark.parametrize("name", SMALL)
def test_the_easiest_is_shorter_and_climbing_ends_at_the_task_itself(name: str):
    settings = settings_of(name, "curriculum=naive", "levels=3", "train.evaluate_every=1", "patience=1")
    full, naive = steps_of(name, "full"), steps_of(name, "naive")
    assert max(naive) < max(full)
    climbed = TASKS[name].build(settings, Streams(0)).stream
    assert isinstance(climbed, Curriculum)
    while climbed.advance():
        pass
    whole = TASKS[name].build(settings_of(name), Streams(0)).stream
    for there, here, _ in zip(climbed, whole, range(5), strict=False):
        # The same draws, from the same stream of random numbers.
        assert torch.equal(there.x, here.x)
        assert torch.equal(there.y.nan_to_num(-1), here.y.nan_to_num(-1))


def test_mixed_shows_every_level_and_asks_nothing_about_levels():
    assert len(set(steps_of("copy_memory", "mixed"))) == 5
    settings = settings_of("copy_memory", "curriculum=mixed", "train.evaluate_every=1")
    assert "level" not in run_task("copy_memory", settings=settings, iterations=1).metrics


def test_the_next_level_comes_when_the_loss_is_low_and_not_before():
    def levels_of(until: float) -> list[float]:
        sets = ("curriculum=naive", "levels=3", "train.evaluate_every=2", "patience=100", f"until={until}")
        seen: list[float] = []
        look = Callback(every(2), lambda trainer: seen.append(trainer.metrics["level"]))
        run_task("copy_memory", settings=settings_of("copy_memory", *sets), iterations=8, callbacks=[look])
        return seen

    assert levels_of(1e-9) == [1, 1, 1, 1]
    assert levels_of(1e9) == [1, 3, 9, 9]


def test_a_climbing_run_resumes_to_the_bit(tmp_path: Path):
    sets = ("curriculum=combined", "levels=4", "train.evaluate_every=3", "train.checkpoint_every=3", "patience=1")
    settings = settings_of("copy_memory", *sets, "train.log_every=3", "until=2.29", "train.schedule.name=constant")
    whole = run_task("copy_memory", settings=settings, iterations=24, folder=tmp_path / "whole")
    run_task("copy_memory", settings=settings, iterations=9, folder=tmp_path / "parts")
    parts = run_task("copy_memory", settings=settings, iterations=24, folder=tmp_path / "parts", resume=True)
    rows = [
        [row for row in map(json.loads, (tmp_path / run / "metrics.jsonl").read_text().splitlines()) if "level" in row]
        for run in ("whole", "parts")
    ]
    shown = [[(row["iteration"], row["level"], row["level_loss"]) for row in run] for run in rows]
    assert shown[0] == shown[1]
    reached = [level for _, level, _ in shown[0]]
    assert reached[0] < reached[3] < reached[-1], (reached, shown[0])
    assert whole.model is not None
    assert parts.model is not None
    for there, here in zip(whole.model.parameters(), parts.model.parameters(), strict=True):
        assert torch.equal(there, here)


def test_what_makes_no_sense_is_refused():
    with pytest.raises(ConfigError, match="cannot know which of several periods is wanted"):
        task_settings("generate_spikes", ["curriculum=mixed"])
    with pytest.raises(ConfigError, match="curriculum"):
        task_settings("syllables", ["curriculum=naive"])
    with pytest.raises(ConfigError, match="curriculum"):
        task_settings("adding", ["curriculum=hard"])
