"""What a run writes down: metrics.jsonl and other JSON lines, and TensorBoard events where they are asked for."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

from recurra.base.errors import MissingExtra, message
from recurra.base.files import write_bytes

__all__ = ["NAMES", "Log", "read_lines"]

NAMES = ("metrics", "samples", "events")
"""The files that a run writes, without `.jsonl`."""


class Log:
    """The log of one run folder; `folder=None` keeps nothing.

    Each record is a JSON object on a line of its own that has an `iteration`, written at once. A record that the disk
    does not take is kept and tried again with the next; `trouble` then says what happened.
    """

    def __init__(self, folder: Path | str | None, tensorboard: bool = False) -> None:
        self.folder = Path(folder) if folder else None
        self.trouble: str | None = None
        """The fault of the last write, None when it went well."""
        self._waiting: dict[str, bytes] = {}
        self._tensorboard = tensorboard
        self._events: Any = None

    def open(self, iteration: int = 0) -> list[str]:
        """Make the folder ready to go on after `iteration`: later records go, a half-written last line too.

        Gives lines to tell the user (TensorBoard asked for but not installed).
        """
        if not self.folder:
            return []
        self.folder.mkdir(parents=True, exist_ok=True)
        for name in NAMES:
            # Only these: a user's data may be JSON lines too.
            if (path := self.folder / f"{name}.jsonl").exists():
                _cut(path, iteration)
        if not self._tensorboard:
            return []
        try:
            self._events = _event_writer(self.folder, iteration)
        except MissingExtra as error:
            return [str(error)]
        return []

    def write(self, iteration: int, epoch: int, split: str, values: dict[str, float], wall_s: float) -> None:
        """One line of metrics.jsonl; a value that is no number (NaN, infinite) is written as null."""
        self.append("metrics", {"iteration": iteration, "epoch": epoch, "split": split, **values, "wall_s": wall_s})
        if self._events:
            for name, value in values.items():
                if isinstance(value, (int, float)):
                    self._events.add_scalar(f"{split}/{name}", value, iteration)

    def append(self, name: str, record: dict[str, Any]) -> None:
        """One line of `<name>.jsonl`, one of `NAMES`; `record` must have an `iteration`."""
        if not self.folder:
            return
        line = json.dumps({key: _plain(value) for key, value in record.items()}, ensure_ascii=False) + "\n"
        content = self._waiting.pop(name, b"") + line.encode()
        path = self.folder / f"{name}.jsonl"
        try:
            _append(path, content)
        except OSError as error:
            self._waiting[name] = content
            self.trouble = f"{path}: could not be written: {error.strerror}; the lines are kept and tried again"
        else:
            self.trouble = None

    def close(self) -> None:
        """Write out what TensorBoard still holds."""
        if self._events:
            self._events.close()
            self._events = None


def read_lines(path: Path | str) -> list[dict[str, Any]]:
    """The records of a JSON-lines file; a half-written last line (a killed run) is left out."""
    records: list[dict[str, Any]] = []
    for line in Path(path).read_bytes().split(b"\n")[:-1]:
        record = _record(line)
        if record is not None:
            records.append(record)
    return records


def _append(path: Path, content: bytes) -> None:
    """All of `content` or, where the disk is full, nothing of it."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT, 0o666)
    try:
        start = os.lseek(handle, 0, os.SEEK_END)
        done = 0
        try:
            while done < len(content):
                done += os.write(handle, content[done:])
        except OSError:
            os.ftruncate(handle, start)
            raise
    finally:
        os.close(handle)


def _cut(path: Path, iteration: int) -> None:
    """Leave only whole lines of iterations up to `iteration`."""
    before = path.read_bytes()
    records = ((line, _record(line)) for line in before.split(b"\n")[:-1])
    kept = b"".join(line + b"\n" for line, record in records if record and record.get("iteration", 0) <= iteration)
    if kept != before:
        write_bytes(path, kept)


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _event_writer(folder: Path, iteration: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        hint = "pip install 'recurra[track]'; metrics.jsonl has the same numbers."
        raise MissingExtra(message("TensorBoard", "is not installed, so no events are written", hint=hint)) from error
    # Events of iterations that are trained again are purged by the viewer.
    return SummaryWriter(str(folder), purge_step=iteration + 1 if iteration else None)
