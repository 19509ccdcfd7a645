"""What every test has: one thread, denormals flushed, and a way to the corpora that are not in the repository."""

from __future__ import annotations

import os
from pathlib import Path

import hypothesis
import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]

# Processes that a test starts see this checkout too.
os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT / "src"), *filter(None, [os.environ.get("PYTHONPATH")])])
os.environ.setdefault("MPLBACKEND", "Agg")

# The same examples everywhere and no clock: a red test is red for whoever looks at it.
hypothesis.settings.register_profile("recurra", derandomize=True, deadline=None)
hypothesis.settings.load_profile("recurra")

torch.set_num_threads(1)
torch.set_flush_denormal(True)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of public corpora; tests that want it are skipped where it is not."""
    named = os.environ.get("RECURRA_DATA")
    folder = Path(named) if named else ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no corpora: {folder} is not a folder; set RECURRA_DATA to one that has them")
    return folder
