"""Unsupervised pre-training: the weights that read are learned from unlabelled sequences, then given to a classifier.

    NextSymbol     predicts the next symbol ("LM-LSTM")
    Autoencoder    reads a sequence to its end, then writes it again from the state, with the same weights ("SA-LSTM")
    Classifier     begins with their table and recurrent layers and learns a label for the whole sequence

Dai and Le, Semi-supervised sequence learning, 2015, arXiv:1511.01432. All three are models for the training loop, and
share an `Encoder`, which is what `transfer` copies.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from recurra.base.errors import ConfigError, DataError, message
from recurra.base.state import State
from recurra.data.batch import Batch
from recurra.layers import Recurrent
from recurra.layers.embedding import TokenInput
from recurra.layers.output import OutputLayer
from recurra.layers.sequence import last_valid, valid_mask

__all__ = ["Autoencoder", "Classifier", "Encoder", "NextSymbol", "class_loss", "symbol_loss", "transfer"]


class Encoder(nn.Module):
    """Symbols (B, T) -> features (B, T, H) and state: a table, then recurrent layers.

    vocabulary_size: V; embedding_size: width of the table, 0 for one-hot; generator: draws the weights.
    """

    def __init__(
        self,
        vocabulary_size: int,
        embedding_size: int,
        hidden_size: int,
        *,
        cell: str = "lstm",
        num_layers: int = 1,
        dropout: float = 0.0,
        generator: Generator | None = None,
    ) -> None:
        super().__init__()
        self.input = TokenInput(vocabulary_size, embedding_size, generator=generator)
        self.recurrent = Recurrent(
            cell, self.input.width, hidden_size, num_layers, dropout=dropout, generator=generator
        )
        self.vocabulary_size, self.width = vocabulary_size, self.recurrent.output_width

    def forward(
        self, tokens: Tensor, state: State = None, lengths: Tensor | None = None, resets: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """lengths (B,) and resets (B, T) as everywhere."""
        return self.recurrent(self.input(tokens), state, lengths=lengths, resets=resets)


class NextSymbol(nn.Module):
    """An encoder and logits (B, T, V) of the symbol after each one; trained with `symbol_loss`, y the next symbols."""

    def __init__(self, encoder: Encoder, generator: Generator | None = None) -> None:
        super().__init__()
        self.encoder = encoder
        self.output = OutputLayer(encoder.width, encoder.vocabulary_size, generator=generator)

    def forward(
        self, tokens: Tensor, state: State = None, lengths: Tensor | None = None, resets: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """Logits and state."""
        y, state = self.encoder(tokens, state, lengths, resets)
        return self.output(y), state


class Autoencoder(nn.Module):
    """Reads x (B, T) from the initial state, then writes it: logits (B, T, V) of x itself, given what came before.

    The writer is the reader (one set of weights, as in the paper), begun with the state after each row's last symbol
    and fed `start` and then the true symbols. Trained with `symbol_loss`, y = x. start: a symbol that marks a
    beginning, in [0, V); it may also be one that occurs.
    """

    def __init__(self, encoder: Encoder, start: int, generator: Generator | None = None) -> None:
        super().__init__()
        if not 0 <= start < encoder.vocabulary_size:
            fact = f"start must be a symbol in 0 .. {encoder.vocabulary_size - 1}, got {start}"
            raise ConfigError(message("Autoencoder", fact))
        self.encoder, self.start = encoder, start
        self.output = OutputLayer(encoder.width, encoder.vocabulary_size, generator=generator)

    def forward(
        self, tokens: Tensor, state: State = None, lengths: Tensor | None = None, resets: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """Logits, and the state after writing; a sequence is whole, so there are no resets."""
        if resets is not None and bool(resets[:, 1:].any()):
            raise DataError(message("Autoencoder", "a sequence cannot restart: it is read to its end and then written"))
        _, memory = self.encoder(tokens, state, lengths)
        begin = torch.full_like(tokens[:, :1], self.start)
        y, state = self.encoder(torch.cat([begin, tokens[:, :-1]], 1), memory, lengths)
        return self.output(y), state


class Classifier(nn.Module):
    """An encoder and logits (B, C) from the features after each row's last symbol (or their mean)."""

    def __init__(
        self,
        encoder: Encoder,
        classes: int,
        *,
        mean: bool = False,
        dropout: float = 0.0,
        generator: Generator | None = None,
    ) -> None:
        super().__init__()
        self.encoder, self.mean, self.dropout = encoder, mean, dropout
        self.output = OutputLayer(encoder.width, classes, generator=generator)

    def forward(
        self, tokens: Tensor, state: State = None, lengths: Tensor | None = None, resets: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """Logits and state."""
        y, state = self.encoder(tokens, state, lengths, resets)
        if self.mean:
            steps = y.shape[1] if lengths is None else lengths.clamp(min=1).unsqueeze(-1)
            features = y.sum(1) / steps
        else:
            features = last_valid(y, lengths)
        return self.output(functional.dropout(features, self.dropout, self.training)), state


def symbol_loss(logits: Tensor, batch: Batch) -> tuple[Tensor, int]:
    """Cross-entropy in nats summed over valid positions, and their number; y (B, T)."""
    each = functional.cross_entropy(logits.flatten(0, 1), batch.y.flatten(), reduction="none").view(batch.y.shape)
    if batch.lengths is not None:
        each = each[valid_mask(batch.lengths, each.shape[1])]
    return each.sum(), each.numel()


def class_loss(logits: Tensor, batch: Batch) -> tuple[Tensor, int]:
    """Cross-entropy in nats summed over rows, and their number; y (B,)."""
    return functional.cross_entropy(logits, batch.y, reduction="sum"), len(batch.y)


@torch.no_grad()
def transfer(source: nn.Module, target: nn.Module, only: str = "encoder") -> list[str]:
    """Copy the parameters under the name `only` from one model to another, all of them; gives their names.

    Raises ConfigError where the target lacks one or has it in another shape, naming all that differ, and where there
    is nothing of that name.

    >>> one, other = (NextSymbol(Encoder(5, 3, 4)) for _ in range(2))
    >>> transfer(one, other)[0]
    'encoder.input.weight'
    """
    given = {name: value for name, value in source.state_dict().items() if _under(name, only)}
    taken: dict[str, Any] = {name: value for name, value in target.state_dict().items() if _under(name, only)}
    faults = [
        f"{name}: {_shape(given.get(name))} in the source, {_shape(taken.get(name))} in the target"
        for name in sorted(given.keys() | taken.keys())
        if _shape(given.get(name)) != _shape(taken.get(name))
    ]
    if faults or not given:
        fact = "the parameters do not match" if faults else f"the source has no parameters under {only!r}"
        hint = "same vocabulary, cell and sizes on both sides."
        raise ConfigError(message("transfer", fact, *faults, hint=hint))
    for name, value in given.items():
        taken[name].copy_(value)
    return list(given)


def _under(name: str, prefix: str) -> bool:
    return not prefix or name == prefix or name.startswith(prefix + ".")


def _shape(value: Any) -> str:
    return "nothing" if value is None else str(tuple(value.shape))
