"""A run that is killed, interrupted or meets a full disk goes on to the same numbers as one that is left alone."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from recurra.base.errors import CheckpointError
from recurra.training import checkpoint
from recurra.training.callback import Callback
from recurra.training.log import read_lines

SCRIPT = Path(__file__).with_name("killable.py")
_spec = importlib.util.spec_from_file_location("killable", SCRIPT)
assert _spec is not None
assert _spec.loader is not None
killable = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(killable)


@contextmanager
def started(folder: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, str(SCRIPT), str(folder), *options]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def curve(folder: Path) -> list[dict]:
    """Every line of the log but for what the clock says."""
    timed = ("wall_s", "tokens_per_s")
    return [{k: v for k, v in line.items() if k not in timed} for line in read_lines(folder / "metrics.jsonl")]


def iterations_so_far(folder: Path) -> int:
    path = folder / "metrics.jsonl"
    return max((line["iteration"] for line in read_lines(path)), default=0) if path.exists() else 0


def wait_for(folder: Path, iteration: int, process: subprocess.Popen[str]) -> None:
    until = time.monotonic() + 120
    while iterations_so_far(folder) < iteration:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until, "the run makes no progress"
        time.sleep(0.005)


def assert_same_run(one: Path, other: Path) -> None:
    assert curve(one) == curve(other)
    first, second = (checkpoint.load(folder / "checkpoint" / "latest.safetensors") for folder in (one, other))
    for part in ("weights", "average", "optimizer", "stream", "stopping", "watch", "schedule", "carry"):
        assert_identical(first[part], second[part], part)
    best = [checkpoint.load_weights(folder / "weights.safetensors") for folder in (one, other)]
    assert_identical(best[0], best[1], "best")


def assert_identical(one, other, name: str) -> None:
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other), name
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), name
        for key in one:
            assert_identical(one[key], other[key], f"{name}.{key}")
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other), name
        for index, (left, right) in enumerate(zip(one, other, strict=True)):
            assert_identical(left, right, f"{name}.{index}")
    else:
        assert one == other, name


@pytest.fixture(scope="module", params=["full", "sliding"])
def unbroken(request, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    folder = tmp_path_factory.mktemp("unbroken") / request.param
    result = killable.trainer(folder, request.param).train()
    assert (result.reason, result.iteration) == ("iterations", 60)
    return request.param, folder


def test_killed_run_resumes_to_the_same_numbers(unbroken: tuple[str, Path], tmp_path: Path):
    """SIGKILL in the middle; between a checkpoint and the next, so that lines of the log must go again."""
    gradient, expected = unbroken
    # A second death, of a resumed run, once: starting processes is what takes the time.
    for iteration, resume in [(13, ()), (38, ("--resume",))][: 2 if gradient == "full" else 1]:
        with started(tmp_path / "run", "--gradient", gradient, "--slow", "0.02", *resume) as process:
            wait_for(tmp_path / "run", iteration, process)
            process.send_signal(signal.SIGKILL)
            assert process.wait() == -signal.SIGKILL
    assert iteration <= iterations_so_far(tmp_path / "run") < 60
    killable.trainer(tmp_path / "run", gradient).resume().train()
    assert_same_run(tmp_path / "run", expected)


def test_ctrl_c_saves_and_says_how_to_go_on(tmp_path: Path):
    with started(tmp_path / "run", "--slow", "0.02") as process:
        wait_for(tmp_path / "run", 11, process)
        process.send_signal(signal.SIGINT)
        out, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert out.startswith("interrupted ")
    stopped = int(out.split()[1])
    assert f"Stopped at iteration {stopped}; saved. To continue: the same command with --resume" in said
    # Not at the next scheduled checkpoint, at this very iteration.
    assert checkpoint.load(tmp_path / "run" / "checkpoint" / "latest.safetensors")["iteration"] == stopped
    assert iterations_so_far(tmp_path / "run") == stopped


@pytest.mark.parametrize("at", [1, 2, 3, 4, 5, 6, 7])
def test_a_checkpoint_within_a_batch_goes_on_within_it(unbroken: tuple[str, Path], tmp_path: Path, at: int):
    """Sliding truncation updates four times a batch; a run may stop after any of them."""
    gradient, expected = unbroken
    folder = tmp_path / "run"
    broken = killable.trainer(folder, gradient)
    broken.callbacks = (Callback(lambda iteration: iteration == at, lambda _: os.kill(os.getpid(), signal.SIGTERM)),)
    assert broken.train().reason == "interrupted"
    killable.trainer(folder, gradient).resume().train()
    assert_same_run(folder, expected)


def test_a_run_is_not_overwritten(unbroken: tuple[str, Path]):
    gradient, folder = unbroken
    before = curve(folder)
    with pytest.raises(CheckpointError, match="holds a run already"):
        killable.trainer(folder, gradient).train()
    assert curve(folder) == before


def test_resume_without_a_checkpoint_says_so(tmp_path: Path):
    with pytest.raises(CheckpointError, match=r"latest\.safetensors: cannot be read: No such file"):
        killable.trainer(tmp_path / "run").resume()


def test_resume_with_other_sizes_names_the_weights(unbroken: tuple[str, Path]):
    gradient, folder = unbroken
    other = killable.trainer(folder, gradient)
    other.model.head = torch.nn.Linear(12, 9)
    with pytest.raises(CheckpointError, match=r"head.weight must be \(9, 12\), got \(7, 12\)") as caught:
        other.resume()
    assert "head.bias" in str(caught.value)


def test_resume_with_another_kind_of_run_names_the_part(unbroken: tuple[str, Path]):
    gradient, folder = unbroken
    other = killable.trainer(folder, gradient, average=killable.AverageConfig())
    with pytest.raises(CheckpointError, match="was saved with average, this run is without"):
        other.resume()


def test_lost_best_weights_are_noticed(tmp_path: Path):
    first = killable.trainer(tmp_path / "run", iterations=14)
    first.train()
    (tmp_path / "run" / "weights.safetensors").unlink()
    result = killable.trainer(tmp_path / "run", iterations=28).resume().train()
    assert result.best_iteration is not None
    assert result.best_iteration > 14
    assert (tmp_path / "run" / "weights.safetensors").exists()


def test_full_disk_keeps_the_old_checkpoint_and_reports(tmp_path: Path):
    """No file may grow beyond the limit: metrics still fit, a checkpoint does not. Training says so and goes on."""
    folder = tmp_path / "run"
    killable.trainer(folder, iterations=5).train()
    path = folder / "checkpoint" / "latest.safetensors"
    before = path.read_bytes()
    with started(folder, "--resume", "--iterations", "12", "--limit", "8000") as process:
        out, said = process.communicate(timeout=120)
    assert process.returncode == 1, (out, said)
    assert "latest.safetensors: could not be written: File too large" in said
    assert "Training goes on. Last checkpoint: iteration 5." in said
    assert "what was there before is untouched" in said
    assert path.read_bytes() == before
    assert not list(folder.rglob("*.part"))
    # With room again it goes on from there as if nothing had been.
    killable.trainer(folder, iterations=12).resume().train()
    killable.trainer(tmp_path / "calm", iterations=12).train()
    assert iterations_so_far(folder) == 12
    assert [line["loss"] for line in curve(folder) if line["split"] == "train"] == [
        line["loss"] for line in curve(tmp_path / "calm") if line["split"] == "train"
    ]


def test_full_tmpfs_keeps_the_old_checkpoint(tmp_path: Path):
    """The same with a disk that is really full (where mounting one is permitted)."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount, umount = shutil.which("mount"), shutil.which("umount")
    command = [mount or "mount", "-t", "tmpfs", "-o", "size=96k", "tmpfs", str(disk)]
    if not mount or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting a tmpfs is not permitted here")
    try:
        path = disk / "latest.safetensors"
        checkpoint.save(path, {"values": torch.zeros(4000)})
        before = path.read_bytes()
        with pytest.raises(CheckpointError, match="could not be written: No space left on device"):
            checkpoint.save(path, {"values": torch.ones(30_000)})
        assert path.read_bytes() == before
        assert os.listdir(disk) == ["latest.safetensors"]
        assert torch.equal(checkpoint.load(path)["values"], torch.zeros(4000))
    finally:
        subprocess.run([umount or "umount", str(disk)], check=True)
