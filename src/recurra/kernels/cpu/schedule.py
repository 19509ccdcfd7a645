"""From a plan to the instructions of one time step: matrix products, and elementwise segments between them.

A segment computes all it can on rows that are in cache: it loads, evaluates and stores, and where a value needs a whole
row at once (a norm, a softmax) it runs over the row in passes. Torch is not needed here: wheels are built without it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from recurra.equations.expr import Expr, is_scalar, make, topological
from recurra.equations.ops import OPS

__all__ = ["Instruction", "Pass", "Place", "Product", "Schedule", "Segment", "Target", "expensive", "spread_rows"]


class Place(NamedTuple):
    """Where a value lives while the program runs; axis None is one number per row."""

    kind: str
    name: str
    axis: str | None = "H"

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(frozen=True)
class Target:
    """A value that must be stored; `total` adds it up over rows and steps (the gradient of a shared vector)."""

    value: Expr
    place: Place
    total: bool = False


@dataclass(frozen=True, eq=False)
class Product:
    """operand (rows, K) times the matrices of stack `stack`; transposed: the gradient of the stack's operand."""

    stack: int
    operand: Place
    needs: tuple[Expr, ...]
    outputs: tuple[tuple[Expr, Place], ...]
    transposed: bool = False


@dataclass
class Pass:
    """One sweep over the units of a row: load, evaluate, store; then what the sweep has summed up is known."""

    stores: list[Target] = field(default_factory=list)
    reduces: list[Expr] = field(default_factory=list)
    loads: dict[Expr, Place] = field(default_factory=dict)
    # Scalars to be stored once the pass is over.
    scalars: list[Target] = field(default_factory=list)


@dataclass(eq=False)
class Segment:
    """Elementwise work over one axis."""

    axis: str
    passes: list[Pass]

    @property
    def by_rows(self) -> bool:
        """Whether it needs whole rows."""
        return any(part.reduces for part in self.passes)

    @property
    def slots(self) -> tuple[Place, ...]:
        """Every place it reads or writes, in the order of first use."""
        found: dict[Place, None] = {}
        for part in self.passes:
            for place in part.loads.values():
                found.setdefault(place)
            for target in (*part.stores, *part.scalars):
                found.setdefault(target.place)
        return tuple(found)


Instruction = Product | Segment

_COSTLY = {"sigmoid", "tanh", "exp", "log", "softplus", "sqrt", "div", "softmax", "layer_norm", "rms_norm"}


def expensive(node: Expr) -> bool:
    """Whether a value is worth keeping rather than computing again."""
    return node.op in _COSTLY or OPS[node.op].kind in ("reduce", "product")


def spread_rows(roots: Iterable[Expr]) -> list[Expr]:
    """Norms and softmax written out as sums over the row and elementwise work."""
    roots = list(roots)
    done: dict[Expr, Expr] = {}
    for node in topological(roots):
        args = tuple(done[arg] for arg in node.args)
        done[node] = _spread(node, args) if node.args else node
    return [done[root] for root in roots]


def _spread(node: Expr, args: tuple[Expr, ...]) -> Expr:
    match node.op, args:
        case "layer_norm", (a,):
            centred = a - make("mean", a)
            return centred * (1 / make("sqrt", make("mean", centred * centred) + float(node.value or 0.0)))
        case "rms_norm", (a,):
            return a * (1 / make("sqrt", make("mean", a * a) + float(node.value or 0.0)))
        case "softmax", (a,):
            power = make("exp", a - make("largest", a))
            return power * (1 / make("sum", power))
        case "div", (a, b) if is_scalar(b) and not is_scalar(a):
            # One division a row instead of one a unit.
            return a * (1 / b)
        case _:
            return make(node.op, *args, value=node.value)


