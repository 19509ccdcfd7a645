"""The parallel scan as a backend."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import torch
from torch import Tensor

from recurra.kernels.request import Request
from recurra.kernels.scan.program import scan_program
from recurra.kernels.scan.recurrence import recurrence

__all__ = ["Scan"]

# As the equations give it: a value per step, the same for all steps, a number, or nothing.
_Value = Tensor | float | None


class Scan:
    """All time steps at once, on every device and in every float type, for cells that are affine in what they carry."""

    name = "scan"

    def refuses(self, request: Request) -> str | None:
        """A cell that must go step by step."""
        if request.spec.scan_order is None:
            return f"{request.spec.name} is not affine and elementwise in what it carries from step to step"
        return None

    def run(self, request: Request) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Outputs (B, T, size) and the final state."""
        batch, steps = request.x.shape[:2]
        if not steps:
            return request.x.new_zeros(batch, 0, request.state[0].shape[-1]), request.state
        work = _Run(request)
        program = scan_program(request.spec)
        # Turned once; each product would do it for itself.
        x = request.x.transpose(0, 1).contiguous()
        after = program.sequence(work, x, {**request.params, **request.extras})
        y = after[0] if work.valid is None else torch.where(work.valid, after[0], after[0].new_zeros(()))
        final = tuple(map(work.final, request.spec.states, after))
        return y.transpose(0, 1), final


class _Run:
    """What the written function needs of the request: start, resets and lengths, time first.

    resets, valid: (T, B, 1) or None.
    """

    def __init__(self, request: Request) -> None:
        states, x = request.spec.states, request.x
        self.start = dict(zip(states, request.state, strict=True))
        self.initial = dict(zip(states, request.initial, strict=True))
        self.lengths = None if request.lengths is None else request.lengths.to(x.device)
        self.valid = None
        if self.lengths is not None:
            self.valid = (torch.arange(x.shape[1], device=x.device)[:, None] < self.lengths).unsqueeze(-1)
        self.resets = None if request.resets is None else request.resets.t().unsqueeze(-1)
        self._moments = (x.shape[1], x.shape[0])
        # (T + 1, B, size): from the start on. Of what is kept, made when it is asked for.
        self._scanned: dict[str, Tensor] = {}
        self._kept: dict[str, Tensor] = {}

    def keep(self, state: str, values: Tensor | float) -> Tensor:
        """(T, B, size) of a state that does not depend on itself."""
        start = self.start[state]
        dtype = values.dtype if isinstance(values, Tensor) else start.dtype
        self._kept[state] = self._spread(values, start, dtype)
        return self._kept[state]

    def scan(
        self, group: Sequence[str], factors: Sequence[Sequence[_Value]], terms: Sequence[_Value]
    ) -> tuple[Tensor, ...]:
        """(T, B, size) of each state of a group, next = factors @ state + terms for every unit."""
        start, initial = ([group_of[state] for state in group] for group_of in (self.start, self.initial))
        parts = [part for part in (*start, *terms, *(f for row in factors for f in row)) if isinstance(part, Tensor)]
        dtype = reduce(torch.promote_types, (part.dtype for part in parts))
        start, initial = ([part.to(dtype) for part in states] for states in (start, initial))
        count = len(group)
        a = [[self._still(factors[i][j], start[i], float(i == j)) for j in range(count)] for i in range(count)]
        b = [self._still(terms[i], start[i], 0.0) for i in range(count)]
        if self.resets is not None:
            for i, term in enumerate(b):
                anew = sum((a[i][j] * initial[j] for j in range(count)), term)
                b[i] = torch.where(self.resets, anew, term)
        if count == 1:
            found = recurrence(a[0][0], b[0], start[0], self.resets).unsqueeze(1)
        else:
            matrix = torch.stack([torch.stack(row, 1) for row in a], 1)
            cut = None if self.resets is None else self.resets.unsqueeze(1)
            found = recurrence(matrix, torch.stack(b, 1), torch.stack(start), cut)
        self._scanned |= dict(zip(group, found.unbind(1), strict=True))
        return tuple(part[1:] for part in found.unbind(1))

    def before(self, state: str) -> Tensor:
        """(T, B, size): what a state was when each step read it."""
        if state in self._scanned:
            values = self._scanned[state][:-1]
        else:
            kept = self._kept[state]
            values = torch.cat((self.start[state].to(kept.dtype).unsqueeze(0), kept[:-1]))
        return values if self.resets is None else torch.where(self.resets, self.initial[state].to(values.dtype), values)

    def final(self, state: str, values: Tensor) -> Tensor:
        """(B, size): after the last step, of a ragged row after its last valid one."""
        if self.lengths is None or state in self._scanned:
            return values[-1]
        rows = torch.arange(len(self.lengths), device=values.device)
        reached = values[(self.lengths - 1).clamp(min=0), rows]
        return torch.where((self.lengths > 0)[:, None], reached, self.start[state].to(values.dtype))

    def _still(self, value: _Value, like: Tensor, standing: float) -> Tensor:
        """A factor or term for all steps; on padding the one that lets the state stand still."""
        found = self._spread(0.0 if value is None else value, like, like.dtype)
        return found if self.valid is None else torch.where(self.valid, found, found.new_full((), standing))

    def _spread(self, value: Tensor | float, like: Tensor, dtype: torch.dtype) -> Tensor:
        """(T, B, size), whatever it was given as."""
        tensor = value.to(dtype) if isinstance(value, Tensor) else like.new_full((), value, dtype=dtype)
        return tensor.expand(*self._moments, like.shape[-1])
