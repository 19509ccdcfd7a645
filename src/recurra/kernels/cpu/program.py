"""The programs of a cell: forward (keeping what the gradient needs), forward alone, backward, and the single step.

The backward program is the symbolic derivative of the forward one, cut at the matrix products: each product is a leaf
whose gradient is computed elementwise, and the gradient of a product's operand is one more product. What the gradient
needs of the forward pass is kept when it is costly (a function value, a product) and computed again when it is cheap.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property

from recurra.equations.derive import gradient, seed
from recurra.equations.expr import Expr, const, is_scalar, make, substitute, topological
from recurra.equations.ops import OPS
from recurra.equations.simplify import simplify
from recurra.equations.spec import CellSpec
from recurra.kernels.cpu.schedule import Place, Product, Schedule, Target, expensive, spread_rows
from recurra.kernels.plan import Hoist, Plan

__all__ = ["CellProgram", "StackLayout"]


@dataclass(frozen=True)
class StackLayout:
    """One stacked product of the loop: its matrices by name, and the axis of its operand and of each piece."""

    matrices: tuple[str, ...]
    operand: Place
    operand_axis: str
    piece_axes: tuple[str, ...]
    # The gradients of its pieces are those of the hoisted terms they are added to (the first of these), or of pieces of
    # another stack (which, and from which piece on): one buffer serves both.
    addend: int | None = None
    twin: tuple[int, int] | None = None


class CellProgram:
    """All programs of one spec, free of shapes and of torch.

    hoisted, fixed: the values the loop takes in, each a node of `plan`; the backend computes them beforehand.
    kept: what `forward` stores for `backward`, by place. sequences: the states whose values before every step are kept.
    """

    def __init__(self, spec: CellSpec, hoist: Hoist = "products") -> None:
        self.spec = spec
        self.plan = Plan(spec, hoist)
        self._body = _Body(self.plan)
        body = self._body
        self.hoisted, self.fixed = body.hoisted, body.fixed
        self._differentiate()
        operands = {k: Place("kept", str(self.kept.index(o)), body.axis(o)) for k, o in body.kept_operands(self.kept)}
        late = [Target(node, self._place(node)) for node in self.kept if node not in body.operands]
        must = [Target(node, operands[k]) for k, node in enumerate(body.operands) if k in operands]
        self.forward = body.schedule([*must, *body.root_targets()], operands, late)
        scratch = {k: Place("operand", str(k), body.axis(o)) for k, o in enumerate(body.operands) if o.args}
        must = [Target(body.operands[k], place) for k, place in scratch.items()]
        self.infer = body.schedule([*must, *body.root_targets()], scratch)
        self.stacks = tuple(
            StackLayout(
                tuple(str(matrix.value) for matrix in stack.matrices),
                operands.get(k) or body.leaves[body.operands[k]],
                body.axis(body.operands[k]) or "H",
                tuple(body.axis(product) or "H" for product in stack.products),
                body.hoisted.index(stack.addends[0]) if k in self._shared else None,
                self._twins.get(k),
            )
            for k, stack in enumerate(self.plan.stacks)
        )
        self.backward = self._backward(operands)

    @cached_property
    def kept_places(self) -> list[Place]:
        """Where what is kept for the backward program lives."""
        return [self._place(node) for node in self.kept]

    def axis(self, node: Expr) -> str | None:
        """The axis of a value of the plan; None for a scalar."""
        return self._body.axis(node)

    @property
    def names(self) -> dict[Expr, str]:
        """The step's own names of values of the body."""
        return self._body.names

    def _place(self, node: Expr) -> Place:
        scalar = is_scalar(node)
        return Place("kept", str(self.kept.index(node)), None if scalar else self._body.axis(node))

    def _differentiate(self) -> None:
        """Gradients of every input of the loop, and what they need of the forward pass."""
        body = self._body
        spec = self.spec
        outputs: dict[Expr, Expr] = {}

        def arrive(node: Expr, part: Expr) -> None:
            outputs[node] = outputs[node] + part if node in outputs else part

        for state, root in zip(spec.states, body.written, strict=False):
            carried = seed(f"carry {state}")
            arrive(root, carried + seed("output") if state == spec.output else carried)
        for k, operand in enumerate(body.written[len(spec.states) :]):
            # What the products pass on to the input is computed for all steps at once, after the loop.
            if operand.op != "input":
                arrive(operand, seed(f"operand {k}"))
        outputs = {node: part for node, part in outputs.items() if node.op != "const"}
        inputs = [spec.symbol("x")]
        wanted = [*body.state_leaves, *body.piece_leaves, *body.hoisted_leaves, *body.fixed_leaves, *inputs]
        raw = gradient(outputs, wanted)
        found = spread_rows(simplify([const(0.0) if part is None else part for part in raw]))
        found = simplify(found)
        self._gradients = dict(zip(wanted, found, strict=True))
        self.kept: list[Expr] = []
        self.sequences: set[str] = {str(o.value) for o in body.operands if o.op == "state"}
        for operand in body.operands:
            if operand.args and operand not in self.kept:
                self.kept.append(operand)
        frontier = _frontier(found)
        for node in sorted(frontier, key=lambda node: not expensive(node)):
            self._keep(node, self.kept, self.sequences)
        self._shared = self._shared_stacks()
        self._twins = self._twin_stacks()
        # Whether the cell reads its input outside of products, where these are part of the loop.
        self.reads_input = raw[-1] is not None and self.plan.hoist == "none"

    def _shared_stacks(self) -> set[int]:
        """Stacks whose pieces have the very gradients of the hoisted terms that they are added to, side by side."""
        found = set()
        body = self._body
        for k, stack in enumerate(self.plan.stacks):
            pieces = [self._gradients[body.pieces[product]] for product in stack.products]
            addends = [self._gradients[body.leaf_of[addend]] for addend in stack.addends]
            runs = [source.pieces for source in self.plan.input_stacks]
            beside = any(stack.addends == run[i : i + len(pieces)] for run in runs for i in range(len(run)))
            if addends and beside and all(a is b for a, b in zip(pieces, addends, strict=True)):
                found.add(k)
        return found

    def _twin_stacks(self) -> dict[int, tuple[int, int]]:
        """Stacks whose pieces have the gradients of pieces of an input product, side by side: which, from where."""
        body = self._body
        rows = [[self._gradients[body.pieces[product]] for product in stack.products] for stack in self.plan.stacks]
        found = {}
        for k, own in enumerate(rows):
            for j, other in enumerate(rows):
                first = next((i for i in range(len(other)) if other[i : i + len(own)] == own), None)
                if body.operands[j].op == "input" != body.operands[k].op and first is not None:
                    found[k] = (j, first)
        return found

    def _keep(self, node: Expr, kept: list[Expr], sequences: set[str]) -> None:
        """Make `node` available to the backward program."""
        body = self._body
        if node in kept or node.op in ("const", "seed"):
            return
        if node.op == "state":
            sequences.add(str(node.value))
        elif node in body.always:
            pass
        elif node in body.inputs or OPS[node.op].kind == "reduce" or (expensive(node) and not is_scalar(node)):
            kept.append(node)
        else:
            # Cheap: computed again, unless that would mean keeping something else for it.
            trial = list(kept)
            for arg in node.args:
                self._keep(arg, trial, set(sequences))
            if any(new in body.inputs for new in trial[len(kept) :]) and not is_scalar(node):
                kept.append(node)
                return
            for arg in node.args:
                self._keep(arg, kept, sequences)

    def _backward(self, operands: dict[int, Place]) -> Schedule:
        body, spec = self._body, self.spec
        leaves: dict[Expr, Place] = {}
        for state in spec.states:
            axis = spec.state_axes[state]
            leaves[seed(f"carry {state}")] = Place("carry", state, axis)
            leaves[spec.symbol(state)] = Place("in", state, axis)
        leaves[seed("output")] = Place("output gradient", spec.output, spec.output_axis)
        for node in self.kept:
            leaves[node] = operands.get(body.operand_index(node), self._place(node))
        leaves |= {leaf: place for leaf, place in body.leaves.items() if leaf in body.always}
        axes = {leaf: place.axis for leaf, place in leaves.items()}
        targets: list[Target] = []
        for index, leaf in enumerate(body.hoisted_leaves):
            place = Place("hoisted gradient", str(index), body.leaves_axis(leaf))
            targets.append(Target(self._gradients[leaf], place))
        for index, leaf in enumerate(body.fixed_leaves):
            place = Place("fixed gradient", str(index), body.leaves_axis(leaf))
            targets.append(Target(self._gradients[leaf], place, total=True))
        if self.reads_input:
            leaf = spec.symbol("x")
            targets.append(Target(self._gradients[leaf], Place("input gradient", "x", "I")))
        products = []
        for k, stack in enumerate(self.plan.stacks):
            operand_axis = body.axis(body.operands[k])
            needs = tuple(self._gradients[body.pieces[product]] for product in stack.products)
            first = Place("piece gradient", f"{k}.0", body.axis(stack.products[0]))
            if k in self._shared:
                index = body.hoisted.index(stack.addends[0])
                first = Place("hoisted gradient", str(index), first.axis)
            elif k in self._twins:
                first = Place("piece gradient", ".".join(map(str, self._twins[k])), first.axis)
            else:
                for i, (product, value) in enumerate(zip(stack.products, needs, strict=True)):
                    targets.append(Target(value, Place("piece gradient", f"{k}.{i}", body.axis(product))))
            if body.operands[k].op == "input":
                continue
            leaf = seed(f"operand {k}")
            axes[leaf] = operand_axis
            out = Place("operand gradient", str(k), operand_axis)
            products.append(Product(k, first, needs, ((leaf, out),), transposed=True))
        for state in spec.states:
            value = self._gradients[spec.symbol(state)]
            targets.append(Target(value, Place("back", state, spec.state_axes[state])))
        return Schedule(*_direct(targets, leaves, products), _Axes(body, axes))


