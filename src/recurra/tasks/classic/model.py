"""The network of most classic tasks: one recurrent layer or a stack, and a linear layer on top; and the losses.

Each loss comes twice: summed, as the training loop wants it, and place by place, as the diagnostics do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from recurra.data.batch import Batch
from recurra.layers import Recurrent
from recurra.layers.chrono import chrono, keepers
from recurra.layers.output import OutputLayer
from recurra.layers.sequence import last_valid, valid_mask
from recurra.layers.unit import resolve
from recurra.tasks.classic.settings import ClassicSettings

__all__ = [
    "SequenceModel",
    "as_it_is",
    "cross_entropies",
    "cross_entropy",
    "gate_starts",
    "probabilities",
    "set_loss",
    "set_losses",
    "squared_error",
    "squared_errors",
]


class SequenceModel(nn.Module):
    """x (B, T, I) -> outputs (B, T, O) and the state; with `last`, the output (B, O) after each row's last step.

    A cell that has its output layer inside (jordan) gets no second one: its output is the net's.
    """

    def __init__(
        self,
        settings: ClassicSettings,
        input_size: int,
        output_size: int,
        generator: Generator | None = None,
        *,
        last: bool = False,
    ) -> None:
        super().__init__()
        self.last = last
        spec = resolve(settings.cell).spec
        inside = "O" in spec.axes and settings.layers == 1
        self.recurrent = Recurrent(
            settings.cell,
            input_size,
            settings.hidden,
            settings.layers,
            output_size=output_size if inside else None,
            initializers=gate_starts(settings),
            generator=generator,
        )
        width = self.recurrent.output_width
        self.output = nn.Identity() if inside else OutputLayer(width, output_size, generator=generator)

    def forward(
        self, x: Tensor, state: Any = None, lengths: Tensor | None = None, resets: Tensor | None = None
    ) -> tuple[Tensor, Any]:
        """Outputs and the state to go on from; lengths (B,) and resets (B, T) as everywhere."""
        y, state = self.recurrent(x, state, lengths=lengths, resets=resets)
        return self.output(last_valid(y, lengths) if self.last else y), state

    def step(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Output (B, O) after one more step x (B, I)."""
        y, state = self.recurrent.step(x, state)
        return self.output(y), state

    def parameter_count(self) -> int:
        """Numbers that are learned."""
        return sum(parameter.numel() for parameter in self.parameters() if parameter.requires_grad)


def probabilities(logits: Tensor) -> Tensor:
    """Softmax over the last axis."""
    return torch.softmax(logits, -1)


def as_it_is(outputs: Tensor) -> Tensor:
    """The outputs."""
    return outputs


def gate_starts(settings: ClassicSettings) -> Mapping[str, str | float]:
    """How the settings let the gates' biases start, for cells that have such gates."""
    spec = resolve(settings.cell).spec
    starts = {"b.f": settings.forget_bias, "b.i": settings.input_bias}
    named: dict[str, str | float] = {
        name: value for name, value in starts.items() if value is not None and name in spec.params
    }
    for one in settings.initial:
        name, _, value = one.partition("=")
        try:
            named[name] = float(value)
        except ValueError:
            named[name] = value
    return chrono(settings.chrono, named) if settings.chrono and keepers(spec) else named


def cross_entropy(logits: Tensor, batch: Batch) -> tuple[Tensor, int]:
    """Nats summed over the targets, and their number; a target is a class, -100 asks nothing.

    logits (B, T, V) with y (B, T), or (B, V) with y (B,).
    """
    wanted = batch.y
    if wanted.dim() == 2 and batch.lengths is not None:
        wanted = wanted.masked_fill(~valid_mask(batch.lengths, wanted.shape[1]), -100)
    wanted = wanted.flatten()
    total = functional.cross_entropy(logits.reshape(-1, logits.shape[-1]), wanted, reduction="sum", ignore_index=-100)
    return total, int((wanted != -100).sum())


def squared_error(outputs: Tensor, batch: Batch) -> tuple[Tensor, int]:
    """Squared errors summed over all that is asked, and how many numbers that is; a target of NaN asks nothing.

    outputs and y (B, T, O), or (B, O).
    """
    asked = ~torch.isnan(batch.y)
    if batch.y.dim() == 3 and batch.lengths is not None:
        asked = asked & valid_mask(batch.lengths, batch.y.shape[1]).unsqueeze(-1)
    return (outputs - batch.y)[asked].square().sum(), int(asked.sum())


def set_loss(logits: Tensor, batch: Batch) -> tuple[Tensor, int]:
    """Binary cross-entropy in nats summed over channels and valid steps, and how many steps; y (B, T, O) of 0 and 1."""
    each = functional.binary_cross_entropy_with_logits(logits, batch.y, reduction="none").sum(-1)
    if batch.lengths is not None:
        each = each[valid_mask(batch.lengths, each.shape[1])]
    return each.sum(), each.numel()


def cross_entropies(logits: Tensor, y: Tensor) -> Tensor:
    """`cross_entropy` of every place, (B, T) or (B, 1); 0 where nothing is asked."""
    each = functional.cross_entropy(logits.reshape(-1, logits.shape[-1]), y.flatten(), reduction="none")
    return each.view(len(y), -1)


def squared_errors(outputs: Tensor, y: Tensor) -> Tensor:
    """`squared_error` of every place, summed over the outputs, (B, T) or (B, 1); 0 where nothing is asked."""
    asked = ~torch.isnan(y)
    return torch.where(asked, outputs - y.nan_to_num(), 0.0).square().sum(-1).view(len(y), -1)


def set_losses(logits: Tensor, y: Tensor) -> Tensor:
    """`set_loss` of every place, (B, T); 0 where a target is NaN."""
    each = functional.binary_cross_entropy_with_logits(logits, y.nan_to_num(), reduction="none")
    return torch.where(torch.isnan(y), 0.0, each).sum(-1)
