"""Floor 6a: what a finished run is used through."""

from recurra.serving.loading import load

__all__ = ["load"]
