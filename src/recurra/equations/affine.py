"""What a parallel scan needs to know: which states wait for which, and how an affine expression splits.

A linear recurrence h' = a h + b with a and b known for all steps is an associative scan (Blelloch 1990; for recurrent
nets Martin and Cundy 2018, arXiv:1709.04057), so it need not run step by step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from recurra.equations.expr import Expr, const, make, topological
from recurra.equations.simplify import simplify

__all__ = ["Affine", "groups", "split"]

# What is added to all products, and per symbol the factor; None: nothing, which is not the same as a 0 to add.
Affine = tuple[Expr | None, dict[Expr, Expr]]

_ZERO = const(0.0)


def groups(reads: Mapping[str, frozenset[str]]) -> tuple[tuple[str, ...], ...]:
    """The states in an order in which each is known before it is read; those that wait for each other in one group.

    `reads` says for every state which states its next value depends on. Within a group the order of `reads` stays.
    """
    reached = {state: _reached(state, reads) for state in reads}
    found: list[tuple[str, ...]] = []
    left: list[str] = list(reads)
    while left:
        # A state whose sources are all placed, or lead back to it.
        ready = next(s for s in left if all(other not in left or s in reached[other] for other in reached[s]))
        group = tuple(s for s in left if s == ready or (s in reached[ready] and ready in reached[s]))
        found.append(group)
        left = [s for s in left if s not in group]
    return tuple(found)


def _reached(state: str, reads: Mapping[str, frozenset[str]]) -> set[str]:
    """All states that `state` depends on, over any number of steps."""
    found: set[str] = set()
    waiting = list(reads[state])
    while waiting:
        source = waiting.pop()
        if source not in found:
            found.add(source)
            waiting.extend(reads[source])
    return found


def split(root: Expr, symbols: Iterable[Expr]) -> Affine | None:
    """`root` as constant + sum of factor * symbol, elementwise; None where it is not of that form."""
    symbols = set(symbols)
    touched: set[Expr] = set()
    for node in topological([root]):
        if node in symbols or any(arg in touched for arg in node.args):
            touched.add(node)
    parts: dict[Expr, Affine] = {}
    for node in topological([root]):
        if node in symbols:
            parts[node] = None, {node: const(1.0)}
        elif node not in touched:
            parts[node] = node, {}
        else:
            part = _part(node, touched, parts)
            if part is None:
                return None
            parts[node] = part
    constant, factors = parts[root]
    tidy = simplify([_ZERO if constant is None else constant, *factors.values()])
    return None if constant is None else tidy[0], dict(zip(factors, tidy[1:], strict=True))


def _part(node: Expr, touched: set[Expr], parts: Mapping[Expr, Affine]) -> Affine | None:
    """One node that depends on the symbols, from the parts of its arguments."""
    free = [arg not in touched for arg in node.args]
    match node.op, node.args, free:
        case "neg", (a,), _:
            return _mapped(parts[a], lambda part: -part)
        case "add" | "sub", (a, b), _:
            return _joined(node.op, parts[a], parts[b])
        case "mul", (a, b), (True, False):
            return _mapped(parts[b], lambda part: a * part)
        case ("mul", (a, b), (False, True)) | ("div", (a, b), (False, True)):
            return _mapped(parts[a], lambda part: make(node.op, part, b))
        case "select", (condition, a, b), (True, _, _):
            return _joined("select", parts[a], parts[b], condition)
        case _:
            return None


def _mapped(part: Affine, change: Callable[[Expr], Expr]) -> Affine:
    constant, factors = part
    return None if constant is None else change(constant), {name: change(value) for name, value in factors.items()}


def _joined(op: str, a: Affine, b: Affine, *before: Expr) -> Affine:
    """Both sides term by term; a term that one side lacks is 0 there."""

    def join(left: Expr | None, right: Expr | None) -> Expr:
        if op == "add" and right is None and left is not None:
            return left
        if op == "add" and left is None and right is not None:
            return right
        return make(op, *before, _ZERO if left is None else left, _ZERO if right is None else right)

    constant = None if a[0] is None and b[0] is None else join(a[0], b[0])
    return constant, {name: join(a[1].get(name), b[1].get(name)) for name in dict.fromkeys((*a[1], *b[1]))}
