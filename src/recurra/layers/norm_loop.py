"""The step of a normalised cell as one Python function: what touches the state, norms handed to a callback.

Norms of products that share an operand are one stacked product and one call: the four gates of an LSTM together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from recurra.equations.expr import Expr, make
from recurra.equations.normalise import norms
from recurra.equations.spec import CellSpec
from recurra.kernels.reference.spelling import NAMESPACE, evaluate, spell

__all__ = ["NormLoop", "apply", "norm_loop"]

# A norm: (number of the group, values (B, F)) -> the same shape.
Norm = Callable[[int, Tensor], Tensor]


@dataclass(frozen=True)
class NormLoop:
    """What runs before the loop over time, and its body.

    groups: the norms, those in one group that are normalised together.
    early: the nodes that do not touch the state, in order. timed: those of them, and x, that the body reads per step.
    fixed: parameters and what is computed from them alone, as the body reads them.
    stacked: the products that are one, in front of the fixed values.
    body: (timed ..., states ..., stacked matrices ..., fixed ..., norm) -> next states; `norm(group, values)`.
    """

    groups: tuple[tuple[Expr, ...], ...]
    early: tuple[Expr, ...]
    timed: tuple[Expr, ...]
    fixed: tuple[Expr, ...]
    stacked: tuple[tuple[Expr, ...], ...]
    source: str
    body: Callable[..., tuple[Tensor, ...]]

    def constants(self, values: Mapping[Expr, Tensor]) -> tuple[Tensor, ...]:
        """What the body needs at every step: stacked matrices, then the fixed values."""
        matrices = (torch.cat([values[product.args[0]] for product in group]) for group in self.stacked)
        return (*matrices, *(values[node] for node in self.fixed))


# Stand for the arguments of a node, so that what lies below them is not computed again.
_SLOTS = tuple(make("extra", value=f"argument {number}") for number in range(3))


def apply(node: Expr, values: Mapping[Expr, Tensor]) -> Tensor:
    """The value of one node whose arguments are known."""
    given = {slot: values[arg] for slot, arg in zip(_SLOTS, node.args, strict=False) if arg.op != "const"}
    args = [slot if slot in given else arg for slot, arg in zip(_SLOTS, node.args, strict=False)]
    return evaluate([make(node.op, *args, value=node.value)], given)[0]


@cache
def norm_loop(spec: CellSpec) -> NormLoop:
    """The loop of a spec; made once."""
    early = tuple(node for node in spec.nodes if node not in spec.stateful and node.args)
    free = [(node,) for node in norms(spec) if node not in spec.stateful]
    together = _together(spec)
    groups = (*free, *together)
    numbers = {group: number for number, group in enumerate(groups)}
    # A group of several are norms of products of one operand.
    stacked = {group: tuple(norm.args[0] for norm in group) for group in together if len(group) > 1}
    matrix: dict[tuple[Expr, ...], str] = {group: f"m{index}" for index, group in enumerate(stacked)}
    names = {spec.symbol(state): f"s{index}" for index, state in enumerate(spec.states)}
    lines: list[str] = []
    timed: dict[Expr, str] = {}
    fixed: dict[Expr, str] = {}
    varying = _varying(spec)

    def name(node: Expr) -> str:
        if node.op == "const":
            return repr(float(node.value or 0.0))
        if node not in names:
            kind, letter = (timed, "x") if node in varying else (fixed, "p")
            names[node] = kind.setdefault(node, f"{letter}{len(kind)}")
        return names[node]

    group_of = {norm: group for group in together for norm in group}
    hidden = {product for products in stacked.values() for product in products}
    for node in spec.nodes:
        if node not in spec.stateful or not node.args or node in hidden or node in names:
            continue
        group = group_of.get(node)
        if group is None:
            lines.append(f"v{len(lines)} = {spell(node, [name(arg) for arg in node.args])}")
            names[node] = f"v{len(lines) - 1}"
            continue
        number = numbers[group]
        inner = group[0].args[0]
        value = f"F.linear({name(inner.args[1])}, {matrix[group]})" if group in matrix else name(inner)
        made = [f"n{number}_{index}" for index in range(len(group))]
        lines.append(f"{', '.join(made)}, = norm({number}, {value}).chunk({len(group)}, -1)")
        names |= dict(zip(group, made, strict=True))
    after = ", ".join(name(spec.after[state]) for state in spec.states)
    arguments = [*timed.values(), *(f"s{index}" for index in range(len(spec.states)))]
    arguments += [*matrix.values(), *fixed.values(), "norm"]
    lines = [f"def body({', '.join(arguments)}):", *lines, f"return {after},"]
    source = "\n    ".join(lines) + "\n"
    space: dict[str, Any] = dict(NAMESPACE)
    exec(source, space)  # noqa: S102 - our own text, from our own table
    return NormLoop(groups, early, tuple(timed), tuple(fixed), tuple(stacked.values()), source, space["body"])


def _varying(spec: CellSpec) -> set[Expr]:
    """What depends on x."""
    found: set[Expr] = set()
    for node in spec.nodes:
        if node.op == "input" or any(arg in found for arg in node.args):
            found.add(node)
    return found


def _together(spec: CellSpec) -> tuple[tuple[Expr, ...], ...]:
    """The norms that touch the state; those of products of one operand, of one height, that only they read, are one."""
    users: dict[Expr, int] = {}
    for node in spec.nodes:
        for arg in node.args:
            users[arg] = users.get(arg, 0) + 1
    found: dict[object, list[Expr]] = {}
    for norm in norms(spec):
        if norm in spec.stateful:
            inner = norm.args[0]
            alone = inner.op != "matmul" or users[inner] > 1
            found.setdefault(norm if alone else (inner.args[1], spec.shapes[inner]), []).append(norm)
    return tuple(tuple(group) for group in found.values())
