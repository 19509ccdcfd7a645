"""The folder of a comparison: compare.toml, and results.jsonl with a line for each trial that ended."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from recurra.base import config
from recurra.base.errors import CheckpointError, DataError, message
from recurra.tasks.compare.settings import CompareSettings

__all__ = ["CONFIG", "RESULTS", "add", "prepare", "records"]

CONFIG, RESULTS = "compare.toml", "results.jsonl"


def prepare(folder: Path, settings: CompareSettings) -> None:
    """Write the settings; where the folder holds a comparison already, check that it is this one.

    Raises CheckpointError with every setting that differs, or where the results belong to something else.
    """
    path = folder / CONFIG
    if not path.exists():
        if (folder / RESULTS).exists():
            raise CheckpointError(message(str(folder), f"holds a {RESULTS} of something else", hint="another folder."))
        config.save(settings, path)
        return
    before, now = config.to_dict(config.load(CompareSettings, path)), config.to_dict(settings)
    faults = [
        f"{name}: {before.get(name, 'unset')} then, {now.get(name, 'unset')} now"
        for name in sorted(before.keys() | now.keys())
        if before.get(name) != now.get(name)
    ]
    if faults:
        fact = "holds a comparison with other settings; nothing was changed"
        hint = "leave those options as they were (cells and seeds may be others), or name another folder with --out."
        raise CheckpointError(message(str(folder), fact, *faults, hint=hint))


def add(folder: Path, record: dict[str, Any]) -> None:
    """Append a line, whole, and see it to the disk; raises DataError where the disk does not take it."""
    line = (json.dumps(record) + "\n").encode()
    try:
        handle = os.open(folder / RESULTS, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            # One call: no other moment at which a part of the line stands there.
            written = os.write(handle, line)
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        raise DataError(message(str(folder / RESULTS), f"could not be written: {error.strerror}")) from error
    if written != len(line):
        raise DataError(message(str(folder / RESULTS), "could not be written whole", hint="is the disk full?"))


def records(folder: Path) -> list[dict[str, Any]]:
    """All results, each trial once; a last line that was not finished is cut off, so that the next has its own line."""
    path = folder / RESULTS
    if not path.exists():
        return []
    content = path.read_bytes()
    end = content.rfind(b"\n") + 1
    if end < len(content):
        with path.open("r+b") as file:
            file.truncate(end)
    found = []
    for number, line in enumerate(content[:end].splitlines(), start=1):
        try:
            found.append(json.loads(line))
        except ValueError as error:
            fact = f"line {number} is not JSON"
            raise DataError(message(str(path), fact, hint="take that line out; its trial is run again.")) from error
    # Where folders were put together by hand a trial may stand there twice: with the same numbers, they are seeded.
    return list({(r.get("cell"), r.get("stage"), r.get("rate"), r.get("seed")): r for r in reversed(found)}.values())[
        ::-1
    ]
