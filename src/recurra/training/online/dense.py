"""The influence matrix whole: ds/dtheta of every state with respect to every parameter, (B, S, P).

    J' = D J + I        RTRL (Williams and Zipser 1989, doi:10.1162/neco.1989.1.2.270), exact

`snap1` keeps the entries that a parameter reaches within one step, all the states of a unit taken as one; `eprop` takes
D without the products of states. Time B S S P and memory B S P per step: for small nets.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor

from recurra.base.errors import ConfigError, message
from recurra.equations.derive import seed
from recurra.training.online.partials import Partials
from recurra.training.online.steps import Memory, Steps, masked, values

__all__ = ["Dense"]

_MOST_BYTES = 8 * 2**30
# Coefficients that are worked out at once: more steps for a small unit, one for a large unit.
_AHEAD = 1 << 20


class Dense:
    """The influence matrix of a unit of any cell."""

    def __init__(self, partials: Partials, sizes: dict[str, int], kind: Literal["exact", "snap1", "eprop"]) -> None:
        self.partials, self.kind, self.initial = partials, kind, partials.initial
        self.widths = {state: sizes[partials.axes[state]] for state in partials.live}
        self.size = sum(self.widths.values())
        self.shapes = {name: tuple(sizes[axis] for axis in axes) for name, axes in partials.params.items()}
        if self.initial:
            self.shapes |= {f"initial.{state}": (width,) for state, width in self.widths.items()}
        ends = torch.tensor([0, *(math.prod(shape) for shape in self.shapes.values())]).cumsum(0).tolist()
        self.place = dict(zip(self.shapes, ends, strict=False))
        self.total: int = ends[-1]
        leaves = [partials.leaf[state] for state in partials.live]
        slots = [slot.node for slot in partials.slots]
        self.columns = partials.backward(leaves, leak=kind == "eprop")
        self.rows = partials.backward(slots)
        self.masks = [self._mask(index) for index in range(len(slots))] if kind == "snap1" else None

    def fresh(self, rows: int, like: Tensor) -> Memory:
        """Zeros, and ones where a learned initial state meets itself."""
        need = rows * self.size * self.total * like.element_size()
        if need > _MOST_BYTES:
            fact = f"the influence matrix of {rows} rows x {self.size} states x {self.total:,} parameters is {need:,} B"
            hint = "fewer units or rows; style snap1, eprop or uoro; or an elementwise cell such as ind_rnn or sru."
            raise ConfigError(message("rtrl", fact, hint=hint))
        matrix = like.new_zeros(rows, self.size, self.total)
        if self.initial:
            first = 0
            for state, width in self.widths.items():
                begin = self.place[f"initial.{state}"]
                matrix[:, first : first + width, begin : begin + width] = torch.eye(width).to(like)
                first += width
        return (matrix,)

    def sweep(self, memory: Memory, steps: Steps, signal: Tensor) -> tuple[Memory, dict[str, Tensor]]:
        """Forward through the steps, one matrix product of the size of the influence matrix each."""
        (matrix,) = memory
        moments, rows = signal.shape[:2]
        (start,) = self.fresh(rows, signal) if steps.restarts is not None else (None,)
        restarting = [] if steps.restarts is None else steps.restarts.any(1).tolist()
        kept = None if self.masks is None else self._kept(matrix)
        first = self._first()
        total = signal.new_zeros(self.total)
        ahead = max(1, _AHEAD // max(1, rows * self.size * sum(self._widths)))
        for begin in range(0, moments, ahead):
            coefficients = self._coefficients(steps, begin, min(begin + ahead, moments))
            for t, (jacobian, outer, operands) in enumerate(coefficients, begin):
                if steps.restarts is not None and start is not None and restarting[t]:
                    matrix = masked(start, matrix, steps.restarts[t])
                new = jacobian @ matrix
                if kept is not None:
                    new *= kept
                for slot, columns, operand in zip(self.partials.slots, outer, operands, strict=True):
                    place = self.place[slot.name]
                    part = columns if operand is None else columns.unsqueeze(-1) * operand[:, None, None, :]
                    new[:, :, place : place + math.prod(self.shapes[slot.name])] += part.flatten(2)
                matrix = masked(new, matrix, None if steps.valid is None else steps.valid[t])
                total += torch.einsum("bs,bsp->p", signal[t], matrix[:, first : first + signal.shape[2]])
        return (matrix,), self._named(total)

    def blocks(self, matrix: Tensor) -> dict[str, Tensor]:
        """The influence per parameter: (B, S, *shape)."""
        return {
            name: matrix[..., begin : begin + math.prod(shape)].unflatten(-1, shape)
            for (name, shape), begin in zip(self.shapes.items(), self.place.values(), strict=True)
        }

    def _named(self, total: Tensor) -> dict[str, Tensor]:
        return self.blocks(total)

    def _first(self) -> int:
        """Where the output's rows begin."""
        before = self.partials.live[: self.partials.live.index(self.partials.states[0])]
        return sum(self.widths[state] for state in before)

    @property
    def _widths(self) -> list[int]:
        """Of what a state is derived by: the states, and the rows of each slot."""
        return [*self.widths.values(), *(self.shapes[slot.name][0] for slot in self.partials.slots)]

    def _coefficients(
        self, steps: Steps, begin: int, end: int
    ) -> Iterator[tuple[Tensor, tuple[Tensor, ...], tuple[Tensor | None, ...]]]:
        """Step by step D (B, S, S); of each slot ds'/dp (B, S, rows of p), and what its matrix is multiplied with."""
        partials = self.partials
        rows = steps.x.shape[1]
        # Nothing here goes from step to step: all of them are rows of one.
        leaves = steps.as_rows(begin, end).leaves(partials, 0)
        like = steps.x
        first = 0
        for state, width in self.widths.items():
            unit = like.new_zeros(self.size, 1, width)
            unit[first : first + width, 0] = torch.eye(width, dtype=like.dtype, device=like.device)
            leaves[seed(state)] = unit
            first += width
        count = (end - begin) * rows
        roots = [*self.columns, *self.rows]
        held = [slot.operand for slot in partials.slots if slot.operand is not None]
        shapes = [
            (self.size, count, width) for root, width in zip(roots, self._widths, strict=True) if root is not None
        ]
        shapes += [(count, self.shapes[slot.name][1]) for slot in partials.slots if slot.operand is not None]
        found = iter(values([root for root in roots if root is not None] + held, leaves, shapes))
        parts = [
            like.new_zeros(count, self.size, width) if root is None else next(found).transpose(0, 1)
            for root, width in zip(roots, self._widths, strict=True)
        ]
        jacobian = torch.cat(parts[: len(self.columns)], -1).split(rows)
        outer = [part.split(rows) for part in parts[len(self.columns) :]]
        operands = [
            [None] * (end - begin) if slot.operand is None else next(found).split(rows) for slot in partials.slots
        ]
        for t in range(end - begin):
            yield jacobian[t], tuple(part[t] for part in outer), tuple(part[t] for part in operands)

    def _mask(self, index: int) -> Tensor:
        """1 where SnAp-1 keeps an entry of the slot, (S, *shape): what reaches a state of a unit reaches all it has."""
        slot = self.partials.slots[index]
        shape = self.shapes[slot.name]
        reach = self.partials.reach(slot)
        hit: dict[str, Tensor] = {}
        for state, how in reach.items():
            axis, width = self.partials.axes[state], self.widths[state]
            block = torch.eye(width) if how == "row" else torch.ones(width, shape[0])
            hit[axis] = torch.maximum(hit[axis], block) if axis in hit else block
        parts = [
            hit.get(self.partials.axes[state], torch.zeros(width, shape[0])) for state, width in self.widths.items()
        ]
        return torch.cat([part.view(*part.shape, *[1] * (len(shape) - 1)).expand(-1, *shape) for part in parts])

    def _kept(self, like: Tensor) -> Tensor:
        masks = torch.zeros(self.size, self.total, dtype=like.dtype, device=like.device)
        for slot, mask in zip(self.partials.slots, self.masks or (), strict=True):
            begin = self.place[slot.name]
            width = math.prod(self.shapes[slot.name])
            masks[:, begin : begin + width] += mask.flatten(1).to(masks)
        if self.initial:
            masks[:, min(self.place[f"initial.{state}"] for state in self.widths) :] = 1
        return masks.clamp(max=1)
