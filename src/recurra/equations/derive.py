"""Reverse-mode derivatives: one row per op, written with the same ops, so that derivatives can be derived again.

A row takes the node and the gradient g that arrives at it and gives one gradient per argument (None: there is none).
Source of the identities: Griewank and Walther, Evaluating Derivatives, 2nd ed. 2008; layer norm as in Ba et al. 2016.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from recurra.equations.expr import Expr, const, is_scalar, make, topological
from recurra.equations.ops import OPS

__all__ = ["RULES", "gradient", "seed"]

Row = Callable[[Expr, Expr], tuple[Expr | None, ...]]


def seed(name: str) -> Expr:
    """The leaf for the gradient that arrives at the output `name`."""
    return make("seed", value=name)


def _less(a: Expr, b: Expr) -> Expr:
    return make("less", a, b)


def _mean(a: Expr) -> Expr:
    return make("mean", a)


def _sum(a: Expr) -> Expr:
    return make("sum", a)


def _minimum(y: Expr, g: Expr) -> tuple[Expr, Expr]:
    first = _less(y.args[0], y.args[1])
    return g * first, g * (1 - first)


def _maximum(y: Expr, g: Expr) -> tuple[Expr, Expr]:
    first = _less(y.args[1], y.args[0])
    return g * first, g * (1 - first)


def _select(y: Expr, g: Expr) -> tuple[None, Expr, Expr]:
    zero = const(0.0)
    return None, make("select", y.args[0], g, zero), make("select", y.args[0], zero, g)


def _layer_norm(y: Expr, g: Expr) -> tuple[Expr]:
    (a,) = y.args
    centred = a - _mean(a)
    spread = make("sqrt", _mean(centred * centred) + float(y.value or 0.0))
    return ((g - _mean(g) - y * _mean(g * y)) / spread,)


def _rms_norm(y: Expr, g: Expr) -> tuple[Expr]:
    (a,) = y.args
    size = make("sqrt", _mean(a * a) + float(y.value or 0.0))
    return ((g - y * _mean(g * y)) / size,)


def _largest(y: Expr, g: Expr) -> tuple[Expr]:
    # Where several are the largest they share the gradient, as in torch.amax.
    hits = 1 - _less(y.args[0], y)
    return (g * hits / _sum(hits),)


RULES: Mapping[str, Row] = {
    "matmul": lambda y, g: (make("outer", g, y.args[1]), make("matmul_t", y.args[0], g)),
    "matmul_t": lambda y, g: (make("outer", y.args[1], g), make("matmul", y.args[0], g)),
    "outer": lambda y, g: (make("matmul", g, y.args[1]), make("matmul_t", g, y.args[0])),
    "add": lambda y, g: (g, g),
    "sub": lambda y, g: (g, -g),
    "mul": lambda y, g: (g * y.args[1], g * y.args[0]),
    "div": lambda y, g: (g / y.args[1], -(g * y / y.args[1])),
    "neg": lambda y, g: (-g,),
    "sigmoid": lambda y, g: (g * y * (1 - y),),
    "tanh": lambda y, g: (g * (1 - y * y),),
    "relu": lambda y, g: (g * _less(const(0.0), y.args[0]),),
    "exp": lambda y, g: (g * y,),
    "log": lambda y, g: (g / y.args[0],),
    "softplus": lambda y, g: (g * make("sigmoid", y.args[0]),),
    "abs": lambda y, g: (g * (_less(const(0.0), y.args[0]) - _less(y.args[0], const(0.0))),),
    "sqrt": lambda y, g: (g * 0.5 / y,),
    "minimum": _minimum,
    "maximum": _maximum,
    "less": lambda y, g: (None, None),
    "select": _select,
    "softmax": lambda y, g: (y * (g - _sum(g * y)),),
    "layer_norm": _layer_norm,
    "rms_norm": _rms_norm,
    "sum": lambda y, g: (g,),
    "mean": lambda y, g: (g / make("sum", _ones_like(y.args[0])),),
    "largest": _largest,
}


def gradient(outputs: Mapping[Expr, Expr], wanted: Iterable[Expr]) -> list[Expr | None]:
    """The gradients of sum(output . seed) with respect to each node of `wanted`; None where nothing flows.

    `outputs` maps each output to the gradient that arrives at it. What comes back for a shared parameter is one term
    per batch row and step, to be summed over both (an `outer` sums over the batch itself).
    """
    wanted = list(wanted)
    arrived: dict[Expr, Expr] = dict(outputs)
    scalars: dict[Expr, bool] = {}
    needed = _needed(outputs, wanted)
    for node in reversed(topological(outputs)):
        if node not in arrived or not node.args:
            continue
        for arg, part in zip(node.args, RULES[node.op](node, arrived[node]), strict=True):
            if part is None or arg not in needed:
                continue
            if is_scalar(arg, scalars) and not is_scalar(part, scalars):
                part = _sum(part)
            elif OPS[node.op].kind == "reduce" and not is_scalar(arg, scalars):
                part = part * _ones_like(arg) if is_scalar(part, scalars) else part
            arrived[arg] = arrived[arg] + part if arg in arrived else part
    return [arrived.get(node) for node in wanted]


def _needed(outputs: Iterable[Expr], wanted: list[Expr]) -> set[Expr]:
    """The nodes on a path from `wanted` to an output."""
    found = set(wanted)
    for node in topological(outputs):
        if any(arg in found for arg in node.args):
            found.add(node)
    return found


def _ones_like(node: Expr) -> Expr:
    """A vector of ones of the node's axis: x < x is 0 everywhere, and 1 - 0 is 1 even where x is not finite."""
    return 1 - make("less", node, node)
