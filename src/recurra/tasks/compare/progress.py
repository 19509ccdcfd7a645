"""What one sees of a comparison: a bar with the time left on a terminal, a line a trial elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Any, Literal, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from recurra.tasks.compare.trial import Trial

__all__ = ["Ticker"]


class Ticker:
    """Counts trials; time left from how long they took."""

    refresh_s = 1.0

    def __init__(self, mode: Literal["auto", "bar", "plain", "quiet"] = "auto", stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self.mode = mode if mode != "auto" else "bar" if self._stream.isatty() else "plain"
        self._bar: Progress | None = None
        self._total = self._jobs = 1
        self._seconds: list[float] = []
        self._began = 0.0

    def open(self, total: int, left: int, jobs: int) -> None:
        """Begin: `left` trials of `total` are known to be missing."""
        self._total, self._jobs, self._began = total, jobs, time.monotonic()
        if self.mode == "bar" and left:
            columns = (
                TextColumn("trial"),
                MofNCompleteColumn(),
                BarColumn(),
                TextColumn("{task.fields[left]}  {task.fields[now]}"),
            )
            self._bar = Progress(*columns, console=Console(file=self._stream), transient=True)
            self._bar.add_task("compare", total=total, left="", now="")
            self._bar.start()

    def show(self, running: Sequence[Trial], left: int) -> None:
        """While trials run."""
        if self._bar:
            now = ", ".join(f"{trial.cell} {trial.stage}" for trial in running)
            self._bar.update(self._bar.task_ids[0], completed=self._total - left, left=self.left(left), now=now)

    def ended(self, record: dict[str, Any], left: int) -> None:
        """A trial gave this record; `left` are still to be run."""
        self._seconds.append(record["seconds"])
        if self.mode == "quiet":
            return
        what = f"rate {record['rate']:g}" if record["stage"] == "search" else f"seed {record['seed']}"
        value = record["failed"] or f"{record['value']:.4g}"
        text = f"{self._total - left}/{self._total}  {record['cell']} {what}: {value} in {record['seconds']:.1f} s"
        text += f"  {self.left(left)}" if left else ""
        if self._bar:
            self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            self._stream.write(text + "\n")
            self._stream.flush()

    def left(self, trials: int) -> str:
        """The time that `trials` more will take, from the mean so far."""
        if not self._seconds:
            return ""
        seconds = int(sum(self._seconds) / len(self._seconds) * trials / self._jobs)
        hours, minutes = seconds // 3600, seconds % 3600 // 60
        clock = f"{hours}:{minutes:02d}:{seconds % 60:02d}" if hours else f"{minutes}:{seconds % 60:02d}"
        return f"{clock} left"

    def close(self) -> None:
        """Take the bar away."""
        if self._bar:
            self._bar.stop()
            self._bar = None
