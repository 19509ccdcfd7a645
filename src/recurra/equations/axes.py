"""Axes by unification: what each use of a parameter says about its shape, and whether all the uses agree.

`W.i @ x` says that W.i is (?, I); adding it to `p.i * c` says that ? is the axis of c. What nothing else decides is H.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from recurra.base.errors import EquationError
from recurra.equations.expr import Expr, is_scalar, topological
from recurra.equations.ops import OPS

__all__ = ["Axes", "infer"]

Axes = tuple[str, ...]
Fail = Callable[[Expr, str, str], EquationError]


class _Axis:
    """A union-find cell: its axis letter once some use decides it."""

    __slots__ = ("name", "parent")

    def __init__(self, name: str | None = None) -> None:
        self.name = name
        self.parent: _Axis | None = None

    def root(self) -> _Axis:
        node = self
        while node.parent is not None:
            node = node.parent
        return node


def infer(
    roots: Iterable[Expr], leaves: Mapping[Expr, Axes], same: Iterable[tuple[Expr, str]], fail: Fail
) -> dict[Expr, Axes]:
    """The axes of every node under `roots`: () a scalar, (A,) a vector, (A, B) a matrix.

    `leaves` gives the axes of what is not a parameter, `same` pairs a node with the axis it must have (a state's next
    value), and `fail(node, fact, hint)` makes the error for a node whose axes disagree.
    """
    order = topological(roots)
    scalars: dict[Expr, bool] = {}
    shapes: dict[Expr, tuple[_Axis, ...]] = {leaf: tuple(_Axis(name) for name in axes) for leaf, axes in leaves.items()}
    _rank_params(order, shapes, fail)
    for node in order:
        if node.op == "param":
            # Not an argument of anything: it becomes a state as it is.
            shapes.setdefault(node, (_Axis(),))
        if node not in shapes:
            shapes[node] = _shape(node, shapes, scalars, fail)
    for node, axis in same:
        if is_scalar(node, scalars):
            raise fail(node, f"is a scalar, but a state is a vector ({axis},)", "use a vector parameter: b.h, say.")
        if not _unify(shapes[node][0], _Axis(axis)):
            have = shapes[node][0].root().name
            raise fail(node, f"is a vector ({have},), but the state it becomes is ({axis},)", "")
    return {node: tuple(axis.root().name or "H" for axis in shape) for node, shape in shapes.items()}


def _rank_params(order: list[Expr], shapes: dict[Expr, tuple[_Axis, ...]], fail: Fail) -> None:
    for node in order:
        for index, arg in enumerate(node.args):
            if arg.op != "param":
                continue
            rank = 2 if OPS[node.op].kind == "product" and index == 0 else 1
            if len(shapes.setdefault(arg, tuple(_Axis() for _ in range(rank)))) != rank:
                raise fail(
                    node,
                    f"uses {arg.value} as a {'matrix' if rank == 2 else 'vector'}, elsewhere it is the other",
                    "one name, one parameter: give the second use another name.",
                )


def _shape(
    node: Expr, shapes: dict[Expr, tuple[_Axis, ...]], scalars: dict[Expr, bool], fail: Fail
) -> tuple[_Axis, ...]:
    kind = OPS[node.op].kind
    if is_scalar(node, scalars):
        return ()
    if kind == "product":
        matrix, vector = (shapes[arg] for arg in node.args)
        rows, columns = matrix if node.op == "matmul" else matrix[::-1]
        if len(vector) != 1:
            raise fail(node, "multiplies a matrix with a scalar", "use `*`, or a vector on the right.")
        if not _unify(columns, vector[0]):
            fact = f"multiplies a matrix of {columns.root().name} columns with a vector of {vector[0].root().name}"
            raise fail(node, fact, "each parameter has one shape: use another name for the other operand.")
        return (rows,)
    if kind == "outer":
        return (shapes[node.args[0]][0], shapes[node.args[1]][0])
    parts = [shapes[arg] for arg in node.args if not scalars[arg]]
    if not parts:
        raise fail(node, "needs a vector, its argument is a scalar", "")
    for part in parts[1:]:
        if len(part) != len(parts[0]) or not all(_unify(a, b) for a, b in zip(parts[0], part, strict=True)):
            have = " and ".join("(" + ",".join(axis.root().name or "?" for axis in part) + ",)" for part in parts)
            raise fail(node, f"joins vectors of different axes: {have}", "bring both to one axis with `W.name @ ...`.")
    return parts[0]


def _unify(a: _Axis, b: _Axis) -> bool:
    a, b = a.root(), b.root()
    if a is b:
        return True
    if a.name is not None and b.name is not None:
        return a.name == b.name
    if a.name is None:
        a.parent = b
    else:
        b.parent = a
    return True
