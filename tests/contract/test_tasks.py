"""Every task in the registry keeps the contract: being registered is being tested."""

from __future__ import annotations

import pytest
import torch

from recurra.checks.task import CHECKS, Battery
from recurra.cli.main import main
from recurra.tasks.registry import TASKS

# One of the family of classic tasks stands for all: they share everything that is checked here.
NAMES = [*TASKS, "task reber"]


@pytest.fixture(scope="module", params=NAMES)
def battery(request, tmp_path_factory):
    torch.set_num_threads(1)
    return Battery(main, request.param, tmp_path_factory.mktemp("task") / "battery")


@pytest.mark.parametrize("check", CHECKS)
def test_a_task_keeps_the_contract(battery, check):
    CHECKS[check](battery)
