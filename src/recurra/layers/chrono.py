"""Chrono initialisation: forget gates that start with memories of all lengths up to the task's.

A unit that keeps a share f of its state each step forgets in about 1 / (1 - f) steps; with f = sigmoid(b) that is
1 + exp(b). So b = log(U(1, T_max - 1)) starts with memories between 2 and T_max steps, and an input gate of its own
starts at -b, so that what comes in and what goes out are of a size. Tallec and Ollivier 2018, arXiv:1804.11188.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Generator, Tensor

from recurra.base.errors import ConfigError, message
from recurra.equations.affine import split
from recurra.equations.expr import Expr, make, substitute, topological
from recurra.equations.spec import CellSpec

__all__ = ["Chrono", "Keeper", "chrono", "keepers"]


class Keeper(NamedTuple):
    """The biases that say how long a state is kept."""

    keep: str
    """The bias of the gate that keeps, or lets go."""
    sign: int
    """1 where a larger bias keeps longer (an LSTM's f), -1 where it lets go (z of gru_v1)."""
    take: str | None
    """The bias of a separate input gate."""


class Chrono(dict[str, str | float]):
    """Initialisers by name, as a layer takes them, and the gates' biases by the chrono rule."""

    def __init__(self, t_max: float, others: Mapping[str, str | float] | None = None) -> None:
        if not t_max > 2:
            raise ConfigError(message("chrono", f"t_max must be above 2 steps, got {t_max}"))
        super().__init__(others or {})
        self.t_max = t_max
        # Drawn for one gate, waiting for its partner; a layer fills the parameters of a cell one after the other.
        self._waiting: dict[str, Tensor] = {}

    def __bool__(self) -> bool:
        # Says something even where it overrides nothing by name.
        return True

    def fill(self, name: str, spec: CellSpec) -> Callable[[tuple[int, ...], Generator | None], Tensor] | None:
        """How parameter `name` starts; None where the rule says nothing about it."""
        for keeper in keepers(spec):
            if name == keeper.keep:
                return lambda shape, generator, keeper=keeper: keeper.sign * self._drawn(keeper, shape, generator)
            if name == keeper.take:
                return lambda shape, generator, keeper=keeper: -keeper.sign * self._drawn(keeper, shape, generator)
        return None

    def check(self, spec: CellSpec) -> None:
        """Raises ConfigError for a cell without a gate that the rule could set."""
        if not keepers(spec):
            fact = f"{spec.name} has no gate of the form sigmoid(... + bias) that keeps its state"
            raise ConfigError(message("chrono", fact, hint="lstm, gru, janet and most gated cells have one."))
        self._waiting.clear()

    def _drawn(self, keeper: Keeper, shape: tuple[int, ...], generator: Generator | None) -> Tensor:
        if keeper.keep in self._waiting:
            return self._waiting.pop(keeper.keep)
        bias = torch.log(1 + (self.t_max - 2) * torch.rand(shape, generator=generator))
        if keeper.take is not None:
            self._waiting[keeper.keep] = bias
        return bias


def chrono(t_max: float, others: Mapping[str, str | float] | None = None) -> Chrono:
    """The `initializers` of a layer whose task has dependencies of up to `t_max` steps; `others` as a layer takes them.

    >>> import torch
    >>> from recurra.layers import Recurrent
    >>> layer = Recurrent("lstm", 1, 400, initializers=chrono(100), generator=torch.Generator().manual_seed(0))
    >>> b = layer.units[0].named()
    >>> round(float(1 + b["b.f"].detach().exp().max())), bool((b["b.i"] == -b["b.f"]).all())
    (99, True)
    """
    return Chrono(t_max, others)


_KNOWN: WeakKeyDictionary[CellSpec, tuple[Keeper, ...]] = WeakKeyDictionary()


def keepers(spec: CellSpec) -> tuple[Keeper, ...]:
    """The gates that decide how long the states of a cell are kept, read off its equations.

    >>> from recurra.cells import CELLS
    >>> [tuple(keeper) for name in ("lstm", "gru", "gru_v1") for keeper in keepers(CELLS[name]().spec)]
    [('b.f', 1, 'b.i'), ('b.z', 1, None), ('b.z', -1, None)]
    """
    if spec not in _KNOWN:
        found = [_keeper(spec, state) for state in spec.states]
        _KNOWN[spec] = tuple(keeper for keeper in found if keeper is not None)
    return _KNOWN[spec]


def _keeper(spec: CellSpec, state: str) -> Keeper | None:
    """s' = a s + c: a is a gate or one minus a gate, products of the state left aside; c may have a gate of its own."""
    products = [node for node in topological([spec.after[state]]) if node.op == "matmul" and node in spec.stateful]
    stand_ins = {node: make("extra", value=f"product {index}") for index, node in enumerate(products)}
    root = substitute([spec.after[state]], stand_ins)[0]
    # A gate may read the state by itself (a peephole): that use is a constant here.
    gates = {node for node in topological([root]) if node.op == "sigmoid"}
    held = {gate: make("extra", value=f"gate {index}") for index, gate in enumerate(gates)}
    parts = split(substitute([root], held)[0], [spec.symbol(state)])
    if parts is None:
        return None
    constant, factors = parts
    gate_of = {leaf: gate for gate, leaf in held.items()}
    factor = factors.get(spec.symbol(state))
    if factor is None:
        return None
    sign = 1
    if factor.op == "sub" and factor.args[0].op == "const" and factor.args[0].value == 1:
        sign, factor = -1, factor.args[1]
    if factor not in gate_of:
        return None
    keep = _bias(gate_of[factor], spec)
    if keep is None:
        return None
    taking = {node for node in topological([constant] if constant is not None else []) if node in gate_of}
    # The gate that multiplies the candidate; none where one gate does both, or where there are several.
    own = [_bias(gate_of[node], spec) for node in taking] if factor not in taking else []
    return Keeper(keep, sign, own[0] if len(own) == 1 else None)


def _bias(gate: Expr, spec: CellSpec) -> str | None:
    """The vector that is added to a gate's other terms."""
    waiting, found = [gate.args[0]], []
    while waiting:
        term = waiting.pop()
        if term.op == "add":
            waiting.extend(term.args)
        elif term.op == "param" and len(spec.params[str(term.value)]) == 1:
            found.append(str(term.value))
    return found[0] if len(found) == 1 else None