def _direct(
    targets: list[Target], leaves: dict[Expr, Place], products: list[Product]
) -> tuple[list[Target], dict[Expr, Place], list[Product]]:
    """Let a product write to where its result would only be copied to."""
    for index, product in enumerate(products):
        ((leaf, _),) = product.outputs
        copies = [target for target in targets if target.value is leaf and not target.total]
        readers = [target for target in targets if leaf in topological([target.value])]
        if copies and len(readers) == 1:
            targets.remove(copies[0])
            products[index] = replace(product, outputs=((leaf, copies[0].place),))
    return targets, leaves, products


def _frontier(gradients: Iterable[Expr]) -> list[Expr]:
    """The forward values that the gradients read."""
    seeded: set[Expr] = set()
    found: dict[Expr, None] = {}
    for node in topological(gradients):
        if node.op == "seed" or any(arg in seeded for arg in node.args):
            seeded.add(node)
            for arg in node.args:
                if arg not in seeded:
                    found.setdefault(arg)
    return list(found)


class _Body:
    """The body of a plan with everything that comes from outside as a leaf."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.spec = plan, plan.spec
        spec = plan.spec
        self.hoisted = plan.hoisted
        read = dict.fromkeys(
            arg
            for node in plan.body
            for arg in node.args[node.op == "matmul" :]
            if plan.kind(arg) == "fixed" and arg.op != "const"
        )
        read |= dict.fromkeys(root for root in plan.roots if plan.kind(root) == "fixed" and root.op != "const")
        self.fixed = tuple(read)
        self._axes: dict[Expr, str | None] = {spec.symbol("x"): "I"}
        self._axes |= {spec.symbol(state): axis for state, axis in spec.state_axes.items()}
        self._axes |= {spec.symbol(extra.name): extra.axis for extra in spec.extras}
        self.leaf_of = {node: self._leaf(f"hoisted {i}", node) for i, node in enumerate(self.hoisted)}
        fixed_of = {node: self._leaf(f"fixed {i}", node) for i, node in enumerate(self.fixed)}
        products = [(k, i, p) for k, stack in enumerate(plan.stacks) for i, p in enumerate(stack.products)]
        self.pieces = {p: self._leaf(f"piece {k}.{i}", p) for k, i, p in products}
        boundary = {**self.leaf_of, **fixed_of, **self.pieces}
        operands = [stack.operand for stack in plan.stacks]
        # As written, to be differentiated by the short rules of norms and softmax; with these written out, to run.
        self.written = substitute([*plan.roots, *operands], boundary)
        every = simplify(spread_rows(self.written))
        self.roots, self.operands = every[: len(plan.roots)], every[len(plan.roots) :]
        names = simplify(spread_rows(substitute(plan.named, boundary)))
        self.names = dict(zip(names, plan.named.values(), strict=True))
        self.state_leaves = [spec.symbol(state) for state in spec.states]
        self.piece_leaves = list(self.pieces.values())
        self.hoisted_leaves = list(self.leaf_of.values())
        self.fixed_leaves = list(fixed_of.values())
        # In memory at any time, in both directions.
        self.always = {spec.symbol("x"), *self.fixed_leaves, *(spec.symbol(extra.name) for extra in spec.extras)}
        # In memory in the forward pass only.
        self.inputs = {*self.hoisted_leaves, *self.piece_leaves}
        self.leaves: dict[Expr, Place] = {spec.symbol(s): Place("in", s, a) for s, a in spec.state_axes.items()}
        self.leaves[spec.symbol("x")] = Place("x", "x", "I")
        self.leaves |= {spec.symbol(e.name): Place("extra", e.name, e.axis) for e in spec.extras}
        for kind, leaves in (("hoisted", self.hoisted_leaves), ("fixed", self.fixed_leaves)):
            for i, leaf in enumerate(leaves):
                self.leaves[leaf] = Place(kind, str(i), self.leaves_axis(leaf))

    def _leaf(self, name: str, node: Expr) -> Expr:
        """A leaf in the place of `node`; a sum over an axis of one in the place of a scalar, so that it stays one."""
        leaf = make("extra", value=name)
        self._axes[leaf] = self.axis(node)
        return make("sum", leaf) if is_scalar(node) else leaf

    def leaves_axis(self, leaf: Expr) -> str | None:
        """The axis of a hoisted or fixed leaf; None for a scalar."""
        return None if leaf.op == "sum" else self._axes[leaf]

    def axis(self, node: Expr) -> str | None:
        """The axis of a value; None for a scalar."""
        if node not in self._axes:
            axis = None
            if node.op == "param":
                axis = self.spec.params[str(node.value)][0]
            elif node.op == "matmul":
                axis = self.spec.params[str(node.args[0].value)][0]
            elif OPS[node.op].kind != "reduce":
                axis = next((axis for axis in map(self.axis, node.args) if axis), None)
            self._axes[node] = axis
        return self._axes[node]

    def operand_index(self, node: Expr) -> int:
        """Which stack a node is the operand of; -1 for none."""
        return self.operands.index(node) if node in self.operands else -1

    def kept_operands(self, kept: list[Expr]) -> list[tuple[int, Expr]]:
        """The stacks whose operand is kept, with it."""
        return [(k, node) for k, node in enumerate(self.operands) if node in kept]

    def root_targets(self) -> list[Target]:
        """The next states."""
        return [
            Target(root, Place("out", state, self.spec.state_axes[state]))
            for state, root in zip(self.spec.states, self.roots, strict=True)
        ]

    def schedule(self, targets: list[Target], operands: dict[int, Place], late: Iterable[Target] = ()) -> Schedule:
        """The instructions of the forward body; `operands` says where operands that are no leaves are stored."""
        products = []
        for k, stack in enumerate(self.plan.stacks):
            place = operands.get(k) or self.leaves[self.operands[k]]
            outputs = tuple(
                (self.pieces[p], Place("piece", f"{k}.{i}", self.axis(p))) for i, p in enumerate(stack.products)
            )
            products.append(Product(k, place, (self.operands[k],), outputs))
        return Schedule(targets, self.leaves, products, self.axis, late)


class _Axes:
    """The axes of a body with more leaves."""

    def __init__(self, body: _Body, leaves: dict[Expr, str | None]) -> None:
        self._body = body
        self._axes = dict(leaves)

    def __call__(self, node: Expr) -> str | None:
        """The axis of a value; None for a scalar."""
        if node not in self._axes:
            axis = None
            if node.args and OPS[node.op].kind not in ("reduce", "product"):
                axis = next((axis for axis in map(self, node.args) if axis), None)
            elif not node.args or node.op == "matmul":
                axis = self._body.axis(node)
            self._axes[node] = axis
        return self._axes[node]
