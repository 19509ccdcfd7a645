"""A spec written out as one torch function over all time steps; the scans are calls in it.

The source is kept (RECURRA_SHOW=source prints it). For the minimal GRU it is

    def sequence(run, x, p):
        a0 = F.linear(x, p['W.z'], p['b.z'])
        a1 = torch.sigmoid(a0)
        a2 = F.linear(x, p['W.n'], p['b.n'])
        a3 = a1 * a2
        a4 = 1.0 - a1
        next_h, = run.scan(('h',), ((a4,),), (a3,))
        return next_h,
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from itertools import chain
from math import isfinite
from typing import Any
from weakref import WeakKeyDictionary

from torch import Tensor

from recurra.equations.affine import split
from recurra.equations.expr import Expr, make, substitute, topological
from recurra.equations.simplify import simplify
from recurra.equations.spec import CellSpec
from recurra.kernels.reference.spelling import NAMESPACE, spell

__all__ = ["ScanProgram", "scan_program"]

# A group of states; its factors, a matrix of them, or None where it does not depend on itself; what is added.
_Piece = tuple[tuple[str, ...], tuple[tuple[Expr | None, ...], ...] | None, tuple[Expr | None, ...]]

_PROGRAMS: WeakKeyDictionary[CellSpec, ScanProgram] = WeakKeyDictionary()


def scan_program(spec: CellSpec) -> ScanProgram:
    """The program of a spec, written once."""
    if spec not in _PROGRAMS:
        _PROGRAMS[spec] = ScanProgram(spec)
        if "source" in os.environ.get("RECURRA_SHOW", "").split(","):
            print(f"# {spec.name}\n{_PROGRAMS[spec].source}", file=sys.stderr)
    return _PROGRAMS[spec]


class ScanProgram:
    """`sequence(run, x, p)`: x (T, B, I), p parameters and extras by name -> the states after each step (T, B, size).

    `run` does what needs the states that the request came with: `run.scan(group, factors, terms)`, `run.keep(state,
    values)` for a state that does not depend on itself, and `run.before(state)` for what a state was before each step.
    Raises ValueError for a spec that is no scan.
    """

    def __init__(self, spec: CellSpec) -> None:
        # The spec itself is not kept: programs live in a table that forgets them with their spec.
        self.name = spec.name
        self.source = _Writer(spec).source()

    @cached_property
    def sequence(self) -> Callable[..., tuple[Tensor, ...]]:
        """The function."""
        namespace: dict[str, Any] = dict(NAMESPACE)
        exec(compile(self.source, f"<scan of {self.name}>", "exec"), namespace)  # noqa: S102 - written here from a verified spec
        return namespace["sequence"]


class _Writer:
    """Gives every value a name, group after group, and writes the lines in the order in which they can run."""

    def __init__(self, spec: CellSpec) -> None:
        if spec.scan_order is None:
            raise ValueError(f"{spec.name} is not affine and elementwise in what it carries")
        self.spec = spec
        self.names: dict[Expr, str] = {spec.symbol("x"): "x"}
        self.lines: list[str] = []
        self._count = 0
        self._pieces = list(_pieces(spec, spec.scan_order))
        roots = [
            root
            for _, factors, terms in self._pieces
            for root in (*chain(*(factors or ())), *terms)
            if root is not None
        ]
        self._users = Counter(arg for node in topological(roots) for arg in node.args) + Counter(roots)

    def source(self) -> str:
        for group, factors, terms in self._pieces:
            values = ", ".join(self._root(term) for term in terms)
            names = ", ".join(repr(state) for state in group)
            after = ", ".join(f"next_{state}" for state in group)
            if factors is None:
                self.lines.append(f"{after} = run.keep({names}, {values})")
            else:
                rows = ", ".join(f"({', '.join(self._root(factor) for factor in row)},)" for row in factors)
                self.lines.append(f"{after}, = run.scan(({names},), ({rows},), ({values},))")
            self.names |= {_next(state): f"next_{state}" for state in group}
        after = ", ".join(f"next_{state}" for state in self.spec.states)
        return "\n    ".join(["def sequence(run, x, p):", *self.lines, f"return {after},\n"])

    def _root(self, root: Expr | None) -> str:
        """The name of a value, after writing what it needs; None, a term that is not there, stays None."""
        if root is None:
            return "None"
        for node in self._needed(root):
            if node not in self.names:
                self.names[node] = self._leaf(node) if not node.args else self._line(node)
        return self.names[root]

    def _needed(self, root: Expr) -> list[Expr]:
        """What is not written yet under `root`, without the products that a sum takes in."""
        fused = [node.args[index] for node in topological([root]) if (index := self._product(node)) is not None]
        return [node for node in topological([root]) if node not in fused]

    def _product(self, node: Expr) -> int | None:
        """Which argument of a sum is a product that only this sum reads, where the other is a bias."""
        if node.op == "add":
            for index, (part, other) in enumerate((node.args, node.args[::-1])):
                if part.op == "matmul" and other.op == "param" and self._users[part] == 1:
                    return index
        return None

    def _leaf(self, node: Expr) -> str:
        if node.op == "const":
            value = float(node.value or 0.0)
            return repr(value) if isfinite(value) else f"float('{value}')"
        if node.op == "state":
            self.lines.append(f"was_{node.value} = run.before({node.value!r})")
            return f"was_{node.value}"
        return f"p[{node.value!r}]"

    def _line(self, node: Expr) -> str:
        name = f"a{self._count}"
        self._count += 1
        index = self._product(node)
        if index is None:
            self.lines.append(f"{name} = {spell(node, [self.names[arg] for arg in node.args])}")
        else:
            matrix, vector = node.args[index].args
            names = (self.names[part] for part in (vector, matrix, node.args[1 - index]))
            self.lines.append(f"{name} = F.linear({', '.join(names)})")
        return name


def _next(state: str) -> Expr:
    """The leaf for what a state is after the step; no extra can have this name."""
    return make("extra", value=f"{state}'")


def _pieces(spec: CellSpec, order: Iterable[tuple[str, ...]]) -> Iterator[_Piece]:
    """The groups in order, in terms of x, parameters, extras, and states of groups before."""
    known: dict[Expr, Expr] = {}
    for group in order:
        after = substitute([spec.after[state] for state in group], known)
        symbols = [spec.symbol(state) for state in group]
        if not spec.reads[group[0]] & {*group}:
            yield group, None, tuple(simplify(after))
        else:
            parts = [split(node, symbols) for node in after]
            yield (
                group,
                tuple(tuple(part[1].get(symbol) for symbol in symbols) for part in parts if part),
                tuple(part[0] for part in parts if part),
            )
        # What else is computed from a next value reads it from the sequence of the state.
        known |= {spec.after[state]: _next(state) for state in group if spec.after[state].args}
