"""The net of event detection: a causal stack of any cell, logits for every frame."""

from __future__ import annotations

from typing import Any

import torch
from torch import Generator, Tensor, nn

from recurra.layers.feedforward import linear
from recurra.layers.recurrent import Recurrent
from recurra.tasks.events.settings import Architecture

__all__ = ["EventNet", "event_probabilities"]


class EventNet(nn.Module):
    """x (B, F, frame * width) -> logits (B, F, 1 + K), background first; with overlap (B, F, K), one for each class."""

    def __init__(self, width: int, classes: int, model: Architecture, generator: Generator | None = None) -> None:
        super().__init__()
        self.overlap, self.dropout = model.overlap, model.dropout
        self.body = Recurrent(
            model.cell,
            model.frame * width,
            model.hidden,
            model.layers,
            dropout=model.dropout if model.layers > 1 else 0.0,
            generator=generator,
        )
        self.output = linear(self.body.output_width, classes + (not model.overlap), generator)

    def forward(
        self, x: Tensor, state: Any = None, lengths: Tensor | None = None, resets: Tensor | None = None
    ) -> tuple[Tensor, Any]:
        """As every layer here: logits and the state after the last frame."""
        y, state = self.body(x, state, lengths, resets)
        return self.output(nn.functional.dropout(y, self.dropout, self.training)), state


def event_probabilities(logits: Tensor, overlap: bool) -> Tensor:
    """Of the K classes (..., K), without that of the background."""
    return torch.sigmoid(logits) if overlap else torch.softmax(logits, -1)[..., 1:]
