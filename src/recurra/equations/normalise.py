"""Normalisation as rewrites of the equations: of every product, by given statistics, and of the input products."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from recurra.equations.expr import Expr, make
from recurra.equations.spec import CellSpec, Extra
from recurra.equations.transform import rebuilt

__all__ = ["gains", "input_products", "norms", "with_input_shift", "with_normalised_products", "with_statistics"]


def norms(spec: CellSpec) -> tuple[Expr, ...]:
    """The layer norms of the equations, in order."""
    return tuple(node for node in spec.nodes if node.op == "layer_norm")


def gains(spec: CellSpec) -> tuple[str, ...]:
    """The vector parameters that scale a layer norm: s in `s ⊙ LN(...)`."""
    found: dict[str, None] = {}
    for node in spec.nodes:
        if node.op == "mul" and any(arg.op == "layer_norm" for arg in node.args):
            found.update({str(arg.value): None for arg in node.args if arg.op == "param"})
    return tuple(found)


def input_products(spec: CellSpec) -> tuple[Expr, ...]:
    """The products of x itself."""
    return tuple(node for node in spec.products if node.args[1].op == "input")


def with_normalised_products(spec: CellSpec, eps: float = 1e-5) -> CellSpec:
    """Every product M v becomes g ⊙ LN(M v), its gain named after the matrix: W.i has gain_W.i.

    The form of Ba, Kiros and Hinton 2016, arXiv:1607.06450, for a cell of any equations.
    """

    def change(node: Expr, made: Expr) -> Expr:
        if node.op != "matmul":
            return made
        return make("param", value=f"gain_{node.args[0].value}") * make("layer_norm", made, value=eps)

    return _changed(spec, change)


def with_statistics(spec: CellSpec) -> CellSpec:
    """Every layer norm becomes (a - mean) ⊙ scale with numbers from outside, the extras `mean_0`, `scale_0` and so on.

    This is batch normalisation in prediction: statistics and 1 / standard deviation from training.
    """
    number = {node: index for index, node in enumerate(norms(spec))}
    extras: list[Extra] = []
    for node, index in number.items():
        axis = spec.shapes[node][0]
        extras.append(Extra(f"mean_{index}", axis, "mean of what is normalised"))
        extras.append(Extra(f"scale_{index}", axis, "1 / its standard deviation"))

    def change(node: Expr, made: Expr) -> Expr:
        if node not in number:
            return made
        mean, scale = (make("extra", value=f"{kind}_{number[node]}") for kind in ("mean", "scale"))
        return (made.args[0] - mean) * scale

    return _changed(spec, change, tuple(extras))


def with_input_shift(spec: CellSpec) -> CellSpec:
    """Every product of x gets a vector added, the parameter `shift_W.i` for W.i: what folds a normalisation away."""
    products = set(input_products(spec))

    def change(node: Expr, made: Expr) -> Expr:
        return made + make("param", value=f"shift_{node.args[0].value}") if node in products else made

    return _changed(spec, change)


def _changed(spec: CellSpec, change: Callable[[Expr, Expr], Expr], extras: tuple[Extra, ...] = ()) -> CellSpec:
    """`spec` with `change(node, the same over changed arguments)` for every node."""
    done: dict[Expr, Expr] = {}
    for node in spec.nodes:
        made = make(node.op, *(done[arg] for arg in node.args), value=node.value) if node.args else node
        done[node] = change(node, made)
    changed = rebuilt(spec, {state: done[node] for state, node in spec.after.items()}, done, extras)
    new = {str(node.value): axes for node, axes in changed.shapes.items() if node.op == "param"}
    params = {**spec.params, **{name: axes for name, axes in new.items() if name not in spec.params}}
    return replace(changed, params=params)
