"""Deep transitions: one time step made of several nonlinear layers, for any cell, as a rewrite of its equations.

The result is a cell like any other: traced, printed, compiled by the native engine, counted. Pascanu, Gulcehre, Cho and
Bengio, How to construct deep recurrent neural networks, 2014, arXiv:1312.6026.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any, Literal

from recurra.base.errors import ConfigError, EquationError, message
from recurra.equations import show
from recurra.equations.axes import Axes, infer
from recurra.equations.cell import Cell
from recurra.equations.expr import Expr, const, make, topological
from recurra.equations.simplify import simplify
from recurra.equations.spec import CellSpec
from recurra.layers.unit import resolve

__all__ = ["DeepTransition", "Inputs", "deep_transition"]

Inputs = Literal["first", "all"]

# Of zeros these make zeros; the simplifier leaves them, as a zero has no axis and 0 times NaN is not 0.
_OF_ZERO = ("layer_norm", "rms_norm", "mul")


def deep_transition(
    cell: str | type[Cell] | Cell, depth: int, *, shortcut: bool = False, inputs: Inputs = "first"
) -> DeepTransition:
    """DT-RNN: `cell` whose step passes through `depth` layers of its own equations, each with its own weights.

    >>> from recurra.equations.show import equations
    >>> print(equations(deep_transition("elman", 2, shortcut=True).spec))
    h1 = tanh(W x + U h + b)
    h' = tanh(U2 h1 + Us2 h + b2)

    The layers after the first read the states of the layer before, not x (inputs="all": x too, by matrices W2 ...).
    shortcut: DT(S)-RNN, each later recurrent product also sees what the same product of the first layer saw, h of the
    step before, by matrices Us2 ... For a gated cell each layer has all gates (Barone et al. 2017, arXiv:1707.07631).
    Raises EquationError for a cell whose step is affine in its state (minGRU, SRU), reads x other
    than through products, or has extras.
    """
    return DeepTransition(cell, depth, shortcut=shortcut, inputs=inputs)


class DeepTransition(Cell):
    """A cell several layers deep in each step; made by `deep_transition`."""

    states = "h"

    def __init__(
        self, cell: str | type[Cell] | Cell, depth: int, *, shortcut: bool = False, inputs: Inputs = "first"
    ) -> None:
        faults = []
        if not isinstance(depth, int) or depth < 1:
            faults.append(f"depth must be a whole number from 1, got {depth!r}")
        if inputs not in ("first", "all"):
            faults.append(f"inputs must be 'first' or 'all', got {inputs!r}")
        if faults:
            raise ConfigError(message("deep_transition", "the arguments do not fit", *faults))
        self.inner = resolve(cell)
        self.depth, self.shortcut, self.inputs = depth, shortcut, inputs
        # What a class says of itself is here a matter of the instance.
        vars(self).update(states=self.inner.states, axes=self.inner.axes, cite=self.inner.cite)
        vars(self).update(initial=_initial(self.inner, depth, self.spec))

    def step(self, *_: Any) -> Any:
        """Never traced: the equations are those of the inner cell, rewritten."""
        raise NotImplementedError

    @cached_property
    def name(self) -> str:
        """As deep2_lstm, or deep3s_gru with shortcuts."""
        marks = ("s" if self.shortcut else "") + ("x" if self.inputs == "all" else "")
        return f"deep{self.depth}{marks}_{self.inner.name}"

    @cached_property
    def spec(self) -> CellSpec:
        """The rewritten equations; as those of the inner cell where depth is 1."""
        if self.depth == 1:
            return self.inner.spec
        return _deepened(self.inner.spec, self.name, self.depth, self.shortcut, self.inputs)


def _initial(cell: Cell, depth: int, spec: CellSpec) -> dict[str, str | float]:
    """What the cell says of a parameter holds for that parameter in every layer that has it."""
    deep = {_renamed(key, layer): value for layer in range(2, depth + 1) for key, value in cell.initial.items()}
    return dict(cell.initial) | {key: value for key, value in deep.items() if key in {*spec.params, *spec.families}}


def _renamed(name: str, layer: int, mark: str = "") -> str:
    family, dot, gate = name.partition(".")
    return f"{family}{mark}{layer}{dot}{gate}"


def _deepened(spec: CellSpec, name: str, depth: int, shortcut: bool, inputs: str) -> CellSpec:
    if spec.extras:
        raise EquationError(
            message(name, f"{spec.name} reads {spec.extras[0].name}, which has no meaning between layers")
        )
    if spec.is_affine_elementwise:
        fact = f"the step of {spec.name} is affine and elementwise in its state, so layers of it are one layer"
        raise EquationError(message(name, fact, hint="stack layers instead: num_layers."))
    after = dict(spec.after)
    names = list(spec.names)
    order = list(spec.params)
    for layer in range(2, depth + 1):
        taken = {label for label, _ in names} | set(spec.states)
        names += [
            (_free(f"{state}{layer - 1}", taken), node)
            for state, node in after.items()
            if node.args and node not in {known for _, known in names}
        ]
        done, params = _layer(spec, after, layer, shortcut, inputs)
        order += params
        names += [(f"{label}{layer}", done[node]) for label, node in spec.names if done[node].args]
        after = {state: done[node] for state, node in spec.after.items()}
    _check_recurrent(spec, after, name, depth)
    roots = simplify([*(node for _, node in names), *after.values()])
    labels = [label for label, _ in names]
    after = dict(zip(spec.states, roots[len(labels) :], strict=True))
    live = set(topological(after.values()))
    named: dict[str, Expr] = {}
    for label, node in zip(labels, roots, strict=False):
        if node.args and node in live and node not in named.values():
            named[label] = node
    return _assembled(spec, name, after, tuple(named.items()), order)


def _check_recurrent(spec: CellSpec, after: Mapping[str, Expr], name: str, depth: int) -> None:
    """Every layer must still read the states; in some cells x is a factor of that."""
    used = {node.value for node in topological(simplify(after.values())) if node.op == "param"}
    for layer in range(2, depth + 1):
        for param in spec.recurrent_params:
            if _renamed(param, layer) not in used:
                fact = f"without x nothing is left of the product with {param} in {spec.name}"
                raise EquationError(message(name, fact, hint='inputs="all" gives every layer x.'))


def _free(label: str, taken: set[str]) -> str:
    while label in taken:
        label += "_"
    return label


def _layer(
    spec: CellSpec, before: Mapping[str, Expr], layer: int, shortcut: bool, inputs: str
) -> tuple[dict[Expr, Expr], list[str]]:
    """Every node of the step as layer `layer` computes it, and the parameters it uses, in order."""
    done: dict[Expr, Expr] = {}
    params: list[str] = []
    zero = const(0.0)

    def param(node: Expr, mark: str = "") -> Expr:
        params.append(_renamed(str(node.value), layer, mark))
        return make("param", value=params[-1])

    for node in spec.nodes:
        if node.op == "state":
            done[node] = before[str(node.value)]
        elif node.op == "param":
            done[node] = make("param", value=_renamed(str(node.value), layer))
            if len(spec.shapes[node]) == 1:
                params.append(str(done[node].value))
        elif node.op == "matmul" and inputs == "first" and node not in spec.stateful:
            done[node] = zero
        elif node.op == "matmul":
            done[node] = make("matmul", param(node.args[0]), done[node.args[1]])
            if shortcut and node in spec.stateful and str(node.args[0].value) in spec.recurrent_params:
                done[node] = done[node] + make("matmul", param(node.args[0], "s"), node.args[1])
        elif node.op in _OF_ZERO and any(done[arg] is zero for arg in node.args):
            done[node] = zero
        else:
            done[node] = make(node.op, *(done[arg] for arg in node.args), value=node.value) if node.args else node
    reads_x = {use for use in spec.nodes if any(arg.op == "input" for arg in use.args) and use.op != "matmul"}
    if reads_x and inputs == "first":
        fact = f"`{show.text(next(iter(reads_x)))}` of {spec.name} reads x other than through a product"
        hint = 'the later layers have no x; inputs="all" gives them one.'
        raise EquationError(message("deep_transition", fact, hint=hint))
    return done, list(dict.fromkeys(params))


def _assembled(
    spec: CellSpec, name: str, after: Mapping[str, Expr], names: tuple[tuple[str, Expr], ...], order: list[str]
) -> CellSpec:
    def fail(node: Expr, fact: str, hint: str) -> EquationError:
        return EquationError(message(name, f"`{show.text(node)}` {fact}", hint=hint or None))

    leaves: dict[Expr, Axes] = {make("input", value="x"): ("I",)}
    leaves |= {make("state", value=state): (axis,) for state, axis in spec.state_axes.items()}
    shapes = infer(after.values(), leaves, [(node, spec.state_axes[s]) for s, node in after.items()], fail)
    params = {key: shapes[node] for key in order if (node := make("param", value=key)) in shapes}
    return replace(spec, name=name, after=dict(after), names=names, params=params, shapes=shapes)
