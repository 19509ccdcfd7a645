"""The partial derivatives of one step, as expressions, and where in the influence matrix they can be non-zero.

A step s' = F(x, s, theta) has two of them: D = ds'/ds, the state Jacobian, and I = ds'/dtheta with s held. A matrix M
enters through products p = M v only, so that ds'_i/dM_km = (ds'_i/dp_k) v_m: what is derived is ds'/dp, a column per
row of M. `slots` are those places: the products, and the vectors among the parameters.
"""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple
from weakref import WeakKeyDictionary

from recurra.equations.derive import gradient, seed
from recurra.equations.expr import Expr, const, make, substitute, topological
from recurra.equations.ops import OPS
from recurra.equations.simplify import simplify
from recurra.equations.spec import CellSpec

__all__ = ["Partials", "Slot", "cut_leaf", "partials_of"]


class Slot(NamedTuple):
    """One place where a parameter enters a step."""

    name: str
    node: Expr
    """The product, or the vector parameter itself."""
    operand: Expr | None
    """What the matrix is multiplied with; None for a vector."""


class Partials:
    """The derivatives of one step of a spec; `initial` where the state to begin with is learned too."""

    def __init__(self, spec: CellSpec, initial: bool = False) -> None:
        # The spec is not kept: these live in a table that forgets them with their spec.
        self.states = spec.states
        self.axes = dict(spec.state_axes)
        self.params = dict(spec.params)
        self.after = dict(zip(spec.states, simplify([spec.after[state] for state in spec.states]), strict=True))
        self.leaf = {state: spec.symbol(state) for state in spec.states}
        self.input = spec.symbol("x")
        self.initial = initial
        self.live = tuple(state for state in spec.states if initial or _learned(self.after[state]))
        """The states that parameters have an influence on; a state that only holds an old input is none."""
        self.slots = self._slots()

    def _slots(self) -> tuple[Slot, ...]:
        found: list[Slot] = []
        roots = [self.after[state] for state in self.live]
        matrices = {name for name, axes in self.params.items() if len(axes) == 2}
        for node in topological(roots):
            if node.op == "matmul":
                found.append(Slot(str(node.args[0].value), node, node.args[1]))
            elif node.op == "param" and node.value not in matrices:
                found.append(Slot(str(node.value), node, None))
        return tuple(found)

    @cached_property
    def reads_states_in_products(self) -> bool:
        """Whether a product reads a state that parameters have an influence on."""
        live = {self.leaf[state] for state in self.live}
        return any(slot.operand is not None and live.intersection(topological([slot.operand])) for slot in self.slots)

    @cached_property
    def is_local(self) -> bool:
        """Whether a row of a parameter enters one unit only, and units meet in products of states alone.

        Then what unit k's own parameters did to unit k is one number per weight.
        """
        axes = {self.axes[state] for state in self.live}
        rows = {self.params[slot.name][0] for slot in self.slots}
        if len(axes | rows) != 1:
            return False
        plain = {"input", "state", "const"}
        for slot in self.slots:
            if slot.operand is None:
                continue
            for node in topological([slot.operand]):
                if OPS[node.op].kind != "map" and node.op not in plain:
                    return False
        return all(OPS[node.op].kind in ("map", "leaf") for root in self._cut for node in topological([root]))

    @cached_property
    def _cut(self) -> list[Expr]:
        """The next live states, elementwise in leaves that stand for the products."""
        return substitute([self.after[state] for state in self.live], self._stand_ins)

    @cached_property
    def _stand_ins(self) -> dict[Expr, Expr]:
        products = [slot.node for slot in self.slots if slot.operand is not None]
        return {node: make("extra", value=f"product {index}") for index, node in enumerate(products)}

    # --- Elementwise: one number per unit --------------------------------------------------------------------------

    @cached_property
    def local_states(self) -> dict[tuple[str, str], Expr]:
        """(i, j) -> ds'_i/ds_j of a unit with itself, through no product; where nothing flows there is no entry."""
        return self._local([self.leaf[state] for state in self.live], list(self.live))

    @cached_property
    def local_slots(self) -> dict[tuple[str, int], Expr]:
        """(i, slot) -> ds'_i/dp of a unit with its own product or vector."""
        wanted = [self._stand_ins.get(slot.node, slot.node) for slot in self.slots]
        return self._local(wanted, list(range(len(wanted))))

    @cached_property
    def local_products(self) -> dict[tuple[str, str], Expr]:
        """(i, j) -> ds'_i/ds_j of a unit with itself through the diagonals of the recurrent matrices.

        The diagonal of M stands there as the leaf `diagonal(name)`.
        """
        found: dict[tuple[str, str], Expr] = {}
        for index, slot in enumerate(self.slots):
            if slot.operand is None:
                continue
            flows = gradient({slot.operand: const(1.0)}, [self.leaf[state] for state in self.live])
            for j, flow in zip(self.live, flows, strict=True):
                for i in self.live:
                    outer = self.local_slots.get((i, index))
                    if flow is not None and outer is not None:
                        term = outer * make("extra", value=f"diagonal {slot.name}") * flow
                        found[i, j] = found[i, j] + term if (i, j) in found else term
        return dict(zip(found, simplify(found.values()), strict=True))

    def _local(self, wanted: list[Expr], keys: list) -> dict:
        back = {stand: node for node, stand in self._stand_ins.items()}
        found = {}
        for state, root in zip(self.live, self._cut, strict=True):
            for key, part in zip(keys, gradient({root: const(1.0)}, wanted), strict=True):
                if part is not None:
                    found[state, key] = part
        return dict(zip(found, substitute(simplify(found.values()), back), strict=True))

    # --- Vector times Jacobian, and Jacobian times vector ------------------------------------------------------------

    def backward(self, wanted: list[Expr], *, leak: bool = False) -> list[Expr | None]:
        """The gradients of sum(s' . seed(s)) over the live states with respect to each node of `wanted`.

        leak: a product's states are constants there (leaves `cut_leaf`), so nothing flows to a state through one.
        """
        roots = [self.after[state] for state in self.live]
        if leak:
            mapping = self._leak
            roots = [mapping[root] for root in roots]
            wanted = [mapping.get(node, node) for node in wanted]
        arriving: dict[Expr, Expr] = {}
        for state, root in zip(self.live, roots, strict=True):
            arriving[root] = arriving[root] + seed(state) if root in arriving else seed(state)
        found = gradient(arriving, wanted)
        flowing = iter(simplify([part for part in found if part is not None]))
        return [None if part is None else next(flowing) for part in found]

    @cached_property
    def _leak(self) -> dict[Expr, Expr]:
        cuts = {self.leaf[state]: cut_leaf(state) for state in self.live}
        done: dict[Expr, Expr] = {}
        for node in topological([self.after[state] for state in self.live]):
            args = [done[arg] for arg in node.args]
            if node.op == "matmul":
                args[1] = substitute([args[1]], cuts)[0]
            done[node] = make(node.op, *args, value=node.value) if args else node
        return done

    @cached_property
    def forward(self) -> dict[str, Expr]:
        """State -> its part of D t, where t stands as the leaves `tangent(s)`; a state that none reaches is missing.

        Derived twice: D' g is linear in g, and its derivative with respect to g is D.
        """
        flows = self.backward([self.leaf[state] for state in self.live])
        pairs = [(flow, state) for flow, state in zip(flows, self.live, strict=True) if flow is not None]
        arriving: dict[Expr, Expr] = {}
        for flow, state in pairs:
            tangent = make("extra", value=f"tangent {state}")
            arriving[flow] = arriving[flow] + tangent if flow in arriving else tangent
        found = gradient(arriving, [seed(state) for state in self.live])
        kept = {state: part for state, part in zip(self.live, found, strict=True) if part is not None}
        return dict(zip(kept, simplify(kept.values()), strict=True))

    # --- Where the influence matrix may be filled -------------------------------------------------------------------

    def reach(self, slot: Slot) -> dict[str, str]:
        """State -> "row" where row k of the slot enters unit k only within a step, "full" where it enters others.

        A state that it does not enter is missing. This is the pattern of SnAp-1.
        """
        rank = {"none": 0, "row": 1, "full": 2}
        found: dict[Expr, str] = {}
        for node in topological([self.after[state] for state in self.live]):
            below = max((found[arg] for arg in node.args), key=rank.__getitem__, default="none")
            if node is slot.node:
                below = "row"
            elif below != "none" and OPS[node.op].kind != "map":
                below = "full"
            found[node] = below
        return {state: found[self.after[state]] for state in self.live if found[self.after[state]] != "none"}


def cut_leaf(state: str) -> Expr:
    """The leaf that stands for a state where no gradient is to flow to it."""
    return make("extra", value=f"cut {state}")


def _learned(root: Expr) -> bool:
    """Whether a next state depends on a parameter or on another state."""
    return any(node.op in ("param", "state") for node in topological([root]))


_KNOWN: WeakKeyDictionary[CellSpec, dict[bool, Partials]] = WeakKeyDictionary()


def partials_of(spec: CellSpec, initial: bool = False) -> Partials:
    """The partials of a spec, derived once."""
    known = _KNOWN.setdefault(spec, {})
    if initial not in known:
        known[initial] = Partials(spec, initial)
    return known[initial]
