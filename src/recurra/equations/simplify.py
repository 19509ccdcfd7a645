"""Rewrites that change no value: constants folded, neutral elements dropped, sums gathered by what they depend on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping

from recurra.equations.expr import Expr, const, is_scalar, make, topological

__all__ = ["regroup", "simplify"]


def _sigmoid(a: float) -> float:
    return 0.5 + 0.5 * math.tanh(0.5 * a)


def _relu(a: float) -> float:
    return max(a, 0.0)


def _softplus(a: float) -> float:
    return max(a, 0.0) + math.log1p(math.exp(-abs(a)))


def _less(a: float, b: float) -> float:
    return float(a < b)


def _select(condition: float, a: float, b: float) -> float:
    return a if condition else b


# All maps, so that a backend never meets a function of numbers alone: `sqrt(0.5) * h` is a number times h.
_FOLD: Mapping[str, Callable[..., float]] = {
    "add": float.__add__,
    "sub": float.__sub__,
    "mul": float.__mul__,
    "div": float.__truediv__,
    "neg": float.__neg__,
    "sigmoid": _sigmoid,
    "tanh": math.tanh,
    "relu": _relu,
    "exp": math.exp,
    "log": math.log,
    "softplus": _softplus,
    "abs": math.fabs,
    "sqrt": math.sqrt,
    "minimum": min,
    "maximum": max,
    "less": _less,
    "select": _select,
    # Over an axis of one.
    "sum": float,
    "mean": float,
    "largest": float,
}


def simplify(roots: Iterable[Expr]) -> list[Expr]:
    """The same values with less to compute."""
    roots = list(roots)
    done: dict[Expr, Expr] = {}
    for node in topological(roots):
        done[node] = _rewrite(node, tuple(done[arg] for arg in node.args))
    return [done[root] for root in roots]


def _rewrite(node: Expr, args: tuple[Expr, ...]) -> Expr:
    values = [float(arg.value or 0.0) if arg.op == "const" else None for arg in args]
    if node.op in _FOLD and None not in values:
        return const(_folded(node.op, values))
    match node.op, args, values:
        case ("add", (a, b), (va, vb)) if va == 0 or vb == 0:
            return b if va == 0 else a
        case ("add", (a, b), _) if b.op == "neg":
            return _rewrite(make("sub", a, b.args[0]), (a, b.args[0]))
        case ("sub", (a, b), (_, vb)) if vb == 0:
            return a
        case ("sub", (a, b), (va, _)) if va == 0:
            return _rewrite(make("neg", b), (b,))
        case ("sub", (a, b), _) if b.op == "neg":
            return make("add", a, b.args[0])
        case ("mul", (a, b), (va, vb)) if va == 1 or vb == 1:
            return b if va == 1 else a
        case ("mul", (a, b), (va, vb)) if va == -1 or vb == -1:
            return _rewrite(make("neg", b), (b,)) if va == -1 else _rewrite(make("neg", a), (a,))
        case ("div", (a, b), (_, vb)) if vb == 1:
            return a
        case ("neg", (a,), _) if a.op == "neg":
            return a.args[0]
        case ("minimum" | "maximum", (a, b), _) if a is b:
            return a
        case ("select", (_, b, c), _) if b is c and not is_scalar(b):
            return b
        case _:
            return make(node.op, *args, value=node.value) if args else node


def _folded(op: str, values: list[float | None]) -> float:
    try:
        return _FOLD[op](*values)
    except (ZeroDivisionError, ValueError):
        # 1 / 0, log(-1): as in floating point, where Python raises.
        return math.nan
    except OverflowError:
        return math.inf


def regroup(roots: Iterable[Expr], early: Callable[[Expr], bool]) -> list[Expr]:
    """Reorder each chain of additions so that terms for which `early` holds are summed first.

    With `early` = "does not touch the state", `(W x + U h) + b` becomes `(W x + b) + U h`, and the bias joins the input
    product that is computed for all time steps at once. Rounding may differ in the last place, values otherwise not.
    """
    roots = list(roots)
    uses: dict[Expr, int] = {}
    for node in topological(roots):
        for arg in node.args:
            uses[arg] = uses.get(arg, 0) + 1
    done: dict[Expr, Expr] = {}
    for node in topological(roots):
        if node.op == "add" and not early(node):
            terms = _terms(node, uses)
            first = [done[term] for term in terms if early(term)]
            later = [done[term] for term in terms if not early(term)]
            total = [_add_up(part) for part in (first, later) if part]
            done[node] = _add_up([total[0], *later]) if first else _add_up(later)
        else:
            done[node] = make(node.op, *(done[arg] for arg in node.args), value=node.value) if node.args else node
    return [done[root] for root in roots]


def _terms(node: Expr, uses: Mapping[Expr, int]) -> list[Expr]:
    """The terms of a chain of additions; a sum that is used elsewhere too stays one term."""
    found: list[Expr] = []
    waiting = list(reversed(node.args))
    while waiting:
        part = waiting.pop()
        if part.op == "add" and uses.get(part, 0) == 1:
            waiting.extend(reversed(part.args))
        else:
            found.append(part)
    return found


def _add_up(terms: list[Expr]) -> Expr:
    total = terms[0]
    for term in terms[1:]:
        total = make("add", total, term)
    return total
