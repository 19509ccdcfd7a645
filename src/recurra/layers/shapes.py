"""The shapes of use: one answer for a sequence, one for every step.

One-to-one is `FeedForward`, one-to-many `OneToMany`, many-to-many of other lengths `EncoderDecoder`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Generator, Tensor, nn

from recurra.base.errors import ConfigError, message
from recurra.layers.attention import Pooling
from recurra.layers.facts import Facts, facts_of
from recurra.layers.feedforward import linear
from recurra.layers.sequence import blank_padding, check_lengths

__all__ = ["ManyToMany", "ManyToOne"]


def _width(body: nn.Module, output_size: int, where: str) -> int:
    width = getattr(body, "output_width", None)
    if not isinstance(width, int):
        fact = f"{type(body).__name__} does not say its output_width"
        raise ConfigError(message(where, fact, hint="Recurrent, Bidirectional, DeepRecurrent and TDNN do."))
    if output_size < 1:
        raise ConfigError(message(where, f"output_size must be a whole number from 1, got {output_size}"))
    return width


class ManyToOne(nn.Module):
    """A sequence in, one output: the body's outputs pooled over time, then a linear layer.

    >>> import torch
    >>> from recurra.layers import Recurrent
    >>> net = ManyToOne(Recurrent("gru", 3, 8), 5, pooling="attention")
    >>> net(torch.zeros(4, 10, 3), lengths=[10, 2, 7, 1])[0].shape
    torch.Size([4, 5])

    body: a layer that maps (B, T, I) to (B, T, F) and a state. pooling: "last" (valid step), "mean", "max" or
    "attention".
    """

    def __init__(
        self, body: nn.Module, output_size: int, pooling: str = "last", *, generator: Generator | None = None
    ) -> None:
        super().__init__()
        width = _width(body, output_size, "ManyToOne")
        self.body, self.output_width = body, output_size
        self.pooling = Pooling(pooling, width, generator=generator)
        self.output = linear(width, output_size, generator)

    def forward(
        self, x: Tensor, state: Any = None, lengths: Tensor | Sequence[int] | None = None
    ) -> tuple[Tensor, Any]:
        """x (B, T, I) -> (B, output_size) and the body's state."""
        y, state = self.body(x, state, lengths)
        lengths = check_lengths("ManyToOne.forward", lengths, x)
        # Layers without padding of their own give fewer steps than they are given.
        shorter = getattr(self.body, "output_lengths", None)
        return self.output(self.pooling(y, shorter(lengths) if shorter else lengths)), state


class ManyToMany(nn.Module):
    """A sequence in, an output for every step: the body, then a linear layer.

    >>> import torch
    >>> from recurra.layers import Recurrent
    >>> ManyToMany(Recurrent("gru", 3, 8), 5)(torch.zeros(4, 10, 3))[0].shape
    torch.Size([4, 10, 5])
    """

    def __init__(self, body: nn.Module, output_size: int, *, generator: Generator | None = None) -> None:
        super().__init__()
        width = _width(body, output_size, "ManyToMany")
        self.body, self.output_width = body, output_size
        self.output = linear(width, output_size, generator)

    def forward(
        self, x: Tensor, state: Any = None, lengths: Tensor | Sequence[int] | None = None
    ) -> tuple[Tensor, Any]:
        """x (B, T, I) -> (B, T, output_size), 0 on the padding, and the body's state."""
        y, state = self.body(x, state, lengths)
        lengths = check_lengths("ManyToMany.forward", lengths, x)
        shorter = getattr(self.body, "output_lengths", None)
        return blank_padding(self.output(y), shorter(lengths) if shorter else lengths), state

    def initial_state(self, batch_size: int) -> Any:
        """Of the body."""
        return self.body.initial_state(batch_size)  # pyright: ignore[reportCallIssue]

    def facts(self) -> Facts | None:
        """Those of the body: the output layer is linear."""
        return facts_of(self.body)
