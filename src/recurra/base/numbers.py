"""Numbers in text."""

from __future__ import annotations

__all__ = ["is_number"]


def is_number(cell: str) -> bool:
    """Return whether a cell of a table is a number; nan and inf are such."""
    try:
        float(cell)
    except ValueError:
        return False
    return True
