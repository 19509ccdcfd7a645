"""The base class: a cell is a class with `states` and a `step`, and nothing else is ever declared."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar

from recurra.base.errors import EquationError, message
from recurra.equations.spec import CellSpec
from recurra.equations.trace import trace

__all__ = ["Cell"]

Initial = str | float


class Cell:
    """A recurrent cell, written as its equations.

    A subclass gives `states` (a name, or several) and `step(self, x, *states, *parameters)`, which returns the next
    states in the same order; the first is also the output. Parameters are named by use: `W.i @ x` is a matrix,
    `b.i` a vector; their shapes follow from the equations.

    >>> from recurra.equations.functions import tanh
    >>> class Elman(Cell):
    ...     states = "h"
    ...
    ...     def step(self, x, h, W, U, b):
    ...         return tanh(W @ x + U @ h + b)
    >>> Elman().spec.params
    {'W': ('H', 'I'), 'U': ('H', 'H'), 'b': ('H',)}

    Optional: `axes` gives a state an axis of its own ({"y": "O"}; H when not said), `initial` an initialiser per
    parameter or family ({"b.f": 1.0, "U": "orthogonal"}), `cite` the keys of its sources.
    """

    states: ClassVar[str | tuple[str, ...]] = ()
    axes: ClassVar[Mapping[str, str]] = {}
    initial: ClassVar[Mapping[str, Initial]] = {}
    cite: ClassVar[tuple[str, ...]] = ()

    # A step names its own states and parameters, so no signature fits all; `trace` checks each.
    step: Any

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if isinstance(cls.states, str):
            cls.states = (cls.states,)
        if not cls.states:
            raise EquationError(message(cls.__name__, "a cell needs at least one state", hint='states = "h"'))
        if not inspect.isfunction(getattr(cls, "step", None)):
            raise EquationError(
                message(cls.__name__, "a cell needs a method step", hint="def step(self, x, h, W, U, b): ...")
            )

    @cached_property
    def name(self) -> str:
        """The class name in snake case, as registered: PeepholeLSTM -> peephole_lstm, GRUv1 -> gru_v1."""
        words = r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z](?!\d))|(?<=[A-Z])(?=v\d)"
        spaced = re.sub(words, "_", type(self).__name__)
        return spaced.lower()

    @cached_property
    def spec(self) -> CellSpec:
        """The equations as data; traced once per instance."""
        return trace(self.name, self.step, tuple(self.states), self.axes)

    @property
    def title(self) -> str:
        """The first line of the docstring."""
        return (inspect.getdoc(type(self)) or self.name).splitlines()[0].rstrip(".")

    def __repr__(self) -> str:
        return self.name
