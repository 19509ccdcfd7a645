"""The network of a text model: symbols in, logits of the next symbol out."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from recurra.data.batch import Batch
from recurra.layers import Recurrent
from recurra.layers.embedding import TokenInput, locked_dropout
from recurra.layers.output import OutputLayer
from recurra.tasks.text.settings import ModelSettings

__all__ = ["TextModel", "next_symbol_loss"]

State = Any


class TextModel(nn.Module):
    """Symbols -> embedding -> locked dropout -> recurrent layers -> locked dropout -> logits.

    settings: the sizes and the cell; vocabulary_size: V.
    generator: draws the initial weights.
    """

    def __init__(self, settings: ModelSettings, vocabulary_size: int, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.settings = settings
        self.vocabulary_size = vocabulary_size
        self.input = TokenInput(vocabulary_size, settings.embedding_size, generator=generator)
        self.recurrent = Recurrent(
            settings.cell,
            self.input.width,
            settings.hidden_size,
            num_layers=settings.num_layers,
            dropout=settings.dropout if settings.num_layers > 1 else 0.0,
            recurrent_dropout=settings.recurrent_dropout,
            weight_drop=settings.weight_drop,
            zoneout=settings.zoneout,
            residual=settings.residual,
            learned_initial_state=settings.learned_initial_state,
            generator=generator,
        )
        self.output = OutputLayer(
            self.recurrent.output_width,
            vocabulary_size,
            tied=self.input.weight if settings.tied else None,
            generator=generator,
        )

    def forward(
        self, tokens: Tensor, state: State = None, lengths: Tensor | None = None, resets: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """Logits (B, T, V) of the symbol after each of tokens (B, T) int64, and the state to go on from.

        lengths (B,) and resets (B, T) as everywhere: padding is inert, a reset restarts a row before that symbol.
        """
        x = locked_dropout(self.input(tokens), self.settings.input_dropout, self.training)
        y, state = self.recurrent(x, state, lengths=lengths, resets=resets)
        return self.output(locked_dropout(y, self.settings.dropout, self.training)), state

    def step(self, token: Tensor, state: State = None) -> tuple[Tensor, State]:
        """Logits (B, V) after one more symbol (B,) int64; the fast way to generate. No dropout."""
        y, state = self.recurrent.step(self.input(token), state)
        return self.output(y), state

    def parameter_count(self) -> int:
        """Numbers that are learned."""
        return sum(parameter.numel() for parameter in self.parameters() if parameter.requires_grad)


def next_symbol_loss(logits: Tensor, batch: Batch) -> tuple[Tensor, int]:
    """Cross-entropy in nats summed over the valid positions, and how many those are."""
    losses = nn.functional.cross_entropy(logits.flatten(0, 1).float(), batch.y.flatten(), reduction="none")
    if batch.lengths is None:
        return losses.sum(), losses.numel()
    steps = torch.arange(batch.y.shape[1], device=batch.y.device)
    valid = (steps < batch.lengths[:, None]).flatten()
    return losses[valid].sum(), int(valid.sum())
