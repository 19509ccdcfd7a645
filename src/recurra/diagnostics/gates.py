"""What the gates do on data: their values step by step, and how often each unit's gate is all but open or shut."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from recurra.diagnostics.observe import Track
from recurra.equations.expr import Expr
from recurra.equations.spec import CellSpec
from recurra.kernels.reference.spelling import evaluate

__all__ = ["Saturation", "gate_nodes", "gate_values", "saturation", "values_of"]

Array = NDArray[np.float64]


class Saturation(NamedTuple):
    """Of one gate, per unit (H,): the share of steps at which it is nearly 0, and nearly 1."""

    shut: Array
    open: Array


def gate_nodes(spec: CellSpec) -> dict[str, Expr]:
    """The values of a step between 0 and 1 that weigh others: sigmoids, by the equations' own names for them.

    >>> from recurra.cells import CELLS
    >>> list(gate_nodes(CELLS["lstm"]().spec)), list(gate_nodes(CELLS["elman"]().spec))
    (['i', 'f', 'o'], [])
    """
    named = {node: name for name, node in reversed(spec.names)}
    found: dict[str, Expr] = {}
    for node in spec.nodes:
        if node.op == "sigmoid" and spec.shapes[node]:
            found.setdefault(named.get(node) or _gate_of(node) or f"σ{len(found) + 1}", node)
    return found


def _gate_of(node: Expr) -> str | None:
    """The gate whose parameters an unnamed sigmoid reads: `W.f` -> f."""
    waiting = list(node.args)
    while waiting:
        part = waiting.pop(0)
        if part.op == "param" and "." in str(part.value):
            return str(part.value).split(".", 1)[1]
        waiting.extend(part.args)
    return None


def values_of(track: Track, nodes: dict[str, Expr]) -> dict[str, Array]:
    """Any values of a watched unit's equations at every step it made, (B, T, size), in the order it read.

    A parameter by itself is repeated for every step; padding has numbers too: `track.valid()` says where.
    """
    spec, unit = track.unit.spec, track.unit
    rows, steps = track.inputs[0].shape[0], track.length
    with torch.no_grad():
        leaves = {spec.symbol("x"): track.x.flatten(0, 1)}
        leaves |= {spec.symbol(name): value.flatten(0, 1) for name, value in track.states("before").items()}
        leaves |= {spec.symbol(name): value for name, value in unit.named().items()}
        found = evaluate(nodes.values(), leaves)
    values: dict[str, Array] = {}
    for name, value in zip(nodes, found, strict=True):
        whole = torch.as_tensor(value).expand(rows * steps, -1)
        values[name] = whole.reshape(rows, steps, -1).double().cpu().numpy()
    return values


def gate_values(track: Track) -> dict[str, Array]:
    """Every gate of a watched unit by name, (B, T, H), each step in the order the unit read them."""
    return values_of(track, gate_nodes(track.unit.spec))


def saturation(track: Track, low: float = 0.1, high: float = 0.9) -> dict[str, Saturation]:
    """The share of valid steps at which each gate of each unit is below `low`, and above `high`.

    A point per unit in the plane of the two is the plot of Karpathy, Johnson and Fei-Fei, Visualizing and understanding
    recurrent networks, 2016, arXiv:1506.02078: a forget gate far along "open" is a unit that remembers, one near the
    origin never decides.
    """
    valid = track.valid().numpy()
    found: dict[str, Saturation] = {}
    for name, values in gate_values(track).items():
        seen = values[valid]
        found[name] = Saturation((seen < low).mean(0), (seen > high).mean(0))
    return found
