"""Options of the layer as rewrites of the equations, so that every backend has them for nothing.

Recurrent dropout, zoneout and projection change what a step computes; here they become other specs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from recurra.base.errors import EquationError, message
from recurra.equations import show
from recurra.equations.axes import Axes, infer
from recurra.equations.expr import Expr, make, substitute, topological
from recurra.equations.simplify import simplify
from recurra.equations.spec import CellSpec, Extra

__all__ = ["rebuilt", "with_projection", "with_recurrent_dropout", "with_replaced", "with_zoneout"]


def with_recurrent_dropout(spec: CellSpec) -> CellSpec:
    """Every state that a recurrent product reads is multiplied by a mask there, the same at all steps.

    The extras are `drop_h` (axis of h) and so on. Elementwise uses of the state stay whole, so memory is not lost.
    Gal and Ghahramani 2016, arXiv:1512.05287.
    """
    masked: dict[Expr, Expr] = {}
    dropped: dict[str, None] = {}
    done: dict[Expr, Expr] = {}
    for node in spec.nodes:
        args = tuple(done[arg] for arg in node.args)
        if node.op == "matmul" and node in spec.stateful:
            args = (args[0], _mask_states(args[1], masked, dropped))
        done[node] = make(node.op, *args, value=node.value) if node.args else node
    extras = tuple(
        Extra(f"drop_{state}", spec.state_axes[state], "recurrent dropout mask, constant over time")
        for state in dropped
    )
    return rebuilt(spec, {state: done[node] for state, node in spec.after.items()}, done, extras)


def with_zoneout(spec: CellSpec, states: Iterable[str]) -> CellSpec:
    """Each unit of each state in `states` keeps its old value where the extra `zone_h` is 1.

    Training hands in 0/1 per step; prediction hands in the rate, which gives the expectation. Krueger et al. 2017,
    arXiv:1606.01305.
    """
    after = dict(spec.after)
    extras: list[Extra] = []
    for state in states:
        zone = make("extra", value=f"zone_{state}")
        after[state] = zone * make("state", value=state) + (1 - zone) * spec.after[state]
        extras.append(Extra(f"zone_{state}", spec.state_axes[state], "share of the old state that stays, per step"))
    return rebuilt(spec, after, {}, tuple(extras))


def with_projection(spec: CellSpec) -> CellSpec:
    """The output state h becomes R.h @ h, of axis P, and it is what the recurrent products then read.

    Sak et al. 2014, arXiv:1402.1128. Raises EquationError for a cell that uses its output elementwise as well (a GRU).
    Recurrent dropout comes before, zoneout after: a mask is for what the cell reads, not for what is projected.
    """
    output = spec.output
    if spec.output_axis != "H":
        hint = f"its width is {spec.output_axis}, given by output_size."
        raise EquationError(message(f"projection of {spec.name}", "the cell has an output layer already", hint=hint))
    projected = make("matmul", make("param", value=f"R.{output}"), spec.after[output])
    axes = {**spec.state_axes, output: "P"}
    extras = tuple(replace(extra, axis="P") if extra.name == f"drop_{output}" else extra for extra in spec.extras)
    spec = replace(spec, extras=extras)

    def fail(node: Expr, fact: str, _: str) -> EquationError:
        hint = f"this cell uses {output} elementwise too, so it cannot change its size; project after the layer."
        return EquationError(message(f"projection of {spec.name}", f"`{show.text(node)}` {fact}", hint=hint))

    after = {**spec.after, output: projected}
    shapes = infer(after.values(), _leaf_axes(spec, axes), [(node, axes[s]) for s, node in after.items()], fail)
    if shapes[projected.args[1]] == ("P",):
        raise fail(spec.after[output], f"has the axis of the projected {output} already", "")
    params = {name: shapes[make("param", value=name)] for name in (*spec.params, f"R.{output}")}
    return replace(spec, after=after, state_axes=axes, shapes=shapes, params=params)


def with_replaced(spec: CellSpec, name: str, changes: Mapping[Expr, Expr]) -> CellSpec:
    """Another cell, called `name`: the same equations with each node of `changes` replaced, and simplified.

    A gate that becomes the number 1 takes its parameters along. Raises EquationError where an expression to be
    replaced does not stand in the equations, or what comes in has another axis.
    """
    missing = [node for node in changes if node not in spec.shapes]
    if missing:
        raise EquationError(message(name, f"`{show.text(missing[0])}` does not stand in {spec.name}"))
    kept = [(label, node) for label, node in spec.names if node not in changes]
    roots = simplify(substitute([*(node for _, node in kept), *spec.after.values()], changes))
    after = dict(zip(spec.after, roots[len(kept) :], strict=True))
    live = set(topological(after.values()))
    labels = [label for label, _ in kept]
    names = tuple((label, node) for label, node in zip(labels, roots, strict=False) if node in live and node.args)
    changed = rebuilt(replace(spec, name=name, names=names), after, {}, ())
    params = {param: axes for param, axes in spec.params.items() if make("param", value=param) in changed.shapes}
    return replace(changed, params=params)


def _mask_states(operand: Expr, masked: dict[Expr, Expr], dropped: dict[str, None]) -> Expr:
    """`operand` with its states masked; what lies behind another product was masked there."""
    behind = {node: node for node in topological([operand]) if node.op == "matmul"}
    for node in topological([operand]):
        if node.op == "state":
            name = str(node.value)
            dropped.setdefault(name)
            masked[node] = make("mul", make("extra", value=f"drop_{name}"), node)
    return substitute([operand], {**masked, **behind})[0]


def rebuilt(
    spec: CellSpec, after: Mapping[str, Expr], moved: Mapping[Expr, Expr], extras: tuple[Extra, ...]
) -> CellSpec:
    """`spec` with other next states, which may use `extras` too; `moved` says what became of named values.

    Raises EquationError where axes do not agree.
    """

    def fail(node: Expr, fact: str, hint: str) -> EquationError:
        return EquationError(message(spec.name, f"`{show.text(node)}` {fact}", hint=hint or None))

    leaves = _leaf_axes(spec, spec.state_axes) | {make("extra", value=extra.name): (extra.axis,) for extra in extras}
    shapes = infer(after.values(), leaves, [(node, spec.state_axes[s]) for s, node in after.items()], fail)
    names = tuple((name, moved.get(node, node)) for name, node in spec.names)
    kept = tuple((name, node) for name, node in names if node in shapes)
    return replace(spec, after=dict(after), names=kept, shapes=shapes, extras=(*spec.extras, *extras))


def _leaf_axes(spec: CellSpec, state_axes: Mapping[str, str]) -> dict[Expr, Axes]:
    leaves: dict[Expr, Axes] = {make("input", value="x"): ("I",)}
    leaves |= {make("state", value=state): (axis,) for state, axis in state_axes.items()}
    return leaves | {make("extra", value=extra.name): (extra.axis,) for extra in spec.extras}
