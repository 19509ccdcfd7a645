"""How one state follows from another: the Jacobian of each step, and their products over a distance.

All states of a unit are taken as one vector s = (h, c, ...) of S numbers; the unit's inputs are held fixed, which in a
stack of layers makes ds_t/ds_k of a layer exact, since what lies below does not depend on it. The parts of s count as
independent of each other at one step: dh_t/dc_k is what a change of c_k alone, with h_k as it was, does to h_t.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recurra.base.errors import ShapeError, message
from recurra.diagnostics.observe import Track
from recurra.layers.unit import Unit

__all__ = ["block", "jacobian_product", "product_norms", "product_singular_values", "step_jacobians", "track_jacobians"]

Array = NDArray[np.float64]
# Rows that go through the step at once: each step needs S copies of its state, one per output that is asked for.
_ROWS = 4096


def step_jacobians(unit: Unit, x: Tensor, before: Tensor) -> Array:
    """J_t = ds_t/ds_(t-1) of every step, (T, S, S), row i the gradient of s_t[i].

    x: (T, I) what the unit read. before: (T, S) the states before each step, side by side. Computed in the dtype of
    the unit by one backward pass through `Unit.step`, with S copies of each state; given in float64.
    """
    sizes = unit.state_sizes
    steps, total = before.shape[0], sum(sizes)
    if tuple(x.shape[:1]) != (steps,) or before.shape[1] != total:
        fact = f"x must be (T, I) and before (T, S) = (T, {total}), got {tuple(x.shape)} and {tuple(before.shape)}"
        raise ShapeError(message("step_jacobians", fact))
    found = np.zeros((steps, total, total))
    at_once = max(1, _ROWS // max(1, total))
    for start in range(0, steps, at_once):
        part = slice(start, min(start + at_once, steps))
        count = part.stop - part.start
        with torch.enable_grad():
            copies = before[part].detach().repeat_interleave(total, 0).requires_grad_()
            state = unit.state_type(*copies.split(sizes, -1))
            _, after = unit.step(x[part].detach().repeat_interleave(total, 0), state)
            joined = torch.cat(list(after), -1)
            asked = torch.eye(total, dtype=joined.dtype, device=joined.device).repeat(count, 1)
            if joined.grad_fn is not None:
                (gradient,) = torch.autograd.grad(joined, copies, asked, allow_unused=True)
                if gradient is not None:
                    found[part] = gradient.view(count, total, total).double().cpu().numpy()
    return found


def track_jacobians(track: Track, row: int = 0, start: int = 0, stop: int | None = None) -> Array:
    """The Jacobians of a watched unit's steps `start` to `stop` in one row, (T, S, S); padding is left out."""
    stop = min(track.size_of(row), track.length if stop is None else stop)
    if start >= stop:
        raise ShapeError(message("track_jacobians", f"row {row} of {track.name} has no steps from {start} to {stop}"))
    x = torch.stack([step[row] for step in track.inputs[start:stop]])
    return step_jacobians(track.unit, x, track.joined(row)[start:stop])


def block(unit: Unit, of: str, by: str | None = None) -> tuple[slice, slice]:
    """Where d`of`/d`by` (names of states) stands in a Jacobian, as (rows, columns); `by` is `of` where not given.

    >>> from recurra.layers import Recurrent
    >>> block(Recurrent("lstm", 2, 8).units[0], "h", "c")
    (slice(0, 8, None), slice(8, 16, None))
    """
    names, sizes = unit.spec.states, unit.state_sizes
    for name in (of, by or of):
        if name not in names:
            raise ShapeError(
                message("block", f"{unit.spec.name} has no state {name!r}", f"It has: {', '.join(names)}.")
            )
    starts = dict(zip(names, np.cumsum([0, *sizes[:-1]]).tolist(), strict=True))
    widths = dict(zip(names, sizes, strict=True))
    rows, columns = (slice(starts[name], starts[name] + widths[name]) for name in (of, by or of))
    return rows, columns


def jacobian_product(jacobians: Array) -> Array:
    """ds_T/ds_0 = J_T ... J_1, (S, S), of the step Jacobians (T, S, S)."""
    product = np.eye(jacobians.shape[1])
    for step in jacobians:
        product = step @ product
    return product


def product_norms(jacobians: Array, distance: int, part: tuple[slice, slice] | None = None) -> Array:
    """||ds_t/ds_(t-k)|| (largest singular value), (T - distance + 1, distance + 1), for k = 0 ... distance.

    One row for each end t that has `distance` steps before it. part: as from `block`, the states to look at.
    """
    return product_singular_values(jacobians, distance, part, ends=None, most=1)[..., 0]


def product_singular_values(
    jacobians: Array,
    distance: int,
    part: tuple[slice, slice] | None = None,
    *,
    ends: int | None = 4,
    most: int | None = None,
    at: Sequence[int] | None = None,
) -> Array:
    """The singular values of ds_t/ds_(t-k), largest first: (ends, distance + 1, values).

    ends: over how many last steps t, evenly spread; None is every one. most: how many values are kept; all where None.
    at: the distances k that are asked for, in rising order, where that is not every one: (ends, len(at), values).
    What falls below the largest by more than float64 can tell (1e-16) is rounding.
    """
    steps = jacobians.shape[0]
    if not 0 <= distance <= steps:
        hint = "hand in a longer stretch, or ask for a shorter distance."
        raise ShapeError(
            message("product_singular_values", f"distance must lie in 0..T = 0..{steps}, got {distance}", hint=hint)
        )
    last = np.arange(distance, steps + 1)
    if ends is not None and ends < len(last):
        last = last[np.unique(np.linspace(0, len(last) - 1, ends).round().astype(int))]
    size = jacobians.shape[1]
    products = np.broadcast_to(np.eye(size), (len(last), size, size)).copy()
    found: list[Array] = []
    rows, columns = part or (slice(None), slice(None))
    for k in range(distance + 1):
        if k:
            # One step further back: the earlier Jacobian stands on the right.
            products = products @ jacobians[last - k]
        if at is not None and k not in at:
            continue
        values = np.linalg.svd(products[:, rows, columns], compute_uv=False)
        found.append(np.asarray(values if most is None else values[:, :most], np.float64))
    return np.stack(found, 1)
