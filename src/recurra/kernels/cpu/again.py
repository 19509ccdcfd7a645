"""The backward pass with little memory: only the states were kept, the rest is computed again, some steps at a time.

With the states before every step known, all steps of a chunk are independent: they run as one step of many rows, whose
product is as fast as products get.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from recurra.kernels.cpu.call import Rows
from recurra.kernels.cpu.passes import Cell, Gradients, Inputs, backward, forward

__all__ = ["backward_again"]


def backward_again(
    cell: Cell,
    inputs: Inputs,
    sequences: Mapping[str, Tensor],
    output_gradient: Tensor,
    final_gradients: Sequence[Tensor],
    input_wanted: bool,
) -> Gradients:
    """As `passes.backward`, from the sequences of all states; about sqrt(T) chunks of sqrt(T) steps."""
    rows, spec = inputs.rows, cell.program.spec
    length = math.isqrt(max(rows.steps - 1, 0)) + 1
    borders = [*rows.offset.tolist(), output_gradient.shape[0]]
    arriving = list(final_gradients)
    total: Gradients | None = None
    parts: list[list[Tensor]] = []
    for first in reversed(range(0, rows.steps, length)):
        last = min(first + length, rows.steps)
        low, high = borders[first], borders[last]
        if low == high:
            continue
        states = [sequences[state][low:high] for state in spec.states]
        chunk = replace(
            inputs,
            slices=[part[low:high] for part in inputs.slices],
            extras=[part[:, low:high] if part.dim() == 3 else part for part in inputs.extras],
            rows=_part(rows, first, last, low, high),
        )
        flat = replace(
            chunk,
            states=states,
            initial=states,
            extras=[_flat(part, chunk.rows, high - low) for part in chunk.extras],
            rows=Rows(1, high - low, torch.zeros(1, dtype=torch.int64)),
        )
        kept = forward(cell, flat, "all").kept
        known = dict(zip(spec.states, states, strict=True))
        found = backward(cell, chunk, known, kept, output_gradient[low:high], arriving, input_wanted)
        arriving = found.states
        parts.insert(0, found.slices)
        total = found if total is None else _sum(total, found)
    if total is None:
        # Every row is empty: what arrives at the final state goes through.
        none = [[torch.zeros_like(part) for part in group] for group in (inputs.slices, inputs.fixed, inputs.matrices)]
        through, initial = [part.clone() for part in arriving], [torch.zeros_like(part) for part in arriving]
        return Gradients(*none, states=through, initial=initial)
    slices = [torch.cat(same) for same in zip(*parts, strict=True)]
    return replace(total, slices=slices, states=arriving)


def _part(rows: Rows, first: int, last: int, low: int, high: int) -> Rows:
    """Steps [first, last) as a sequence of their own."""
    return Rows(
        last - first,
        rows.batch,
        (rows.offset[first:last] - low).contiguous(),
        None if rows.active is None else rows.active[first:last].contiguous(),
        None if rows.resets is None else rows.resets[low:high],
        None if rows.any_reset is None else rows.any_reset[first:last].contiguous(),
    )


def _flat(extra: Tensor, rows: Rows, count: int) -> Tensor:
    """A mask for all rows of all steps, one after the other."""
    if extra.dim() == 3 or extra.shape[0] == 1:
        return extra
    counts = [rows.batch] * rows.steps if rows.active is None else rows.active.tolist()
    return torch.cat([extra[:active] for active in counts])[:count]


def _sum(a: Gradients, b: Gradients) -> Gradients:
    """Gradients of what all steps share, added up; the rest as in b."""
    return replace(
        b,
        fixed=[x + y for x, y in zip(a.fixed, b.fixed, strict=True)],
        matrices=[x + y for x, y in zip(a.matrices, b.matrices, strict=True)],
        initial=[x + y for x, y in zip(a.initial, b.initial, strict=True)],
    )
