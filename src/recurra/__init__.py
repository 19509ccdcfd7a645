"""Recurra: recurrent sequence models whose cells are their equations, written once.

    from recurra import Recurrent, Cell, sigmoid, tanh, load

Names are imported when first used: the equations do not need torch, and `import recurra` does not load it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recurra.cells import CELLS
    from recurra.equations.cell import Cell
    from recurra.equations.functions import (
        absolute,
        clipped_relu,
        exp,
        layer_norm,
        log,
        maximum,
        mean,
        minimum,
        relu,
        rms_norm,
        sigmoid,
        softmax,
        softplus,
        sqrt,
        tanh,
        total,
        where,
    )
    from recurra.layers import Recurrent
    from recurra.tasks.load import load

__version__ = "0.1.0"

__all__ = [
    "CELLS",
    "Cell",
    "Recurrent",
    "absolute",
    "clipped_relu",
    "exp",
    "layer_norm",
    "load",
    "log",
    "maximum",
    "mean",
    "minimum",
    "relu",
    "rms_norm",
    "sigmoid",
    "softmax",
    "softplus",
    "sqrt",
    "tanh",
    "total",
    "where",
]

_HOMES = {"CELLS": "recurra.cells", "Cell": "recurra.equations.cell", "Recurrent": "recurra.layers"}
_HOMES |= {"load": "recurra.tasks.load"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'recurra' has no attribute {name!r}")
    return getattr(import_module(_HOMES.get(name, "recurra.equations.functions")), name)
