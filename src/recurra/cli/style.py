"""Bold and dim for terminals; plain everywhere else. NO_COLOR is obeyed (no-color.org)."""

from __future__ import annotations

import os
import sys
from typing import TextIO

__all__ = ["bold", "dim"]


def bold(text: str, stream: TextIO | None = None) -> str:
    """`text` in bold where the stream (default: standard output) is a terminal."""
    return _styled(text, "1", stream)


def dim(text: str, stream: TextIO | None = None) -> str:
    """`text` dimmed where the stream (default: standard output) is a terminal."""
    return _styled(text, "2", stream)


def _styled(text: str, code: str, stream: TextIO | None) -> str:
    stream = stream or sys.stdout  # None where a program has no console
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not (stream and stream.isatty())
    return text if plain else f"\x1b[{code}m{text}\x1b[0m"
