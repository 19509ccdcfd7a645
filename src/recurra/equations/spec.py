"""The spec of a cell: its equations as data, with everything that follows from them one property away."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from recurra.equations.affine import groups, split
from recurra.equations.axes import Axes
from recurra.equations.expr import Expr, is_scalar, make, topological
from recurra.equations.ops import OPS

__all__ = ["CellSpec", "Extra"]


@dataclass(frozen=True)
class Extra:
    """A tensor beside x and the parameters that the layer hands in: a mask or a rate, per axis, maybe per step."""

    name: str
    axis: str
    about: str


# Compared by identity: a spec is made once per cell or layer, and tables are keyed by it.
@dataclass(frozen=True, eq=False)
class CellSpec:
    """Equations of one step.

    `after[s]` is the value of state s after the step; the first state is also the output. `names` are the step's own
    names for intermediate values, in the order they were written. `shapes` holds the axes of every node.
    """

    name: str
    states: tuple[str, ...]
    state_axes: Mapping[str, str]
    after: Mapping[str, Expr]
    names: tuple[tuple[str, Expr], ...]
    params: Mapping[str, Axes]
    shapes: Mapping[Expr, Axes] = field(repr=False)
    extras: tuple[Extra, ...] = ()

    @property
    def output(self) -> str:
        """The state that is the cell's output: the first."""
        return self.states[0]

    @property
    def output_axis(self) -> str:
        """The axis of the output."""
        return self.state_axes[self.output]

    @cached_property
    def axes(self) -> tuple[str, ...]:
        """Every axis letter in use, I first."""
        used = {axis for shape in self.shapes.values() for axis in shape}
        return ("I", *sorted(used - {"I"}))

    @cached_property
    def nodes(self) -> tuple[Expr, ...]:
        """Every node of the step, arguments before users, as far as that allows in the order they were written."""
        return tuple(topological([*(node for _, node in self.names), *(self.after[name] for name in self.states)]))

    @cached_property
    def families(self) -> dict[str, tuple[str, ...]]:
        """Family letter -> full parameter names, as W -> (W.i, W.f, W.g, W.o)."""
        grouped: dict[str, list[str]] = {}
        for name in self.params:
            grouped.setdefault(name.split(".")[0], []).append(name)
        return {family: tuple(members) for family, members in grouped.items()}

    @cached_property
    def gates(self) -> tuple[str, ...]:
        """The names after the dot of the input products, in the order of the equations: i f g o for an LSTM."""
        seen: dict[str, None] = {}
        for name in self.params:
            if "." in name:
                seen.setdefault(name.split(".", 1)[1], None)
        return tuple(seen)

    # --- What follows from the equations -----------------------------------------------------------------------------

    @cached_property
    def stateful(self) -> frozenset[Expr]:
        """Nodes that depend on a state."""
        found: set[Expr] = set()
        for node in self.nodes:
            if node.op == "state" or any(arg in found for arg in node.args):
                found.add(node)
        return frozenset(found)

    @cached_property
    def products(self) -> tuple[Expr, ...]:
        """Matrix products, in order."""
        return tuple(node for node in self.nodes if node.op == "matmul")

    @cached_property
    def free_products(self) -> tuple[Expr, ...]:
        """Products that do not touch the state: one matrix product over all time steps, before the loop."""
        return tuple(node for node in self.products if node not in self.stateful)

    @cached_property
    def level(self) -> dict[Expr, int]:
        """How many state-dependent products lie one behind the other up to and including each node."""
        levels: dict[Expr, int] = {}
        for node in self.nodes:
            below = max((levels[arg] for arg in node.args), default=0)
            levels[node] = below + (node.op == "matmul" and node in self.stateful)
        return levels

    @cached_property
    def recurrent_params(self) -> frozenset[str]:
        """The matrices whose product reads a state other than through another product."""
        reads: set[Expr] = set()
        for node in self.nodes:
            if node.op == "state" or (node.op != "matmul" and any(arg in reads for arg in node.args)):
                reads.add(node)
        return frozenset(str(node.args[0].value) for node in self.products if node.args[1] in reads)

    @cached_property
    def dependent_products(self) -> int:
        """Products that must run one after another in a step: 1 for an LSTM, 2 where a gate resets before one."""
        return max(self.level[node] for node in self.after.values())

    @cached_property
    def shared_operands(self) -> dict[Expr, tuple[Expr, ...]]:
        """Operand -> the products of it: each entry is one stacked matrix product."""
        shared: dict[Expr, list[Expr]] = {}
        for node in self.products:
            shared.setdefault(node.args[1], []).append(node)
        return {operand: tuple(nodes) for operand, nodes in shared.items()}

    @cached_property
    def reads(self) -> dict[str, frozenset[str]]:
        """For every state: which states its next value depends on."""
        below: dict[Expr, frozenset[str]] = {}
        for node in self.nodes:
            own = {str(node.value)} if node.op == "state" else set[str]()
            below[node] = frozenset(own).union(*(below[arg] for arg in node.args))
        return {state: below[self.after[state]] for state in self.states}

    @cached_property
    def carried(self) -> tuple[str, ...]:
        """The states that some next value reads. An output that none reads is handed on, but remembers nothing."""
        return tuple(state for state in self.states if any(state in read for read in self.reads.values()))

    @cached_property
    def delays(self) -> tuple[str, ...]:
        """The carried states whose next value reads no state: their whole sequence is known before the time loop."""
        return tuple(state for state in self.carried if not self.reads[state])

    @cached_property
    def scan_order(self) -> tuple[tuple[str, ...], ...] | None:
        """The states in groups that can be computed one after the other, each for all time steps at once.

        None where that is not legal. A state that does not depend on itself may be any function of those before it. A
        state that does, or a group of states that wait for each other, must be elementwise and affine in its own group,
        with factors that are any function of x and of the groups before: then it is a parallel scan over time.
        """
        order = groups(self.reads)
        for group in order:
            symbols = [self.symbol(state) for state in group]
            if any(split(self.after[state], symbols) is None for state in group):
                return None
        return order

    @property
    def is_affine_elementwise(self) -> bool:
        """Whether each next state is elementwise and affine in the states it waits for: a parallel scan is legal."""
        return self.scan_order is not None

    @cached_property
    def row_ops(self) -> tuple[Expr, ...]:
        """Ops that need the whole vector at once: norms, softmax, sums."""
        return tuple(node for node in self.nodes if OPS[node.op].kind in ("row", "reduce"))

    def parameter_count(self, sizes: Mapping[str, int]) -> int:
        """How many numbers the parameters hold for axis sizes such as {"I": 64, "H": 128}."""
        total = 0
        for shape in self.params.values():
            count = 1
            for axis in shape:
                count *= sizes[axis]
            total += count
        return total

    @cached_property
    def parameter_formula(self) -> str:
        """The count as a polynomial in the axes.

        An LSTM without peepholes: `4HI + 4HH + 4H`.
        """
        terms: dict[str, int] = {}
        for shape in self.params.values():
            key = "".join(shape)
            terms[key] = terms.get(key, 0) + 1
        return " + ".join(f"{count if count > 1 else ''}{key}" for key, count in terms.items())

    @cached_property
    def fingerprint(self) -> str:
        """The same for two specs exactly when they say the same up to the order of sums and factors."""
        keys: dict[Expr, str] = {}
        position = {name: str(index) for index, name in enumerate(self.states)}
        for node in self.nodes:
            parts = [keys[arg] for arg in node.args]
            if node.op in ("add", "mul"):
                parts = sorted(_flatten(node, keys))
            value = position[str(node.value)] if node.op == "state" else str(node.value)
            keys[node] = hashlib.blake2b(repr((node.op, value, parts)).encode(), digest_size=16).hexdigest()
        body = [(keys[self.after[name]], self.state_axes[name]) for name in self.states]
        return hashlib.blake2b(repr((body, sorted(self.params.items()))).encode(), digest_size=16).hexdigest()

    def symbol(self, name: str) -> Expr:
        """The leaf for x, a state, a parameter or an extra of this name."""
        if name == "x":
            return make("input", value="x")
        if name in self.states:
            return make("state", value=name)
        if name in self.params:
            return make("param", value=name)
        if any(extra.name == name for extra in self.extras):
            return make("extra", value=name)
        raise KeyError(name)

    def is_scalar(self, node: Expr) -> bool:
        """Whether the node is one number per batch row."""
        return is_scalar(node)


def _flatten(node: Expr, keys: Mapping[Expr, str]) -> list[str]:
    """The keys of all terms of a chain of the same op."""
    found: list[str] = []
    waiting = list(node.args)
    while waiting:
        part = waiting.pop()
        if part.op == node.op:
            waiting.extend(part.args)
        else:
            found.append(keys[part])
    return found
