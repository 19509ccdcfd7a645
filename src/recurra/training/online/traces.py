"""One number per weight and state: what unit k's own parameters did to unit k.

    e_i' = sum_j D_ij e_j + ds'_i/dp v          per unit k, weight (k, m); i, j over the states of a unit

With D whole this is exact where units meet in no product of states ("exact": IndRNN, minGRU, SRU, RG-LRU). Elsewhere it
is SnAp-1 (Menick et al. 2021, arXiv:2006.07232) with the diagonals of the recurrent matrices in D ("snap1"), and e-prop
(Bellec et al. 2020, doi:10.1038/s41467-020-17236-y) without ("eprop"). Memory B times the weights per state, time the
same per step. Where a unit has several states (h and c) its block of them is kept: Menick et al. would leave out what
the output gate did to c, which costs no more to keep and is what makes it exact for elementwise cells of any kind.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from recurra.equations.expr import Expr, make
from recurra.training.online.partials import Partials, Slot
from recurra.training.online.steps import Memory, Steps, masked, values

__all__ = ["Traces"]


class _Group(NamedTuple):
    """Slots with one operand: their traces are one tensor (states, B, slots, H, columns)."""

    operand: Expr | None
    indices: tuple[int, ...]
    slots: tuple[Slot, ...]


class Traces:
    """The diagonal form of the influence matrix, for a cell that is `local`."""

    def __init__(self, partials: Partials, sizes: dict[str, int], kind: Literal["exact", "snap1", "eprop"]) -> None:
        self.partials, self.initial = partials, partials.initial
        self.states = partials.live
        self.output = self.states.index(partials.states[0])
        self.width = sizes[partials.axes[self.states[0]]]
        operands: dict[Expr | None, list[int]] = {}
        for index, slot in enumerate(partials.slots):
            operands.setdefault(slot.operand, []).append(index)
        slots = partials.slots
        self.groups = [
            _Group(operand, tuple(found), tuple(slots[index] for index in found)) for operand, found in operands.items()
        ]
        self.columns = [
            1 if group.operand is None else sizes[partials.params[group.slots[0].name][1]] for group in self.groups
        ]
        self.flows = dict(partials.local_states)
        if kind == "snap1":
            for pair, part in partials.local_products.items():
                self.flows[pair] = self.flows[pair] + part if pair in self.flows else part
        # A state that no state reads is made anew each step; its trace need not be kept.
        self.read = [i for i, state in enumerate(self.states) if any(source == state for _, source in self.flows)]

    def fresh(self, rows: int, like: Tensor) -> Memory:
        """No parameter has touched an initial state but its own: a learned one has an influence of 1 on itself."""
        count = len(self.states)
        kept = [
            like.new_zeros(rows, count, len(group.slots), self.width, columns)
            for group, columns in zip(self.groups, self.columns, strict=True)
        ]
        if self.initial:
            start = torch.eye(count, dtype=like.dtype, device=like.device)
            kept.append(start[None, :, :, None, None].expand(rows, count, count, self.width, 1).contiguous())
        return tuple(kept)

    def sweep(self, memory: Memory, steps: Steps, signal: Tensor) -> tuple[Memory, dict[str, Tensor]]:
        """Forward through the steps, one multiplication and one addition per weight."""
        moments, rows = signal.shape[:2]
        flows, outer, operands = self._coefficients(steps, moments, rows)
        kept = list(memory)
        start = self.fresh(rows, signal) if steps.restarts is not None else ()
        sums = [signal.new_zeros(part.shape[2:]) for part in kept]
        for t in range(moments):
            if steps.restarts is not None and bool(steps.restarts[t].any()):
                kept = [masked(new, old, steps.restarts[t]) for new, old in zip(start, kept, strict=True)]
            valid = None if steps.valid is None else steps.valid[t]
            for index, old in enumerate(kept):
                new = torch.zeros_like(old)
                for (i, j), factor in flows.items():
                    new[:, i].addcmul_(factor[t][:, None, :, None], old[:, j])
                if index < len(self.groups):
                    for (i, place), factor in outer[index].items():
                        new[:, i, place].addcmul_(factor[t].unsqueeze(-1), operands[index][t].unsqueeze(-2))
                kept[index] = new = masked(new, old, valid)
                sums[index] += torch.einsum("bh,bghc->ghc", signal[t], new[:, self.output])
        return tuple(kept), self._named(sums)

    def _coefficients(
        self, steps: Steps, moments: int, rows: int
    ) -> tuple[dict[tuple[int, int], Tensor], list[dict[tuple[int, int], Tensor]], list[Tensor]]:
        """D_ij, ds'_i/dp and v at all steps, each (n, B, size)."""
        partials, place = self.partials, {state: i for i, state in enumerate(self.states)}
        leaves = steps.leaves(partials)
        for name in {slot.name for slot in partials.slots if slot.operand is not None}:
            matrix = steps.params[name]
            if matrix.shape[0] == matrix.shape[1]:
                leaves[make("extra", value=f"diagonal {name}")] = matrix.diagonal()
        spread = (moments, rows, self.width)
        keys = [*self.flows, *partials.local_slots]
        roots = [*self.flows.values(), *partials.local_slots.values()]
        found = dict(zip(keys, values(roots, leaves, [spread] * len(roots)), strict=True))
        flows = {(place[i], place[j]): found[i, j] for i, j in self.flows}
        outer = [
            {
                (place[state], group.indices.index(slot)): found[state, slot]
                for state, slot in partials.local_slots
                if slot in group.indices
            }
            for group in self.groups
        ]
        operands = [
            signal_like(leaves, moments, rows)
            if group.operand is None
            else values([group.operand], leaves, [(moments, rows, columns)])[0]
            for group, columns in zip(self.groups, self.columns, strict=True)
        ]
        return flows, outer, operands

    def _named(self, sums: list[Tensor]) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        for group, total in zip(self.groups, sums, strict=False):
            for slot, part in zip(group.slots, total, strict=True):
                part = part.squeeze(-1) if slot.operand is None else part
                found[slot.name] = found[slot.name] + part if slot.name in found else part
        if self.initial:
            found |= {f"initial.{state}": part.squeeze(-1) for state, part in zip(self.states, sums[-1], strict=True)}
        return found


def signal_like(leaves: dict[Expr, Tensor], moments: int, rows: int) -> Tensor:
    """The factor of a vector parameter: 1 in every row."""
    return next(iter(leaves.values())).new_ones(moments, rows, 1)
