"""The errors a user can meet, and the one way their messages are built.

Every message says where, what was expected with names and numbers, what came, and a hint. Inner code raises the bare
fact; the public boundary adds where.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "CheckpointError",
    "ConfigError",
    "DataError",
    "EquationError",
    "MissingExtra",
    "NoBackend",
    "RecurraError",
    "ShapeError",
    "TrainingError",
    "UnknownName",
    "message",
    "nearest",
]


class RecurraError(Exception):
    """Any error that Recurra raises on purpose; the command line prints it without a traceback."""

    def __str__(self) -> str:
        # KeyError would print the repr of its argument, quotes and all.
        return str(self.args[0]) if self.args else ""


class ShapeError(RecurraError, ValueError):
    """A tensor has other axes than the equations say."""


class EquationError(RecurraError, ValueError):
    """A cell's equations do not make sense; the message points at the sub-expression."""


class ConfigError(RecurraError, ValueError):
    """A setting is unknown or out of range; the message lists all faults at once."""


class DataError(RecurraError, ValueError):
    """A file or an array that was handed in cannot be used."""


class CheckpointError(RecurraError, RuntimeError):
    """A saved run is missing, truncated, damaged or of another version."""


class TrainingError(RecurraError, RuntimeError):
    """Training cannot go on: a loss or a gradient is not finite, or the loss ran away."""


class NoBackend(RecurraError, RuntimeError):
    """No kernel backend can run what was asked; the message gives each one's reason."""


class UnknownName(RecurraError, KeyError):
    """A name that no registry holds; the message lists what exists, nearest first."""


class MissingExtra(RecurraError, ImportError):
    """A library of an optional extra is not installed; the message says what to install."""


def message(where: str, fact: str, *details: str, hint: str | None = None) -> str:
    """Build `where: fact`, one indented line per detail, and the hint.

    >>> print(message("Recurrent.forward", "x must be (B, T, I), got (3, 4)", hint="add the batch axis."))
    Recurrent.forward: x must be (B, T, I), got (3, 4).
      Hint: add the batch axis.
    """
    lines = [f"{where}: {fact.rstrip('.')}."]
    lines += [f"  {detail}" for detail in details if detail]
    if hint:
        lines.append(f"  Hint: {hint}")
    return "\n".join(lines)


def nearest(name: str, choices: Iterable[str]) -> list[str]:
    """All choices, the ones spelled most like `name` first."""
    pool = sorted(choices)
    close = difflib.get_close_matches(name.lower(), pool, n=max(len(pool), 1), cutoff=0.5)
    return close + [choice for choice in pool if choice not in close]
