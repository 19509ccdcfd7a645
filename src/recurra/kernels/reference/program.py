"""A plan written out as three torch functions: `pack` the parameters, `before` the loop, and the `step` inside it.

The source is kept (RECURRA_SHOW=source prints it), so what runs can be read. For the LSTM the step begins

    def step(s0, h, c, m0):
        a0, a1, a2, a3, = torch.addmm(s0, h, m0).chunk(4, -1)
        a4 = torch.sigmoid(a0)
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary

from torch import Tensor

from recurra.equations.expr import Expr
from recurra.equations.spec import CellSpec
from recurra.kernels.plan import Plan, Stack
from recurra.kernels.reference.spelling import NAMESPACE, spell

__all__ = ["Program", "program"]

_PROGRAMS: WeakKeyDictionary[CellSpec, Program] = WeakKeyDictionary()


def program(spec: CellSpec) -> Program:
    """The program of a spec, written once."""
    if spec not in _PROGRAMS:
        _PROGRAMS[spec] = Program(spec)
        if "source" in os.environ.get("RECURRA_SHOW", "").split(","):
            print(f"# {spec.name}\n{_PROGRAMS[spec].source}", file=sys.stderr)
    return _PROGRAMS[spec]


class Program:
    """`pack(params)`, then `before(x, packed)` for all steps at once, then `step(*slices, *states, *extras, *packed)`.

    Shapes: x (T, B, I); each slice (T, B, ...), the step takes one time of it; states (B, size).
    """

    def __init__(self, spec: CellSpec, plan: Plan | None = None, whole: bool = False) -> None:
        # The spec itself is not kept: programs live in a table that forgets them with their spec.
        self.name = spec.name
        writer = _Writer(plan or Plan(spec), whole)
        self.source = writer.source()
        # What the elements of `before` and `pack` are: values one beside the other; a loop product's matrices, a value
        # that follows from parameters, or (None) something that only `before` reads.
        self.sliced = tuple(writer.slice_of[name] for name in writer.sliced)
        self.packed = tuple(writer.pack_of.get(name) for name in writer.packed)

    @cached_property
    def _functions(self) -> dict[str, Any]:
        namespace = dict(NAMESPACE)
        exec(compile(self.source, f"<{self.name}>", "exec"), namespace)  # noqa: S102 - written here from a verified spec
        return namespace

    @cached_property
    def pack(self) -> Callable[[Mapping[str, Tensor]], tuple[Tensor, ...]]:
        """Parameters as the step wants them: stacked, transposed, and what follows from them alone."""
        return self._functions["pack"]

    @cached_property
    def before(self) -> Callable[[Tensor, tuple[Tensor, ...]], tuple[Tensor, ...]]:
        """x (T, B, I) -> what the steps read of it."""
        return self._functions["before"]

    @cached_property
    def step(self) -> Callable[..., tuple[Tensor, ...]]:
        """One time step: the next value of every state."""
        return self._functions["step"]


class _Writer:
    """Gives every value of the plan a name, and writes the lines that compute it in the function it belongs to."""

    def __init__(self, plan: Plan, whole: bool) -> None:
        self.plan = plan
        # Stacked input products are handed on in one piece and cut in the step, for whoever reads them by address.
        self.whole = whole
        self._cut_in_step: set[Expr] = set()
        self.names: dict[Expr, str] = {}
        self.lines: dict[str, list[str]] = {"pack": [], "before": [], "step": []}
        # What `pack` and `before` hand on, in order.
        self.packed: dict[str, None] = {}
        self.sliced: dict[str, None] = {}
        self._counts: dict[str, int] = {}
        self._taken = {*NAMESPACE, "params", "packed", "x"}
        self._whole: dict[Stack, str] = {}
        self.slice_of: dict[str, tuple[Expr, ...]] = {}
        self.pack_of: dict[str, Expr | Stack] = {}

    def source(self) -> str:
        plan, spec = self.plan, self.plan.spec
        self.names[spec.symbol("x")] = "x"
        if plan.hoist == "none":
            # Then the step reads the input itself.
            self.sliced["x"] = None
            self.slice_of["x"] = (spec.symbol("x"),)
        for leaf in (*spec.states, *(extra.name for extra in spec.extras)):
            self.names[spec.symbol(leaf)] = self._unique(leaf)
        for stack in plan.input_stacks:
            self._write_input_stack(stack)
        self._hand_on()
        stacks = {product: stack for stack in plan.stacks for product in stack.products}
        for node in plan.body:
            if node in self.names:
                continue
            if node not in stacks:
                self._write(node, "step")
            elif stacks[node].pieces[0] not in self.names:
                self._write_loop_stack(stacks[node])
        states = [self.names[spec.symbol(state)] for state in spec.states]
        extras = [self.names[spec.symbol(extra.name)] for extra in spec.extras]
        roots = ", ".join(self._root(root, state) for root, state in zip(plan.roots, states, strict=True))
        arguments = [*self.sliced, *states, *extras, *self.packed]
        unpack = [f"{', '.join(self.packed)}, = packed"] if self.packed else []
        return "\n\n".join(
            (
                _function("pack", "params", [*self.lines["pack"], _tuple(self.packed)]),
                _function("before", "x, packed", [*unpack, *self.lines["before"], _tuple(self.sliced)]),
                _function("step", ", ".join(arguments), [*self.lines["step"], f"return {roots},"]),
            )
        )

    def _fresh(self, letter: str) -> str:
        self._counts[letter] = self._counts.get(letter, -1) + 1
        return self._unique(f"{letter}{self._counts[letter]}")

    def _unique(self, name: str) -> str:
        """`name`, or something like it where a state of the user's or a function has it already."""
        while name in self._taken:
            name += "_"
        self._taken.add(name)
        return name

    def _root(self, root: Expr, state: str) -> str:
        """A next state; one that follows from parameters alone has no batch axis yet."""
        name = self._read(root, "step")
        return f"{name}.expand_as({state})" if self.plan.kind(root) == "fixed" else name

    def _read(self, node: Expr, place: str) -> str:
        """The name by which `place` reads `node`, computing it first where it belongs."""
        if node.op == "const":
            return repr(node.value)
        kind = self.plan.kind(node)
        if node not in self.names:
            self._write(node, {"fixed": "pack", "hoisted": "before", "body": "step"}[kind])
        name = self.names[node]
        if kind == "fixed" and place != "pack":
            self.packed.setdefault(name)
            self.pack_of.setdefault(name, node)
        if kind == "hoisted" and place == "step" and node not in self._cut_in_step:
            self.sliced.setdefault(name)
            self.slice_of.setdefault(name, (node,))
        return name

    def _write(self, node: Expr, place: str) -> None:
        if node.op == "param":
            self.names[node] = self._unique("p_" + str(node.value).replace(".", "_"))
            self.lines[place].append(f"{self.names[node]} = params[{str(node.value)!r}]")
            return
        line = spell(node, [self._read(arg, place) for arg in node.args])
        self.names[node] = self._fresh({"pack": "f", "before": "v", "step": "a"}[place])
        self.lines[place].append(f"{self.names[node]} = {line}")

    def _joined(self, nodes: tuple[Expr, ...], letter: str, suffix: str = "") -> str:
        """Parameters below one another, under a new name."""
        parts = [self._read(node, "pack") for node in nodes]
        name = self._fresh(letter)
        joined = f"torch.cat(({', '.join(parts)}))" if len(parts) > 1 else parts[0]
        self.lines["pack"].append(f"{name} = {joined}{suffix}")
        self.packed.setdefault(name)
        return name

    def _write_input_stack(self, stack: Stack) -> None:
        operand = self._read(stack.operand, "before")
        weight = self._joined(stack.matrices, "w")
        bias = self._joined(stack.addends, "c") if stack.addends else "None"
        whole = self._fresh("s")
        self.lines["before"].append(f"{whole} = F.linear({operand}, {weight}, {bias})")
        self._whole[stack] = whole
        if self.whole and set(stack.pieces) <= set(self.plan.hoisted) and not self._read_before(stack):
            self.sliced.setdefault(whole)
            self.slice_of[whole] = stack.pieces
            self._cut_in_step.update(stack.pieces)
            self._cut(stack, whole, "step", "v")
            return
        runs = [loop.addends for loop in self.plan.stacks if _start_of_run(loop.addends, stack.pieces) is not None]
        taken = {addend for run in runs for addend in run}
        if not taken.issuperset(stack.pieces):
            self._cut(stack, f"{whole}", "before", "v")

    def _read_before(self, stack: Stack) -> bool:
        """Whether a hoisted value reads a piece of the stack."""
        return any(self.plan.kind(user) != "body" for piece in stack.pieces for user in self.plan.users[piece])

    def _hand_on(self) -> None:
        """Join, for each loop stack, the hoisted terms it is added to; mostly they are one tensor, or a run of it."""
        for loop in self.plan.stacks:
            if not loop.addends:
                continue
            for stack, whole in self._whole.items():
                first = _start_of_run(loop.addends, stack.pieces)
                if first is not None and stack.pieces[0] in self._cut_in_step:
                    first, last = (self._width(stack.products[:end]) for end in (first, first + len(loop.addends)))
                    self._whole[loop] = f"{whole}[..., {first} : {last}]"
                    break
                if first is not None:
                    name = whole
                    if len(loop.addends) < len(stack.pieces):
                        start, end = (
                            self._width(stack.products[:first]),
                            self._width(stack.products[: first + len(loop.addends)]),
                        )
                        name = self._fresh("s")
                        self.lines["before"].append(f"{name} = {whole}[..., {start} : {end}]")
                    break
            else:
                if self._cut_in_step.intersection(loop.addends):
                    parts = ", ".join(self._read(addend, "step") for addend in loop.addends)
                    self._whole[loop] = f"torch.cat(({parts},), -1)"
                    continue
                parts = ", ".join(self._read(addend, "before") for addend in loop.addends)
                name = self._fresh("s")
                self.lines["before"].append(f"{name} = torch.cat(({parts},), -1)")
            if loop in self._whole:
                continue
            self._whole[loop] = name
            self.sliced.setdefault(name)
            self.slice_of[name] = loop.addends

    def _width(self, products: tuple[Expr, ...]) -> str:
        """The summed heights of the matrices of `products`, as source."""
        heights = []
        for product in products:
            matrix = self._read(product.args[0], "pack")
            self.packed.setdefault(matrix)
            self.pack_of.setdefault(matrix, product.args[0])
            heights.append(f"{matrix}.shape[0]")
        return " + ".join(heights) or "0"

    def _write_loop_stack(self, stack: Stack) -> None:
        matrix = self._joined(stack.matrices, "m", ".t()")
        self.pack_of[matrix] = stack
        operand = self._read(stack.operand, "step")
        product = (
            f"torch.addmm({self._whole[stack]}, {operand}, {matrix})" if stack.addends else f"{operand} @ {matrix}"
        )
        self._cut(stack, product, "step", "a")

    def _cut(self, stack: Stack, product: str, place: str, letter: str) -> None:
        """Name the pieces of a stacked product."""
        for piece in stack.pieces:
            self.names[piece] = self._fresh(letter)
        if len(stack.pieces) == 1:
            self.lines[place].append(f"{self.names[stack.pieces[0]]} = {product}")
            return
        axes = {self.plan.spec.shapes[matrix][0] for matrix in stack.matrices}
        # Not tensor_split: its gradient fills one tensor of zeros per piece.
        cut = f"chunk({len(stack.pieces)}, -1)"
        if len(axes) > 1:
            cut = f"split(({', '.join(self._width((part,)) for part in stack.products)},), -1)"
        left = product if product.isidentifier() or product.startswith("torch.") else f"({product})"
        self.lines[place].append(f"{', '.join(self.names[piece] for piece in stack.pieces)}, = {left}.{cut}")


def _start_of_run(addends: tuple[Expr, ...], pieces: tuple[Expr, ...]) -> int | None:
    """Where `addends` stand in `pieces`, one behind the other; None where they do not."""
    if not addends or addends[0] not in pieces:
        return None
    first = pieces.index(addends[0])
    return first if pieces[first : first + len(addends)] == addends else None


def _function(name: str, arguments: str, lines: list[str]) -> str:
    return f"def {name}({arguments}):\n" + "\n".join(f"    {line}" for line in lines)


def _tuple(names: Mapping[str, None]) -> str:
    return f"return ({', '.join(names)},)" if names else "return ()"
