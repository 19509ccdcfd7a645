"""Floor 3a: the modules people build with. `Recurrent` is the only time loop they meet."""

from recurra.layers.recurrent import Recurrent

__all__ = ["Recurrent"]
