"""UORO: the influence matrix as one outer product, right on average (Tallec and Ollivier 2018, arXiv:1702.05043).

    s~' = r0 D s~ + r1 nu        theta~' = theta~ / r0 + (nu I) / r1        nu random signs

E[s~ theta~] = ds/dtheta whatever the positive r0 and r1; they are chosen so that the variance is least. One draw is
noisy: the direction is right only over many steps. Time and memory per step are those of the network itself.
"""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from recurra.equations.derive import seed
from recurra.equations.expr import make
from recurra.training.online.partials import Partials
from recurra.training.online.steps import Memory, Steps, masked, values

__all__ = ["RankOne"]


class RankOne:
    """s~ (B, S) and theta~ (B, P), a draw for every row."""

    def __init__(self, partials: Partials, sizes: dict[str, int], generator: Generator | None = None) -> None:
        self.partials, self.initial, self.generator = partials, partials.initial, generator
        self.widths = {state: sizes[partials.axes[state]] for state in partials.live}
        self.shapes = {name: tuple(sizes[axis] for axis in axes) for name, axes in partials.params.items()}
        if self.initial:
            self.shapes |= {f"initial.{state}": (width,) for state, width in self.widths.items()}
        ends = torch.tensor([0, *(math.prod(shape) for shape in self.shapes.values())]).cumsum(0).tolist()
        self.place = dict(zip(self.shapes, ends, strict=False))
        self.total: int = ends[-1]
        self.back_states = partials.backward([partials.leaf[state] for state in partials.live])
        self.back_slots = partials.backward([slot.node for slot in partials.slots])

    def fresh(self, rows: int, like: Tensor) -> tuple[Tensor, Tensor]:
        """Nothing; a learned initial state meets itself by the same signs on both sides."""
        tangent, weight = like.new_zeros(rows, sum(self.widths.values())), like.new_zeros(rows, self.total)
        if self.initial:
            tangent = self._signs(tangent)
            begin = self.place[f"initial.{self.partials.live[0]}"]
            weight[:, begin : begin + tangent.shape[1]] = tangent
        return tangent, weight

    def sweep(self, memory: Memory, steps: Steps, signal: Tensor) -> tuple[Memory, dict[str, Tensor]]:
        """Forward through the steps; the newest step's own part of the gradient is exact."""
        tangent, weight = memory
        moments, rows = signal.shape[:2]
        total = signal.new_zeros(self.total)
        before, now = self._through(steps, None, self._seeds(signal))
        for t in range(moments):
            if steps.restarts is not None and bool(steps.restarts[t].any()):
                fresh_tangent, fresh_weight = self.fresh(rows, signal)
                tangent = masked(fresh_tangent, tangent, steps.restarts[t])
                weight = masked(fresh_weight, weight, steps.restarts[t])
            valid = None if steps.valid is None else steps.valid[t]
            # L' ds'/ds (s~ theta~), and L' ds'/dtheta.
            old = (before[t] * tangent).sum(-1, keepdim=True) * weight
            total += (old + now[t]).sum(0)
            signs = self._signs(tangent)
            _, added = self._through(
                steps, t, dict(zip(self.widths, signs.split([*self.widths.values()], -1), strict=True))
            )
            moved = self._moved(steps, t, tangent)
            r0 = torch.sqrt(_norm(weight) / (_norm(moved) + _LEAST)) + _LEAST
            r1 = torch.sqrt(_norm(added) / (_norm(signs) + _LEAST)) + _LEAST
            tangent = masked(r0 * moved + r1 * signs, tangent, valid)
            weight = masked(weight / r0 + added / r1, weight, valid)
        return (tangent, weight), {
            name: total[begin : begin + math.prod(shape)].view(shape)
            for (name, shape), begin in zip(self.shapes.items(), self.place.values(), strict=True)
        }

    def _signs(self, like: Tensor) -> Tensor:
        drawn = torch.randint(0, 2, like.shape, generator=self.generator)
        return (2 * drawn - 1).to(like)

    def _seeds(self, signal: Tensor) -> dict[str, Tensor]:
        output = self.partials.states[0]
        shape = signal.shape[:-1]
        return {
            state: signal if state == output else signal.new_zeros(*shape, width)
            for state, width in self.widths.items()
        }

    def _through(self, steps: Steps, moment: int | None, seeds: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Seeds back through a step: with respect to the states (..., S) and, row by row, the parameters (..., P)."""
        leaves = steps.leaves(self.partials, moment) | {seed(state): value for state, value in seeds.items()}
        around = next(iter(seeds.values())).shape[:-1]
        slots = self.partials.slots
        widths = [*self.widths.values(), *(self.shapes[slot.name][0] for slot in slots)]
        roots = [*self.back_states, *self.back_slots]
        held = [slot.operand for slot in slots if slot.operand is not None]
        shapes = [(*around, width) for root, width in zip(roots, widths, strict=True) if root is not None]
        shapes += [(*around, self.shapes[slot.name][1]) for slot in slots if slot.operand is not None]
        found = iter(values([root for root in roots if root is not None] + held, leaves, shapes))
        like = steps.x
        parts = [
            like.new_zeros(*around, width) if root is None else next(found)
            for root, width in zip(roots, widths, strict=True)
        ]
        count = len(self.back_states)
        flat = like.new_zeros(*around, self.total)
        for slot, part in zip(slots, parts[count:], strict=True):
            begin = self.place[slot.name]
            whole = part if slot.operand is None else (part.unsqueeze(-1) * next(found).unsqueeze(-2)).flatten(-2)
            flat[..., begin : begin + whole.shape[-1]] += whole
        return torch.cat(parts[:count], -1), flat

    def _moved(self, steps: Steps, moment: int, tangent: Tensor) -> Tensor:
        """D s~, without D."""
        leaves = steps.leaves(self.partials, moment)
        for state, part in zip(self.widths, tangent.split([*self.widths.values()], -1), strict=True):
            leaves[make("extra", value=f"tangent {state}")] = part
        forward = self.partials.forward
        shapes = [(tangent.shape[0], self.widths[state]) for state in forward]
        found = dict(zip(forward, values([*forward.values()], leaves, shapes), strict=True))
        return torch.cat(
            [found.get(state, tangent.new_zeros(tangent.shape[0], width)) for state, width in self.widths.items()], -1
        )


_LEAST = 1e-7


def _norm(part: Tensor) -> Tensor:
    return torch.linalg.vector_norm(part, dim=-1, keepdim=True)
