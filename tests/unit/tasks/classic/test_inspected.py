"""Every classic task can be looked into, at the lengths it is shown at, not only the small ones of other tests."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from recurra.base.rng import Streams
from recurra.diagnostics.inspection import Case, inspect
from recurra.tasks.classic import TASKS
from recurra.tasks.classic.trained import ClassicRun
from unit.tasks.classic.test_every_task import small


def numbers(found: object) -> list[float]:
    if isinstance(found, dict):
        return [number for part in found.values() for number in numbers(part)]
    if isinstance(found, list):
        return [number for part in found for number in numbers(part)]
    return [found] if isinstance(found, float) else []


@pytest.mark.parametrize("name", list(TASKS))
def test_a_task_can_be_looked_into(name: str, request: pytest.FixtureRequest) -> None:
    data: Path | None = request.getfixturevalue("data_dir") if name == "chorales" else None
    longer = {
        "repeat_copy": ["longest=10", "repeats=10"],
        "ntm_copy": ["longest=20"],
        "associative_recall": ["items=6"],
    }
    task, settings = TASKS[name], small(name, data, *longer.get(name, []))
    run = ClassicRun(task, task.model(settings, Streams(0)["init"]), settings)
    subject = run.subject()
    found = inspect([Case(subject)])
    assert {"saliency", "gradient"} & set(found.numbers)
    assert any(math.isfinite(number) and number for number in numbers(found.numbers))

    # Cut short, the steps that are left cost what they cost before.
    steps = max(2, subject.inputs.shape[1] * 2 // 3)
    if subject.targets.dim() > 1 and subject.targets.shape[1] == subject.inputs.shape[1]:
        whole = subject.loss(subject.outputs(subject.x))
        part = subject.part(len(subject.inputs), steps)
        torch.testing.assert_close(part.loss(part.outputs(part.x)), whole[:, :steps], rtol=1e-4, atol=1e-5)