class Schedule:
    """Orders `targets` and `products` of one step into instructions.

    `leaves` says where each leaf that is in memory lives; what the products yield is added by the products. Values that
    are needed in several places and costly to compute are kept in scratch memory (places of kind "temp").
    """

    def __init__(
        self,
        targets: list[Target],
        leaves: Mapping[Expr, Place],
        products: list[Product],
        axis: Callable[[Expr], str | None],
        late: Iterable[Target] = (),
    ) -> None:
        self.leaves = dict(leaves)
        self.axis = axis
        self.products = products
        self._made = {leaf: product for product in products for leaf, _ in product.outputs}
        self._known: dict[Expr, Place] = {}
        self._stages: dict[Expr, int] = {}
        self._temps = 0
        self.late = list(late)
        for product in products:
            self.leaves.update(product.outputs)
        self.instructions: list[Instruction] = self._order(targets)

    @cached_property
    def slots(self) -> list[tuple[Place, ...]]:
        """The places of each instruction: those of a segment, the outputs of a product."""
        return [
            part.slots if isinstance(part, Segment) else tuple(place for _, place in part.outputs)
            for part in self.instructions
        ]

    @cached_property
    def places(self) -> tuple[Place, ...]:
        """Every place an instruction reads or writes."""
        found: dict[Place, None] = {}
        for part in self.instructions:
            named = part.slots if isinstance(part, Segment) else (part.operand, *(place for _, place in part.outputs))
            found.update(dict.fromkeys(named))
        return tuple(found)

    @cached_property
    def overtakes(self) -> bool:
        """Whether a step writes a state, before it first waits for anyone, that a product reads.

        Its buffer is the one that the step before read from, and another thread may still be there.
        """
        read = {part.operand for part in self.instructions if isinstance(part, Product)}
        for part in self.instructions:
            if isinstance(part, Product):
                return False
            stored = [target.place for sweep in part.passes for target in sweep.stores]
            if any(place.kind == "out" and place._replace(kind="in") in read for place in stored):
                return True
        return False

    def _stage(self, node: Expr) -> int:
        """How many products must have run before the node can be computed."""
        if node not in self._stages:
            if node in self._made:
                stage = 1 + max((self._stage(need) for need in self._made[node].needs), default=0)
            else:
                stage = max((self._stage(arg) for arg in node.args), default=0) if node not in self.leaves else 0
                own = self.axis(node)
                # A sum over another axis comes from another segment, so it is there one stage later.
                for arg in node.args if node not in self.leaves else ():
                    if own and is_scalar(arg) and any(axis != own for axis in self._origins(arg)):
                        stage = max(stage, self._stage(arg) + 1)
            self._stages[node] = stage
        return self._stages[node]

    def _origins(self, scalar: Expr) -> set[str]:
        """The axes over which the sums inside a scalar run; what is in memory has none."""
        if scalar in self.leaves:
            return set()
        if OPS[scalar.op].kind == "reduce":
            axis = self.axis(scalar.args[0])
            return {axis} if axis else set()
        return set().union(*(self._origins(arg) for arg in scalar.args)) if scalar.args else set()

    def _order(self, targets: list[Target]) -> list[Instruction]:
        waiting = list(targets)
        # What is only kept for later is stored where it is computed anyway.
        demand: dict[Expr, int] = {}
        for target in targets:
            for node in self._below(target.value):
                demand[node] = min(demand.get(node, 10**6), max(self._stage(target.value), self._stage(node)))
        stage_of = {id(target): self._stage(target.value) for target in targets}
        for target in self.late:
            waiting.append(target)
            stage_of[id(target)] = demand.get(target.value, self._stage(target.value))
        ready = {id(p): max((self._stage(need) for need in p.needs), default=0) for p in self.products}
        last = max([*stage_of.values(), *ready.values()], default=0)
        # Scalars that another axis needs are kept by the stage that can sum them.
        crossing = self._crossing(waiting)
        for target in crossing:
            if not any(target is other for other in waiting):
                waiting.append(target)
            stage_of[id(target)] = self._stage(target.value)
        later: dict[int, list[Target]] = {}
        for target in waiting:
            later.setdefault(stage_of[id(target)], []).append(target)
        wanted_later = self._wanted_per_stage(later)
        found: list[Instruction] = []
        for stage in range(last + 1):
            byaxis: dict[str, list[Target]] = {}
            for target in later.get(stage, ()):
                byaxis.setdefault(self._home(target), []).append(target)
            for axis, group in byaxis.items():
                found.append(self._segment(axis, group, {n for s, ns in wanted_later.items() if s > stage for n in ns}))
            found += [product for product in self.products if ready[id(product)] == stage]
        return found

    def _home(self, target: Target) -> str:
        """The axis of the segment that stores a target; a scalar goes where its sum is taken."""
        axis = self.axis(target.value) or target.place.axis
        if axis:
            return axis
        origins = sorted(self._origins(target.value))
        return origins[0] if origins else "H"

    def _crossing(self, targets: list[Target]) -> list[Target]:
        found: dict[Expr, Target] = {}
        for target in targets:
            own = self._home(target)
            for node in self._below(target.value):
                if OPS[node.op].kind == "reduce" and node not in self.leaves and self._origins(node) - {own}:
                    held = [late for late in (*targets, *found.values()) if late.value is node]
                    found[node] = held[0] if held else Target(node, self._temp(None))
        return list(found.values())

    def _below(self, root: Expr) -> list[Expr]:
        """What has to be computed for `root`: not what is in memory, and nothing behind it."""
        order: dict[Expr, None] = {}
        waiting = [root]
        while waiting:
            node = waiting.pop()
            if node in order or node in self.leaves or node.op == "const":
                continue
            order[node] = None
            waiting.extend(node.args)
        return list(order)

    def _wanted_per_stage(self, later: Mapping[int, list[Target]]) -> dict[int, set[Expr]]:
        return {stage: {n for t in group for n in self._below(t.value)} for stage, group in later.items()}

    def _temp(self, axis: str | None) -> Place:
        self._temps += 1
        return Place("temp", str(self._temps - 1), axis)

    def _segment(self, axis: str, targets: list[Target], wanted_later: set[Expr]) -> Segment:
        """The passes that store `targets`; costly values that a later stage wants are stored as well."""
        depth: dict[Expr, int] = {}

        def depth_of(node: Expr) -> int:
            if node not in depth:
                if node in self.leaves or node in self._known or node.op == "const":
                    depth[node] = 0
                else:
                    below = max((depth_of(arg) for arg in node.args), default=0)
                    depth[node] = below + (OPS[node.op].kind == "reduce")
            return depth[node]

        passes: list[Pass] = [Pass() for _ in range(1 + max(depth_of(target.value) for target in targets))]
        for target in targets:
            # A sum is known once the pass that takes it is over.
            index = depth_of(target.value)
            if is_scalar(target.value) and target.place.axis is None:
                passes[max(index - 1, 0)].scalars.append(target)
                for node in self._below(target.value):
                    if OPS[node.op].kind == "reduce" and node not in self._known:
                        self._take(passes, node, depth_of)
            else:
                passes[index].stores.append(target)
        while len(passes) > 1 and not (passes[-1].stores or passes[-1].reduces or passes[-1].scalars):
            passes.pop()
        self._fill(passes, targets, depth_of, wanted_later)
        return Segment(axis, passes)

    def _take(self, passes: list[Pass], node: Expr, depth_of: Callable[[Expr], int]) -> None:
        part = passes[depth_of(node) - 1]
        if node not in part.reduces:
            part.reduces.append(node)

    def _fill(
        self, passes: list[Pass], targets: list[Target], depth_of: Callable[[Expr], int], wanted_later: set[Expr]
    ) -> None:
        """Sums, loads and scratch values of each pass; later passes tell the ones before what they want."""
        stored = {target.value: target.place for target in targets if not target.total}
        # Which nodes each pass evaluates, not looking behind sums.
        for index in range(len(passes) - 1, -1, -1):
            for node in self._evaluated(passes[index]):
                for arg in node.args:
                    if OPS[arg.op].kind == "reduce" and arg not in self.leaves and arg not in self._known:
                        self._take(passes, arg, depth_of)
        seen: dict[Expr, int] = {}
        for index, part in enumerate(passes):
            for node in self._evaluated(part):
                if node in seen or not expensive(node) or OPS[node.op].kind == "reduce" or is_scalar(node):
                    continue
                seen[node] = index
                again = any(node in self._evaluated(later) for later in passes[index + 1 :])
                if again or node in wanted_later:
                    if node not in stored:
                        place = self._temp(self.axis(node))
                        part.stores.append(Target(node, place))
                        stored[node] = place
                    elif not any(t.value is node for t in part.stores):
                        # It is stored in a later pass, where it would be computed again: store it at once.
                        for other in passes:
                            for t in [t for t in other.stores if t.value is node and not t.total]:
                                other.stores.remove(t)
                                part.stores.append(t)
                    for later in passes[index + 1 :]:
                        later.loads[node] = stored[node]
        for part in passes:
            for node in self._reach(part):
                if node in self.leaves:
                    part.loads[node] = self.leaves[node]
                elif node in self._known:
                    part.loads[node] = self._known[node]
        for part in passes:
            for target in part.stores:
                if not target.total and target.value not in self.leaves and target.value in wanted_later:
                    self._known[target.value] = target.place
            for target in part.scalars:
                self._known[target.value] = target.place
            for node in part.reduces:
                if node in wanted_later and node not in self._known:
                    place = self._temp(None)
                    part.scalars.append(Target(node, place))
                    self._known[node] = place

    def _reach(self, part: Pass) -> list[Expr]:
        """All nodes a pass touches, down to what is loaded; sums taken in this segment are looked behind only here."""
        order: dict[Expr, None] = {}
        waiting = [t.value for t in (*part.stores, *part.scalars)] + [node.args[0] for node in part.reduces]
        while waiting:
            node = waiting.pop()
            if node in order:
                continue
            order[node] = None
            if node in part.loads or node in self.leaves or node in self._known:
                continue
            if OPS[node.op].kind != "reduce":
                waiting.extend(node.args)
        return list(order)

    def _evaluated(self, part: Pass) -> list[Expr]:
        """The nodes a pass computes."""
        return [
            node
            for node in self._reach(part)
            if node.args and not (node in part.loads or node in self.leaves or node in self._known)
        ]
