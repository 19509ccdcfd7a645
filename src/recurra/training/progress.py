"""What one sees of a run: a bar on a terminal, sparse plain lines elsewhere, nothing when quiet."""

from __future__ import annotations

import os
import sys
import time
from typing import Literal, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

__all__ = ["Mode", "Progress"]

Mode = Literal["auto", "bar", "plain", "quiet"]

_PLAIN_S = 10.0  # seconds between plain lines
_BAR_S = 0.1  # seconds between refreshes of the bar's figures
_WIDE = 72  # columns that the whole line needs; a narrower terminal shows less of it rather than cut figures


class Progress:
    """Reports on `stream` (standard error): loss, tokens a second, time left.

    `auto` is a bar where the stream is a terminal and plain lines where it is not.
    """

    def __init__(self, mode: Mode = "auto", stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        # A terminal that cannot move its cursor gets lines: rich would show nothing there.
        fit = self._stream.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")
        self.mode: Mode = mode if mode != "auto" else "bar" if fit else "plain"
        self._bar: Bar | None = None
        self._total: int | None = None
        self._spoke = self._began = 0.0
        self._began_at = 0

    def open(self, total: int | None, done: int = 0) -> None:
        """Begin; `total` iterations where that is known, `done` of them already (resumed)."""
        self._total, self._began_at = total, done
        self._began = self._spoke = time.monotonic()
        if self.mode == "bar":
            console = Console(file=self._stream)
            count, left = MofNCompleteColumn(), TimeRemainingColumn()
            columns: tuple[ProgressColumn, ...] = (count, TextColumn("{task.fields[loss]}"), left)
            if console.width >= _WIDE:
                figures = TextColumn("{task.fields[loss]}  {task.fields[rate]}")
                columns = (SpinnerColumn(), TextColumn("iteration"), count, BarColumn(), figures, left)
            self._bar = Bar(*columns, console=console, transient=True)
            self._bar.add_task("train", total=total, completed=done, loss="", rate="")
            self._bar.start()

    def update(self, iteration: int, loss: float, tokens_per_s: float) -> None:
        """After each iteration; cheap, most calls show nothing."""
        if self.mode == "quiet":
            return
        now = time.monotonic()
        if now - self._spoke < (_BAR_S if self._bar else _PLAIN_S):
            return
        self._spoke = now
        rate = f"{_short(tokens_per_s)} tokens/s"
        if self._bar:
            self._bar.update(self._bar.task_ids[0], completed=iteration, loss=f"loss {loss:.4f}", rate=rate)
            return
        of = f" of {self._total}" if self._total else ""
        self._line(f"iteration {iteration}{of}  loss {loss:.4f}  {rate}{self._left(iteration, now)}")

    def say(self, text: str) -> None:
        """Show a line (a sample, an evaluation, a warning), above the bar where there is one."""
        if self.mode == "quiet":
            return
        if self._bar:
            # Samples are text: brackets in them are no markup.
            self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            self._line(text)

    def close(self) -> None:
        """Take the bar away."""
        if self._bar:
            self._bar.stop()
            self._bar = None

    def _left(self, iteration: int, now: float) -> str:
        done = iteration - self._began_at
        if not self._total or not done:
            return ""
        seconds = int((now - self._began) / done * (self._total - iteration))
        return f"  {seconds // 60}:{seconds % 60:02d} left"

    def _line(self, text: str) -> None:
        self._stream.write(text + "\n")
        self._stream.flush()


def _short(number: float) -> str:
    return f"{number / 1000:.1f}k" if number >= 1000 else f"{number:.0f}"
