"""From equations to an order of work: what runs before the time loop, what is stacked, what stays in the step."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from recurra.equations.expr import Expr, is_scalar, topological
from recurra.equations.simplify import regroup, simplify
from recurra.equations.spec import CellSpec

__all__ = ["Hoist", "Plan", "Stack"]

Hoist = Literal["all", "products", "none"]


@dataclass(frozen=True, eq=False)
class Stack:
    """Products of one operand, done as one product with the matrices stacked.

    Where every product is at once added to something that is known earlier, `addends` holds those terms and the stack
    yields the sums instead of the products.
    """

    operand: Expr
    products: tuple[Expr, ...]
    addends: tuple[Expr, ...] = ()
    sums: tuple[Expr, ...] = ()

    @property
    def matrices(self) -> tuple[Expr, ...]:
        """The parameters, top to bottom."""
        return tuple(product.args[0] for product in self.products)

    @property
    def pieces(self) -> tuple[Expr, ...]:
        """The values the stack yields, in order."""
        return self.sums or self.products


class Plan:
    """The work of one step of `spec`, sorted by when it can be done.

    - `fixed`: depends on parameters only: once per call.
    - `hoisted`: touches no state and no extra: once for all time steps.
    - `body`: the rest, in order, every step.

    What is hoisted: "all" that can be; "products" and their biases only, where the loop computes the rest while it is
    in cache anyway; "none", where the steps come one by one.
    """

    def __init__(self, spec: CellSpec, hoist: Hoist = "all") -> None:
        self.spec = spec
        self.hoist: Hoist = hoist
        # Under the products that touch no state: these must be hoisted whatever they are.
        self._deep: set[Expr] = set()
        if hoist == "products":
            free = [node.args[1] for node in spec.free_products]
            self._deep = {*topological(simplify(free))}
        # The named values go along, to keep the order in which the step was written.
        named = [node for _, node in spec.names]
        every = regroup(simplify([*named, *(spec.after[state] for state in spec.states)]), self._is_early)
        self.roots = every[len(named) :]
        # The step's own names, by the values they stand for here.
        self.named = {node: name for (name, _), node in zip(spec.names, every, strict=False)}
        live = set(topological(self.roots))
        self.nodes = [node for node in topological(every) if node in live]

    @cached_property
    def _kinds(self) -> dict[Expr, str]:
        return {}

    def kind(self, node: Expr) -> str:
        """`fixed`, `hoisted` or `body`."""
        if node not in self._kinds:
            if node.op in ("state", "extra"):
                kind = "body"
            elif node.op == "input":
                kind = "body" if self.hoist == "none" else "hoisted"
            elif node.op in ("param", "const"):
                kind = "fixed"
            else:
                below = {self.kind(arg) for arg in node.args}
                kind = "body" if "body" in below else "hoisted" if "hoisted" in below else "fixed"
                if kind == "hoisted" and self.hoist == "products" and not self._is_cheap(node):
                    kind = "body"
            self._kinds[node] = kind
        return self._kinds[node]

    def _is_cheap(self, node: Expr) -> bool:
        """Whether hoisting `node` costs no pass over memory: a product, its bias, and what other such products read."""
        if node.op == "matmul" or node in self._deep:
            return True
        return node.op == "add" and sorted(arg.op == "matmul" or self.kind(arg) == "fixed" for arg in node.args) == [
            True,
            True,
        ]

    def _is_early(self, node: Expr) -> bool:
        return self.kind(node) != "body"

    @cached_property
    def users(self) -> dict[Expr, list[Expr]]:
        """Who reads each node; a root is read by nobody."""
        users: dict[Expr, list[Expr]] = {node: [] for node in self.nodes}
        for node in self.nodes:
            for arg in dict.fromkeys(node.args):
                users[arg].append(node)
        return users

    @cached_property
    def hoisted(self) -> tuple[Expr, ...]:
        """The state-free values that the step reads."""
        return tuple(node for node in self.nodes if self.kind(node) == "hoisted" and self._crosses(node))

    @cached_property
    def fixed(self) -> tuple[Expr, ...]:
        """The computed parameter-only values that the step or the hoisted part reads."""
        return tuple(node for node in self.nodes if node.args and self.kind(node) == "fixed" and self._crosses(node))

    def _crosses(self, node: Expr) -> bool:
        kind = self.kind(node)
        return node in self.roots or any(self.kind(user) != kind for user in self.users[node])

    @cached_property
    def body(self) -> tuple[Expr, ...]:
        """What every step computes, in order."""
        return tuple(node for node in self.nodes if node.args and self.kind(node) == "body")

    @cached_property
    def input_stacks(self) -> tuple[Stack, ...]:
        """Products before the loop, stacked by operand; with their biases where all have one."""
        return tuple(self._fuse(stack, "fixed") for stack in self._stacks("hoisted"))

    @cached_property
    def stacks(self) -> tuple[Stack, ...]:
        """Products inside the loop, stacked by operand; with the hoisted terms they are added to where all have one."""
        return tuple(self._fuse(stack, "hoisted") for stack in self._stacks("body"))

    def _stacks(self, kind: str) -> tuple[Stack, ...]:
        grouped: dict[Expr, list[Expr]] = {}
        for node in self.nodes:
            if node.op == "matmul" and self.kind(node) == kind:
                grouped.setdefault(node.args[1], []).append(node)
        return tuple(Stack(operand, tuple(products)) for operand, products in grouped.items())

    def _fuse(self, stack: Stack, kind: str) -> Stack:
        """`stack` with the terms of `kind` that each of its products, and nothing else, is added to."""
        addends, sums = [], []
        for product in stack.products:
            users = self.users[product]
            if product in self.roots or len(users) != 1 or users[0].op != "add":
                return stack
            others = [arg for arg in users[0].args if arg is not product]
            # A scalar has not the width of the product, so it cannot be stacked with the others' terms.
            if len(others) != 1 or self.kind(others[0]) != kind or is_scalar(others[0]):
                return stack
            if kind == "hoisted" and (len(self.users[others[0]]) > 1 or others[0] in self.roots):
                return stack
            addends.append(others[0])
            sums.append(users[0])
        return Stack(stack.operand, stack.products, tuple(addends), tuple(sums))
