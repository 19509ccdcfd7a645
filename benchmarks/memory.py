"""Bytes held for the backward pass, per step and row: what autograd saves, each storage counted once."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from recurra.layers import Recurrent

__all__ = ["held", "memory_rows"]


def held(run: Callable[[], Tensor], known: list[Tensor]) -> int:
    """Bytes that autograd keeps alive after `run`, beside those of `known` (parameters, input)."""
    storages: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        y = run()
    for tensor in known:
        storages.pop(tensor.untyped_storage().data_ptr(), None)
    # The outputs are there in any case.
    storages[y.untyped_storage().data_ptr()] = y.untyped_storage().nbytes()
    return sum(storages.values())


def memory_rows() -> list[dict]:
    """LSTM and GRU at one shape: ours, ours computing again, torch's."""
    batch, steps, inputs, hidden = 32, 100, 64, 128
    x = torch.randn(batch, steps, inputs)
    rows = []
    for cell, kind in (("lstm", nn.LSTM), ("gru", nn.GRU)):
        module = kind(inputs, hidden, batch_first=True)
        ours, again = (Recurrent(cell, inputs, hidden, recompute=flag) for flag in (False, True))
        found = {}
        for name, layer in (("ours", ours), ("ours, recompute", again), ("torch.nn", module)):
            bytes_ = held(lambda layer=layer: layer(x)[0], [x, *layer.parameters()])
            found[name] = bytes_ / (batch * steps)
        rows.append({"cell": cell, "hidden": hidden, "bytes_per_step": found})
    return rows
