"""Floor 6a: what a finished run is used through."""

from recurra.tasks.load import load

__all__ = ["load"]
