"""Where attention looks: the weights of every attention layer and memory head of a model, caught while it runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from recurra.diagnostics.subject import Subject
from recurra.layers.attention import Attention, AttentionPooling
from recurra.layers.memory import NTM
from recurra.layers.monotonic import MonotonicAttention

__all__ = ["addressing_maps", "attention_maps"]

_KINDS = (Attention, AttentionPooling, MonotonicAttention)


def attention_maps(subject: Subject) -> dict[str, NDArray[np.float64]]:
    """The weights (B, S, T) of each attention layer by its path in the model: query s looks at memory step t.

    A layer that is asked once a step is put together over the steps; pooling has one query a sequence. Empty for a
    model without attention.
    """
    caught: dict[str, list[Tensor]] = {}
    hooks = []
    for path, layer in subject.model.named_modules():
        if isinstance(layer, _KINDS):
            kept = caught.setdefault(path or type(layer).__name__, [])
            hooks.append(layer.register_forward_hook(_catch(kept)))
    try:
        with torch.no_grad():
            subject.outputs(subject.x)
    finally:
        for hook in hooks:
            hook.remove()
    return {path: torch.cat(parts, 1).double().cpu().numpy() for path, parts in caught.items() if parts}


def addressing_maps(subject: Subject) -> dict[str, NDArray[np.float64]]:
    """Where every head of a neural Turing machine is at each step, (B, T, N) over its N places, by its name.

    Writing heads come first, as in the pictures of Graves et al. 2014. Empty for a model without such a memory.
    """
    caught: dict[str, NDArray[np.float64]] = {}
    hooks = []
    for path, layer in subject.model.named_modules():
        if isinstance(layer, NTM):
            hooks.append(layer.register_forward_pre_hook(_follow(layer, caught, f"{path} " if path else "")))
    try:
        with torch.no_grad():
            subject.outputs(subject.x)
    finally:
        for hook in hooks:
            hook.remove()
    return caught


def _follow(layer: NTM, caught: dict[str, NDArray[np.float64]], prefix: str):  # noqa: ANN202 - the type of a hook is torch's
    def hook(_: nn.Module, given: tuple[Any, ...]) -> None:
        heads = layer.trace(*given[:2])[1].weights.double().cpu().numpy()
        reading, all_heads = layer.sizes.reading, layer.sizes.heads
        for head in (*range(reading, all_heads), *range(reading)):
            verb, number = ("reads", head) if head < reading else ("writes", head - reading)
            caught[f"{prefix}head {number} {verb}"] = heads[:, :, head]

    return hook


def _catch(kept: list[Tensor]):  # noqa: ANN202 - the type of a hook is torch's
    def hook(_: nn.Module, __: object, result: tuple[Tensor, Tensor]) -> None:
        weights = result[1].detach()
        kept.append(weights if weights.dim() == 3 else weights.unsqueeze(1))

    return hook
