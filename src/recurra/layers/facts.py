"""What can be said of a net without running it: its depths, how far it sees, whether it waits for the future.

Depth counts nonlinear layers: a learned map (a matrix, or a learned vector as a factor) and the nonlinearity behind
it. A linear layer by itself counts nothing, a normalisation neither, nor the second of two nonlinearities with no
weights between them (the tanh of an LSTM's cell state). Pascanu et al. 2014, arXiv:1312.6026; Zhang et al. 2016,
arXiv:1602.08210.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple, Protocol, runtime_checkable

from torch import nn

from recurra.equations.expr import Expr
from recurra.equations.spec import CellSpec
from recurra.layers.recurrent import Recurrent

__all__ = ["NOTHING", "Facts", "HasFacts", "facts_of", "feedforward_depth", "memory_steps", "recurrent_depth"]


class Facts(NamedTuple):
    """Of one layer or of a whole net.

    feedforward: nonlinear layers on the longest way from x_t to y_t. recurrent: those from the state before a step to
    the state after it, on average along the worst loop; 0 is an affine recurrence, or none. past, future: how many
    steps before and after t the output y_t can see; infinite for a recurrence.
    """

    feedforward: int = 0
    recurrent: float = 0
    past: float = 0
    future: float = 0

    @property
    def causal(self) -> bool:
        """Whether y_t waits for no later x."""
        return self.future == 0

    @property
    def receptive_field(self) -> float:
        """Steps of x that one output sees, its own among them."""
        return self.past + 1 + self.future

    def then(self, other: Facts) -> Facts:
        """The facts of `other` on top of this one."""
        return Facts(
            self.feedforward + other.feedforward,
            max(self.recurrent, other.recurrent),
            self.past + other.past,
            self.future + other.future,
        )

    def beside(self, other: Facts) -> Facts:
        """The facts of two nets that read the same x and are joined."""
        return Facts(
            max(self.feedforward, other.feedforward),
            max(self.recurrent, other.recurrent),
            max(self.past, other.past),
            max(self.future, other.future),
        )


NOTHING = Facts()


@runtime_checkable
class HasFacts(Protocol):
    """A module that says its own facts."""

    def facts(self) -> Facts:
        """Depths and reach."""
        ...


def _of_recurrent(layer: Recurrent) -> Facts:
    spec = layer.units[0].spec
    memory = memory_steps(spec) * layer.num_layers
    past = 0 if layer.reverse else memory
    future = memory if layer.reverse or layer.bidirectional else 0
    return Facts(feedforward_depth(spec) * layer.num_layers, recurrent_depth(spec), past, future)


# torch modules that work on one step at a time, by whether they bend.
_LINEAR = (nn.Linear, nn.Identity, nn.Embedding, nn.Dropout, nn.LayerNorm)
_BENT = (nn.Tanh, nn.Sigmoid, nn.ReLU, nn.GELU, nn.SiLU, nn.ELU, nn.LeakyReLU, nn.Softplus, nn.Hardtanh)


def facts_of(module: nn.Module) -> Facts | None:
    """The facts of a layer of ours, a torch module over single steps, or a Sequential of such; None when unknown."""
    if isinstance(module, Recurrent):
        return _of_recurrent(module)
    if isinstance(module, HasFacts):
        return module.facts()
    if isinstance(module, nn.Sequential):
        found = [facts_of(part) for part in module]
        total: Facts | None = NOTHING
        for part in found:
            total = None if total is None or part is None else total.then(part)
        return total
    if isinstance(module, _LINEAR):
        return NOTHING
    if isinstance(module, _BENT):
        return Facts(feedforward=1)
    return None


# A value's longest ways from the source: nonlinear layers so far when a learned map waits for its nonlinearity
# (True), and when none does (False).
_Ways = dict[bool, float]
_PASS = ("add", "sub", "mul", "div", "neg", "sum", "mean", "select", "largest", "layer_norm", "rms_norm")


def _longest(spec: CellSpec, source: Expr, waiting: bool) -> Mapping[Expr, _Ways]:
    ways: dict[Expr, _Ways] = {source: {waiting: 0}}
    for node in spec.nodes:
        if node is source:
            continue
        found: _Ways = {}
        for arg in node.args:
            for learned, depth in ways.get(arg, {}).items():
                if node.op == "matmul" or (node.op == "mul" and any(other.op == "param" for other in node.args)):
                    after, layers = True, depth
                elif node.op in _PASS:
                    after, layers = learned, depth
                else:
                    after, layers = False, depth + learned
                found[after] = max(found.get(after, 0), layers)
        ways[node] = found
    return ways


@cache
def feedforward_depth(spec: CellSpec) -> int:
    """Nonlinear layers from x to the output of the same step.

    >>> from recurra.cells import CELLS
    >>> [feedforward_depth(CELLS[name]().spec) for name in ("elman", "lstm", "gru_v1")]
    [1, 1, 2]
    """
    ways = _longest(spec, spec.symbol("x"), waiting=False)
    return int(max(ways.get(spec.after[spec.output], {}).values(), default=0))


@cache
def recurrent_depth(spec: CellSpec) -> float:
    """Nonlinear layers a step adds to the longest way through many steps: the largest mean over all loops of states.

    >>> from recurra.cells import CELLS
    >>> [recurrent_depth(CELLS[name]().spec) for name in ("elman", "lstm", "gru_v1", "min_gru")]
    [1.0, 1.0, 2.0, 0.0]
    """
    places = [(state, waiting) for state in spec.states for waiting in (False, True)]
    step: dict[tuple[Any, Any], float] = {}
    for place in places:
        ways = _longest(spec, spec.symbol(place[0]), place[1])
        for state in spec.states:
            for waiting, depth in ways.get(spec.after[state], {}).items():
                step[place, (state, waiting)] = depth
    best = 0.0
    walk = dict(step)
    for length in range(1, len(places) + 1):
        best = max([best, *(walk[place, place] / length for place in places if (place, place) in walk)])
        longer: dict[tuple[Any, Any], float] = {}
        for (start, middle), depth in walk.items():
            for end in places:
                if (middle, end) in step:
                    longer[start, end] = max(longer.get((start, end), -math.inf), depth + step[middle, end])
        walk = longer
    return best


@cache
def memory_steps(spec: CellSpec) -> float:
    """How many earlier inputs the output can depend on: infinite where a state depends on itself."""
    reach = {spec.output}
    for steps in range(len(spec.states) + 1):
        below = {read for state in reach for read in spec.reads[state]}
        if not below:
            return steps
        reach = below
    return math.inf
