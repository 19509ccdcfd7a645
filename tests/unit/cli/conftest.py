"""A text, a run trained on it once, and the command line in this process."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest
import torch

from recurra.cli.main import main
from unit.cli.command_line import TEXT, TINY, Ended, Recurra


@pytest.fixture
def recurra(capsys: pytest.CaptureFixture[str]) -> Recurra:
    def call(*words: str | Path) -> Ended:
        capsys.readouterr()
        code = main([str(word) for word in words])
        shown = capsys.readouterr()
        return Ended(code, shown.out, shown.err)

    return call


@pytest.fixture(autouse=True)
def _threads_stay():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def text_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "cats.txt"
    chance = random.Random(0)
    path.write_text("\n".join(" ".join(chance.choices(TEXT.split(), k=8)) for _ in range(60)) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def trained(text_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "cats"
    assert main(["train", "text", str(text_file), "--out", str(folder), "--quiet", *TINY]) == 0
    return folder


@pytest.fixture
def a_run(trained: Path, tmp_path: Path) -> Path:
    """A copy of the trained run, to be damaged."""
    return Path(shutil.copytree(trained, tmp_path / "cats"))
