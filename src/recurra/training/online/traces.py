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


# Traces whose additions are made ready at once: more steps for a small layer, one for a large layer.
_AHEAD = 1 << 20


class _Group(NamedTuple):
    """Slots with one operand: their traces are slots times columns neighbours from `begin`."""

    operand: Expr | None
    indices: tuple[int, ...]
    slots: tuple[Slot, ...]
    columns: int
    begin: int

    @property
    def end(self) -> int:
        """Behind the last of its traces."""
        return self.begin + len(self.slots) * self.columns


class Traces:
    """The diagonal form of the influence matrix, for a cell that is `local`: one tensor (B, states, H, weights a unit).

    Behind the weights stand the learned initial states, where there are any.
    """

    def __init__(self, partials: Partials, sizes: dict[str, int], kind: Literal["exact", "snap1", "eprop"]) -> None:
        self.partials, self.initial = partials, partials.initial
        self.states = partials.live
        self.output = self.states.index(partials.states[0])
        self.width = sizes[partials.axes[self.states[0]]]
        operands: dict[Expr | None, list[int]] = {}
        for index, slot in enumerate(partials.slots):
            operands.setdefault(slot.operand, []).append(index)
        self.groups: list[_Group] = []
        self.weights = 0
        for operand, found in operands.items():
            slots = tuple(partials.slots[index] for index in found)
            columns = 1 if operand is None else sizes[partials.params[slots[0].name][1]]
            self.groups.append(_Group(operand, tuple(found), slots, columns, self.weights))
            self.weights = self.groups[-1].end
        self.flows = dict(partials.local_states)
        if kind == "snap1":
            for pair, part in partials.local_products.items():
                self.flows[pair] = self.flows[pair] + part if pair in self.flows else part
        # What a state that no state reads had is made anew each step, and never looked at again.
        self.read = [i for i, state in enumerate(self.states) if any(source == state for _, source in self.flows)]

    def fresh(self, rows: int, like: Tensor) -> Memory:
        """No parameter has touched an initial state but its own: a learned one has an influence of 1 on itself."""
        count = len(self.states)
        kept = like.new_zeros(rows, count, self.width, self.weights + (count if self.initial else 0))
        if self.initial:
            for i in range(count):
                kept[:, i, :, self.weights + i] = 1
        return (kept,)

    def sweep(self, memory: Memory, steps: Steps, signal: Tensor) -> tuple[Memory, dict[str, Tensor]]:
        """Forward through the steps, one multiplication and one addition per weight and state that is read."""
        moments, rows = signal.shape[:2]
        flows, outer, operands = self._coefficients(steps, moments, rows)
        (old,) = memory
        restarting = [] if steps.restarts is None else steps.restarts.any(1).tolist()
        (start,) = self.fresh(rows, signal) if any(restarting) else (None,)
        total = signal.new_zeros(old.shape[2:])
        ahead = max(1, _AHEAD // max(1, old.numel()))
        for begin in range(0, moments, ahead):
            end = min(begin + ahead, moments)
            coming = self._added(outer, operands, begin, end, old)
            factors = {j: factor[begin:end].unbind() for j, factor in flows.items()}
            for t, new in enumerate(coming.unbind(), begin):
                if start is not None and steps.restarts is not None and restarting[t]:
                    old = masked(start, old, steps.restarts[t])
                for j, factor in factors.items():
                    new.addcmul_(factor[t - begin], old[:, j : j + 1])
                if steps.valid is not None:
                    new.copy_(masked(new, old, steps.valid[t]))
                old = new
            total += torch.einsum("nbh,nbhw->hw", signal[begin:end], coming[:, :, self.output])
        # Its own memory: not all the steps that were made ready with it.
        return (old.clone(),), self._named(total)

    def _added(self, outer: list[Tensor], operands: list[Tensor], begin: int, end: int, like: Tensor) -> Tensor:
        """What each step adds by itself, ds'_i/dp v, (n, *like)."""
        found = like.new_zeros(end - begin, *like.shape)
        for group, factor, operand in zip(self.groups, outer, operands, strict=True):
            part = found[..., group.begin : group.end].unflatten(-1, (len(group.slots), group.columns))
            torch.mul(factor[begin:end].unsqueeze(-1), operand[begin:end, :, None, None, None], out=part)
        return found

    def _coefficients(
        self, steps: Steps, moments: int, rows: int
    ) -> tuple[dict[int, Tensor], list[Tensor], list[Tensor]]:
        """At all n steps: D_ij by j (n, B, i, H, 1); by group ds'_i/dp (n, B, i, H, slots) and v (n, B, columns)."""
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
        like = steps.x
        flows = {j: like.new_zeros(moments, rows, len(self.states), self.width, 1) for j in self.read}
        for i, j in self.flows:
            flows[place[j]][:, :, place[i], :, 0] = found[i, j]
        outer = [like.new_zeros(moments, rows, len(self.states), self.width, len(group.slots)) for group in self.groups]
        for state, slot in partials.local_slots:
            for group, factor in zip(self.groups, outer, strict=True):
                if slot in group.indices:
                    factor[:, :, place[state], :, group.indices.index(slot)] = found[state, slot]
        operands = [
            signal_like(leaves, moments, rows)
            if group.operand is None
            else values([group.operand], leaves, [(moments, rows, group.columns)])[0]
            for group in self.groups
        ]
        return flows, outer, operands

    def _named(self, total: Tensor) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        for group in self.groups:
            parts = total[:, group.begin : group.end].unflatten(1, (len(group.slots), group.columns))
            for slot, part in zip(group.slots, parts.unbind(1), strict=True):
                part = part.squeeze(-1) if slot.operand is None else part
                found[slot.name] = found[slot.name] + part if slot.name in found else part
        if self.initial:
            found |= {f"initial.{state}": total[:, self.weights + i] for i, state in enumerate(self.states)}
        return found


def signal_like(leaves: dict[Expr, Tensor], moments: int, rows: int) -> Tensor:
    """The factor of a vector parameter: 1 in every row."""
    return next(iter(leaves.values())).new_ones(moments, rows, 1)
