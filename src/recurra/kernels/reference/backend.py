"""The time loop in eager torch."""

from __future__ import annotations

import torch
from torch import Tensor

from recurra.kernels.reference.program import program
from recurra.kernels.request import Request

__all__ = ["Reference"]


class Reference:
    """Runs every spec anywhere; autograd, and so any derivative, comes from torch."""

    name = "reference"

    def refuses(self, _: Request) -> str | None:
        """Nothing is refused."""
        return None

    def run(self, request: Request) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Outputs (B, T, size) and the final state, one eager step after the other."""
        spec, work = request.spec, program(request.spec)
        packed = work.pack(request.params)
        x = request.x.transpose(0, 1)
        steps, batch = x.shape[:2]
        sliced = [slices.unbind(0) for slices in work.before(x, packed)] if steps else []
        extras = [request.extras[extra.name] for extra in spec.extras]
        valid = None
        if request.lengths is not None:
            moments = torch.arange(steps, device=x.device)
            valid = (moments[:, None] < request.lengths.to(x.device)).unsqueeze(-1).unbind(0)
        resets = None
        if request.resets is not None:
            resets = request.resets.t().unsqueeze(-1).unbind(0)

        state = request.state
        outputs: list[Tensor] = []
        for t in range(steps):
            if resets is not None:
                state = tuple(torch.where(resets[t], new, old) for new, old in zip(request.initial, state, strict=True))
            now = [extra[t] if extra.dim() == 3 else extra for extra in extras]
            after = work.step(*(slices[t] for slices in sliced), *state, *now, *packed)
            if valid is not None:
                outputs.append(torch.where(valid[t], after[0], after[0].new_zeros(())))
                after = tuple(torch.where(valid[t], new, old) for new, old in zip(after, state, strict=True))
            else:
                outputs.append(after[0])
            state = after
        if not outputs:
            return x.new_zeros(batch, 0, request.state[0].shape[-1]), state
        return torch.stack(outputs, 1), state
