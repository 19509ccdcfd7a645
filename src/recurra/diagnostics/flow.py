"""How far back in time the loss is felt, and how large the gradient of each parameter is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from recurra.base import state as states
from recurra.base.errors import ShapeError, message
from recurra.diagnostics.observe import Track, observe
from recurra.diagnostics.subject import Subject

__all__ = ["felt_by_distance", "gradient_by_distance", "gradient_by_time", "gradient_norms", "named_leaves"]

State = Any
StepFunction = Callable[[Tensor, State], tuple[Tensor, State]]


def named_leaves(state: State, prefix: str = "") -> dict[str, Tensor]:
    """The tensors of a state under readable names: `layer 0 h`, `layer 0 c`, `layer 1 h` ...

    A NamedTuple's fields give their names; places in a plain tuple are layers.
    """
    if state is None:
        return {}
    if isinstance(state, Tensor):
        return {prefix.strip() or "h": state}
    fields = getattr(state, "_fields", None) or [f"layer {i}" for i in range(len(state))]
    named: dict[str, Tensor] = {}
    for name, part in zip(fields, state, strict=True):
        named |= named_leaves(part, f"{prefix} {name}")
    return named


def gradient_by_distance(
    step: StepFunction,
    inputs: Tensor,
    targets: Tensor,
    loss: Callable[[Tensor, Tensor], Tensor],
    *,
    state: State = None,
    distance: int = 64,
    losses: int = 16,
) -> dict[str, NDArray[np.float64]]:
    """||dL_t / ds_{t-k}|| for k = 0 ... `distance`, averaged over time steps t and batch rows, for every state s.

    step: `outputs, state = step(inputs[:, t], state)`, the model one step at a time.
    inputs: (B, T, ...); targets: (B, T, ...).
    loss: `loss(outputs, targets[:, t])` -> (B,), the loss of each row at one step. Rows must not touch each other.
    distance: K, the farthest distance looked at; T must be at least K + 1.
    losses: how many steps t in [K, T) are averaged over, evenly spread; each costs one backward pass over K steps.

    Gives, per state leaf (`layer 0 h` ...), an array (K + 1,). A state that grows in importance backwards in time
    explodes, one that falls to nothing within the dependencies of the task vanishes (Bengio, Simard and Frasconi,
    Learning long-term dependencies with gradient descent is difficult, 1994). The derivative is the total one: through
    everything that depends on the state. It leaves the parameters' `.grad` alone.
    """
    length = inputs.shape[1]
    if distance < 0 or length <= distance:
        raise ShapeError(
            message(
                "gradient_by_distance",
                f"inputs must have more than distance = {distance} time steps, got T = {length}",
                hint="hand in a longer stretch, or ask for a shorter distance.",
            )
        )
    chosen = {int(t) for t in np.linspace(distance, length - 1, num=max(1, min(losses, length - distance)))}
    # The state before step t is what earlier inputs left behind: history[t - k] is the state after step t - k.
    history: list[State] = []
    sums: dict[str, NDArray[np.float64]] = {}
    with torch.enable_grad():
        for t in range(length):
            outputs, state = step(inputs[:, t], state)
            if t == 0:
                state = states.map_state(_with_grad, state)
            history.append(state)
            if t not in chosen:
                continue
            total = loss(outputs, targets[:, t]).sum()
            past = [history[t - k] for k in range(distance + 1)]
            asked = [leaf for entry in past for leaf in named_leaves(entry).values()]
            gradients = torch.autograd.grad(total, asked, retain_graph=True, allow_unused=True)
            names = list(named_leaves(state))
            for name in names:
                sums.setdefault(name, np.zeros(distance + 1))
            for place, gradient in enumerate(gradients):
                k, name = place // len(names), names[place % len(names)]
                if gradient is not None:
                    sums[name][k] += float(gradient.flatten(1).norm(dim=1).mean())
    return {name: total / len(chosen) for name, total in sums.items()}


def gradient_by_time(subject: Subject) -> dict[str, NDArray[np.float64]]:
    """||dL/ds_t|| for every step t, state s and row of the example: (B, T) by `layer 0 h`, ...

    L is the summed loss of the row over all its steps; the derivative is the total one, through everything that depends
    on the state after step t (the c of an LSTM also through the h of the same step), in the order of time also where a
    layer reads backwards. NaN on the padding.
    """
    seen = observe(subject, gradient=True)
    found: dict[str, NDArray[np.float64]] = {}
    asked = [leaf for track in seen.tracks.values() for step in track.after for leaf in step]
    if not asked:
        return found
    gradients = iter(torch.autograd.grad(seen.losses.sum(), asked, allow_unused=True))
    for track in seen.tracks.values():
        rows, names = track.inputs[0].shape[0], track.unit.spec.states
        norms = torch.zeros(rows, track.length, len(names), dtype=torch.float64)
        for t in range(track.length):
            for place in range(len(names)):
                gradient = next(gradients)
                if gradient is not None:
                    norms[:, t, place] = gradient.double().norm(dim=1).cpu()
        norms = track.in_time(torch.where(track.valid().unsqueeze(-1), norms, norms.new_full((), np.nan)))
        for place, state in enumerate(names):
            found[f"{track.name} {state}"] = norms[..., place].numpy()
    return found


def felt_by_distance(subject: Subject, *, distance: int = 64, losses: int = 16) -> dict[str, NDArray[np.float64]]:
    """||dL_t/ds_(t-k)|| for k = 0 ... `distance`, averaged over steps t and rows: (distance + 1,) by `layer 0 h`, ...

    `gradient_by_distance` for any subject; units that read backwards are left out. losses: over how many steps t that
    have a loss and `distance` steps before them, evenly spread. Where the example is shorter, so is the curve. A unit
    with steps of its own (a decoder) is counted back from the last of them, and left out where each step has a loss.
    """
    seen = observe(subject, gradient=True)
    length = subject.inputs.shape[1]
    once = seen.losses.shape[1] != length
    tracks = [track for track in seen.tracks.values() if not track.backwards and (once or track.length == length)]
    if not tracks:
        return {}
    valid = min(subject.valid)
    distance = min(distance, valid - 1)
    if once:
        # The answer is said at the end of a row; the columns of rows of other lengths are not the same step.
        moments = [0]
    else:
        moments = sorted({int(t) for t in np.linspace(distance, valid - 1, num=max(1, min(losses, valid - distance)))})
    found: dict[str, NDArray[np.float64]] = {}
    for column in moments:
        asked: list[tuple[NDArray[np.float64], int, list[int], Tensor]] = []
        for track in tracks:
            ends = _ends(track, subject.valid, length) if once else [column] * len(subject.valid)
            far = min(distance, track.length - 1)
            for step in sorted({end - k for end in ends for k in range(far + 1) if end >= k}):
                for state, leaf in zip(track.unit.spec.states, track.after[step], strict=True):
                    asked.append((found.setdefault(f"{track.name} {state}", np.zeros(far + 1)), step, ends, leaf))
        # The loss of one step, or the one of the whole row.
        total = seen.losses[:, column].sum()
        leaves = [leaf for *_, leaf in asked]
        gradients = torch.autograd.grad(total, leaves, retain_graph=True, allow_unused=True)
        for (curve, step, ends, _), gradient in zip(asked, gradients, strict=True):
            if gradient is None:
                continue
            norms = gradient.norm(dim=1).tolist()
            for norm, end in zip(norms, ends, strict=True):
                if 0 <= end - step < len(curve):
                    curve[end - step] += norm / len(norms)
    return {name: curve / len(moments) for name, curve in found.items()}


def _ends(track: Track, valid: Sequence[int], length: int) -> list[int]:
    """The last step of each row, in steps of this unit."""
    sizes = valid if track.length == length else [track.size_of(row) for row in range(len(valid))]
    return [size - 1 for size in sizes]


def _with_grad(leaf: Tensor) -> Tensor:
    # A first state that no parameter touched (a frozen model) still has to be differentiated by.
    return leaf if leaf.requires_grad else leaf.detach().requires_grad_()


def gradient_norms(parameters: Iterable[tuple[str, nn.Parameter]]) -> dict[str, float]:
    """The Euclidean norm of each parameter's `.grad`, by name; a parameter without a gradient is left out."""
    return {name: float(value.grad.norm()) for name, value in parameters if value.grad is not None}
