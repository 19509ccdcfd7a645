"""Lines that survive kills and full disks, and what a terminal shows."""

from __future__ import annotations

import io
import json
import os
import re
import sys
from pathlib import Path

import pytest

from recurra.training.log import Log, read_lines
from recurra.training.progress import Progress
from recurra.training.report import Report


def test_lines_are_on_the_disk_at_once(tmp_path: Path):
    log = Log(tmp_path / "run")
    log.open()
    log.write(1, 0, "train", {"loss": 2.5, "grad_norm": float("nan")}, 0.5)
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        {"iteration": 1, "epoch": 0, "split": "train", "loss": 2.5, "grad_norm": None, "wall_s": 0.5}
    ]


def test_going_on_removes_later_lines_and_a_half_written_one(tmp_path: Path):
    log = Log(tmp_path)
    log.open()
    for iteration in range(1, 6):
        log.write(iteration, 0, "train", {"loss": 1.0 / iteration}, 0.0)
        log.append("samples", {"iteration": iteration, "text": "ä\n"})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"iteration": 3, "lo')
    assert len(read_lines(tmp_path / "metrics.jsonl")) == 5
    log.open(3)
    assert [line["iteration"] for line in read_lines(tmp_path / "metrics.jsonl")] == [1, 2, 3]
    assert [line["text"] for line in read_lines(tmp_path / "samples.jsonl")] == ["ä\n"] * 3
    log.write(4, 0, "train", {"loss": 0.0}, 0.0)
    assert [line["iteration"] for line in read_lines(tmp_path / "metrics.jsonl")] == [1, 2, 3, 4]


def test_lines_wait_while_the_disk_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    log = Log(tmp_path)
    log.open()
    log.write(1, 0, "train", {}, 0.0)
    write = os.write

    def half_then_full(handle: int, data: bytes) -> int:
        if len(data) < 20:
            raise OSError(28, "No space left on device")
        return write(handle, data[: len(data) - 10])

    monkeypatch.setattr("recurra.training.log.os.write", half_then_full)
    log.write(2, 0, "train", {}, 0.0)
    assert log.trouble is not None
    assert "metrics.jsonl: could not be written: No space left on device" in log.trouble
    assert (tmp_path / "metrics.jsonl").read_text().count("\n") == 1
    assert (tmp_path / "metrics.jsonl").read_text().endswith("\n")
    monkeypatch.undo()
    log.write(3, 0, "train", {}, 0.0)
    assert log.trouble is None
    assert [line["iteration"] for line in read_lines(tmp_path / "metrics.jsonl")] == [1, 2, 3]


def test_without_a_folder_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    log = Log(None, tensorboard=True)
    assert log.open() == []
    log.write(1, 0, "train", {"loss": 1.0}, 0.0)
    log.close()
    assert list(tmp_path.iterdir()) == []


def test_tensorboard_that_is_not_there_is_mentioned_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    log = Log(tmp_path, tensorboard=True)
    (line,) = log.open()
    assert "pip install 'recurra[track]'" in line
    log.write(1, 0, "train", {"loss": 1.0}, 0.0)
    assert len(read_lines(tmp_path / "metrics.jsonl")) == 1


@pytest.mark.filterwarnings("ignore")  # the library's own deprecations are not ours to mend
def test_tensorboard_events_hold_the_numbers(tmp_path: Path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    log = Log(tmp_path, tensorboard=True)
    assert log.open() == []
    log.write(10, 0, "train", {"loss": 2.5}, 0.0)
    log.write(20, 0, "train", {"loss": 1.5}, 0.0)
    log.close()
    events = accumulator.EventAccumulator(str(tmp_path)).Reload()
    assert [(event.step, event.value) for event in events.Scalars("train/loss")] == [(10, 2.5), (20, 1.5)]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_a_bar_and_samples_above_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("recurra.training.progress._BAR_S", 0.0)
    monkeypatch.setenv("COLUMNS", "140")
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    progress = Progress(stream=terminal)
    progress.open(200, done=50)
    progress.update(100, 1.2345, 12_345.0)
    progress.say("a [sample] with brackets")
    progress.close()
    shown = terminal.getvalue()
    for part in ("a [sample] with brackets", "loss 1.2345", "12.3k tokens/s", "100/200"):
        assert part in shown


def test_a_narrow_terminal_shows_whole_figures_and_a_dumb_one_lines(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("recurra.training.progress._BAR_S", 0.0)
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    progress = Progress(stream=terminal)
    progress.open(30_000)
    progress.update(12_345, 1.2345, 12_345.0)
    progress.close()
    shown = re.sub("\x1b\\[[0-9;?]*[a-zA-Z]", "", terminal.getvalue())
    assert "12345/30000 loss 1.2345" in shown
    assert "nan" not in shown
    monkeypatch.setenv("TERM", "dumb")
    assert Progress(stream=Terminal()).mode == "plain"


def test_elsewhere_plain_lines_are_sparse(monkeypatch: pytest.MonkeyPatch):
    clock = [0.0]
    monkeypatch.setattr("recurra.training.progress.time.monotonic", lambda: clock[0])
    stream = io.StringIO()
    progress = Progress(stream=stream)
    progress.open(1000, done=500)
    for iteration in range(501, 526):
        clock[0] += 1.0
        progress.update(iteration, 2.0, 800.0)
    progress.say("said")
    assert stream.getvalue().splitlines() == [
        "iteration 510 of 1000  loss 2.0000  800 tokens/s  8:10 left",
        "iteration 520 of 1000  loss 2.0000  800 tokens/s  8:00 left",
        "said",
    ]


def test_quiet_is_quiet():
    terminal = Terminal()
    progress = Progress("quiet", terminal)
    progress.open(10)
    progress.update(5, 1.0, 1.0)
    progress.say("nothing")
    progress.close()
    assert terminal.getvalue() == ""


def test_a_full_disk_is_said_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    stream = io.StringIO()
    report = Report(tmp_path, False, Progress("plain", stream))
    report.open(0, None)

    def full(handle: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("recurra.training.log.os.write", full)
    for iteration in (1, 2, 3):
        report.write(iteration, 0, "train", {"loss": 1.0}, 0.0)
    assert stream.getvalue().count("No space left on device") == 1


def test_the_train_line_is_the_mean_over_positions(tmp_path: Path):
    report = Report(tmp_path, False, None)
    report.open(0, None)
    report.add(1, 10.0, 10, 1.0)
    report.add(2, 90.0, 30, 2.0)
    report.train(2, 0, 0.1, 1.0)
    report.train(2, 0, 0.1, 1.0)
    (line,) = read_lines(tmp_path / "metrics.jsonl")
    assert (line["loss"], line["grad_norm"], line["learning_rate"]) == (2.5, 1.5, 0.1)


def test_json_lines_of_others_are_left_alone(tmp_path: Path):
    data = tmp_path / "data.jsonl"
    data.write_text('{"iteration": 7}\n[1, 2]\nno end of line')
    Log(tmp_path).open(0)
    assert data.read_text() == '{"iteration": 7}\n[1, 2]\nno end of line'
