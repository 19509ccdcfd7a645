"""Where attention looks: the weights of every attention layer and memory head of a model, caught while it runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

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
    layers = {path: layer for path, layer in subject.model.named_modules() if isinstance(layer, _KINDS)}
    _run(
        subject,
        [
            layer.register_forward_hook(_catch(caught.setdefault(path or type(layer).__name__, [])))
            for path, layer in layers.items()
        ],
    )
    return {path: torch.cat(parts, 1).double().cpu().numpy() for path, parts in caught.items() if parts}


def addressing_maps(subject: Subject) -> dict[str, NDArray[np.float64]]:
    """Where every head of a neural Turing machine is at each step, (B, T, N) over its N places, by its name.

    Writing heads come first, as in the pictures of Graves et al. 2014. Empty for a model without such a memory.
    """
    caught: dict[str, list[Tensor]] = {}
    machines = {path: layer for path, layer in subject.model.named_modules() if isinstance(layer, NTM)}
    _run(
        subject,
        [
            layer.register_forward_pre_hook(_follow(layer, caught.setdefault(path, [])))
            for path, layer in machines.items()
        ],
    )
    found: dict[str, NDArray[np.float64]] = {}
    for path, parts in caught.items():
        if not parts:
            continue
        weights, reading = torch.cat(parts, 1).double().cpu().numpy(), machines[path].sizes.reading
        for head in (*range(reading, weights.shape[2]), *range(reading)):
            verb, number = ("reads", head) if head < reading else ("writes", head - reading)
            found[f"{path} head {number} {verb}".strip()] = weights[:, :, head]
    return found


def _run(subject: Subject, hooks: Sequence[RemovableHandle]) -> None:
    """Run the model over the example, once, and take the hooks out again."""
    try:
        with torch.no_grad():
            subject.outputs(subject.x)
    finally:
        for hook in hooks:
            hook.remove()


def _follow(layer: NTM, kept: list[Tensor]):  # noqa: ANN202 - the type of a hook is torch's
    def hook(_: nn.Module, given: tuple[Any, ...]) -> None:
        kept.append(layer.trace(*given[:2])[1].weights)

    return hook


def _catch(kept: list[Tensor]):  # noqa: ANN202 - the type of a hook is torch's
    def hook(_: nn.Module, __: object, result: tuple[Tensor, Tensor]) -> None:
        weights = result[1].detach()
        kept.append(weights if weights.dim() == 3 else weights.unsqueeze(1))

    return hook
