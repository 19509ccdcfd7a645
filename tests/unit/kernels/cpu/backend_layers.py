"""Layers on the native backend and all that comes out of them, held against the reference."""

from __future__ import annotations

import torch
from tests.tolerances import assert_close
from torch import Tensor

from recurra.base.state import leaves
from recurra.layers import Recurrent

__all__ = ["CELLS", "agree", "draw", "make", "results"]

CELLS = ("lstm", "gru_v1", "layer_norm_lstm")


def make(cell: str, inputs: int = 5, hidden: int = 7, backend: str | None = "native", **options: object) -> Recurrent:
    generator = torch.Generator().manual_seed(4)
    return Recurrent(cell, inputs, hidden, generator=generator, backend=backend, **options).double()


def draw(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64)


def results(layer: Recurrent, backend: str, x: Tensor, state: object = None, **call: object) -> list[Tensor]:
    """Outputs, final states, gradients of x and of the parameters."""
    for unit in layer.units:
        unit.backend = backend
    x = x.detach().requires_grad_()
    y, last = layer(x, state, **call)
    total = (y * torch.linspace(-1, 1, max(y.numel(), 1), dtype=y.dtype)[: y.numel()].view(y.shape)).sum()
    total = total + sum(leaf.square().sum() for leaf in leaves(last))
    gradients = torch.autograd.grad(total, [x, *layer.parameters()], allow_unused=True, materialize_grads=True)
    return [y.detach(), *(leaf.detach() for leaf in leaves(last)), *gradients]


def agree(layer: Recurrent, x: Tensor, state: object = None, **call: object) -> list[Tensor]:
    """The native results, which must be those of the reference."""
    have, want = (results(layer, name, x, state, **call) for name in ("native", "reference"))
    for number, (a, b) in enumerate(zip(have, want, strict=True)):
        assert_close(a, b, "value" if number <= len(leaves(layer.zero_state(1))) else "gradient", f"result {number}")
    return have
