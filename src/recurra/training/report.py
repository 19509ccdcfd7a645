"""What the loop tells: to the log, and to whoever watches."""

from __future__ import annotations

import time
from pathlib import Path
from typing import NamedTuple

from recurra.training.log import Log
from recurra.training.progress import Progress

__all__ = ["Interval", "Report", "Result"]


class Interval(NamedTuple):
    """Sums since the last line of the log; part of a checkpoint, so that the next line is the same after a resume."""

    loss: float = 0.0
    count: int = 0
    norm: float = 0.0
    updates: int = 0


class Result(NamedTuple):
    """How a run ended."""

    iteration: int
    reason: str
    """iterations, epochs, minutes, patience or interrupted."""
    metrics: dict[str, float]
    """The last evaluation."""
    best: float | None
    """The best value of the monitored measure, and its iteration; the model now has those weights."""
    best_iteration: int | None


class Report:
    """Log and progress of one run, and the running sums between two lines."""

    def __init__(self, folder: Path | None, tensorboard: bool, progress: Progress | None) -> None:
        self.log = Log(folder, tensorboard)
        self.progress = progress or Progress("quiet")
        self.interval = Interval()
        self._timed = 0
        self._began = time.monotonic()
        self._told: str | None = None

    def open(self, iteration: int, total: int | None) -> None:
        """Cut the log back to `iteration` and begin."""
        for line in self.log.open(iteration):
            self.say(line)
        self.progress.open(total, iteration)
        self._timed, self._began = 0, time.monotonic()

    def close(self) -> None:
        """The run is over."""
        self.progress.close()
        self.log.close()

    def say(self, text: str) -> None:
        """A line for whoever watches."""
        self.progress.say(text)

    def event(self, iteration: int, kind: str, text: str) -> None:
        """Something that should not go unnoticed: said, and a line of events.jsonl."""
        self.log.append("events", {"iteration": iteration, "event": kind, "text": text})
        self.say(text)

    def sample(self, iteration: int, text: str) -> None:
        """A sample: shown, and a line of samples.jsonl."""
        self.log.append("samples", {"iteration": iteration, "text": text})
        self.say(f"iteration {iteration}:\n{text}\n")

    def add(self, iteration: int, loss_sum: float, count: int, norm: float) -> None:
        """One update: summed loss over `count` positions, norm of the gradient before clipping."""
        loss, positions, norms, updates = self.interval
        self.interval = Interval(loss + loss_sum, positions + count, norms + norm, updates + 1)
        self._timed += count
        self.progress.update(iteration, self.interval.loss / self.interval.count, self._tokens_per_s())

    def train(self, iteration: int, epoch: int, learning_rate: float, wall_s: float) -> None:
        """The line of the updates since the last one."""
        loss, count, norm, updates = self.interval
        if updates:
            means = {"loss": loss / count, "grad_norm": norm / updates, "learning_rate": learning_rate}
            speed = {"tokens_per_s": round(self._tokens_per_s(), 1)}
            self.write(iteration, epoch, "train", {**means, **speed}, wall_s)
        self.interval = Interval()
        self._timed, self._began = 0, time.monotonic()

    def write(self, iteration: int, epoch: int, split: str, values: dict[str, float], wall_s: float) -> None:
        """A line of metrics.jsonl; a disk that does not take it is reported once."""
        self.log.write(iteration, epoch, split, values, round(wall_s, 3))
        if self.log.trouble and self.log.trouble != self._told:
            self.say(self.log.trouble)
        self._told = self.log.trouble

    def _tokens_per_s(self) -> float:
        return self._timed / max(time.monotonic() - self._began, 1e-9)
