"""Inputs that are no ordinary files (`-`, /dev/stdin, `<(...)`): stored, since they are read more than once."""

from __future__ import annotations

import atexit
import contextlib
import io
import os
import shutil
import stat
import sys
import tempfile
from pathlib import Path

from recurra.base.errors import DataError, message
from recurra.base.files import replacing

__all__ = ["discard_spooled", "spooled"]

_STDIN = ("-", "/dev/stdin")


def spooled(name: str, folder: Path | None = None) -> str:
    """Return the absolute path of a file; a pipe is read to its end first, into `folder` or a temporary one.

    Args:
        name: as typed.
        folder: of a run, which then has a copy to resume by; None: a folder that goes when the process ends.

    Raises:
        DataError: where the pipe cannot be read, or the disk does not take it.

    """
    if name in _STDIN:
        hint = "... | recurra COMMAND -, or name a file."
        try:
            if sys.stdin.isatty():
                raise DataError(message(name, "nothing is piped in", hint=hint))
            return _stored(sys.stdin.fileno(), "stdin", folder)
        except (AttributeError, io.UnsupportedOperation) as error:
            raise DataError(message(name, "there is no standard input", hint=hint)) from error
    try:
        kind = os.stat(name).st_mode
    except OSError:
        # That it is not there is reported by whoever reads it, with the name as it was typed.
        return str(Path(name).absolute())
    if stat.S_ISFIFO(kind):
        try:
            handle = os.open(name, os.O_RDONLY)
        except OSError as error:
            raise DataError(message(name, f"could not be read: {error.strerror}")) from error
        return _stored(handle, "pipe", folder)
    if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
        raise DataError(message(name, "is a device, not a file"))
    return str(Path(name).resolve())


def _stored(handle: int, name: str, folder: Path | None) -> str:
    if folder is None:
        folder = Path(tempfile.mkdtemp(prefix="recurra-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
    target = folder / "inputs" / name
    number = 1
    while target.exists():
        number += 1
        target = target.with_name(f"{name}-{number}")
    with replacing(target) as temporary, os.fdopen(os.dup(handle), "rb") as source, temporary.open("wb") as stored:
        shutil.copyfileobj(source, stored, 1 << 20)
    return str(target.resolve())


def discard_spooled(folder: Path) -> None:
    """Remove what was stored in a folder in which no run began, and the folder where nothing else is in it."""
    if (folder / "inputs").is_dir():
        shutil.rmtree(folder / "inputs", ignore_errors=True)
        with contextlib.suppress(OSError):
            folder.rmdir()
