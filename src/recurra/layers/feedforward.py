"""Layers over single steps: what stands below, above and beside a recurrence."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Literal, cast

import torch
from torch import Generator, Tensor, nn

from recurra.base.errors import ConfigError, ShapeError, message, nearest
from recurra.layers.facts import Facts

__all__ = ["ACTIVATIONS", "Activation", "FeedForward", "check_activation", "linear"]

Activation = Literal["tanh", "sigmoid", "relu", "linear"]

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "relu": torch.relu,
    "linear": lambda a: a,
}


def check_activation(where: str, name: str) -> str:
    """`name`; ConfigError where no activation is called that."""
    if name not in ACTIVATIONS:
        known = ", ".join(nearest(str(name), ACTIVATIONS))
        raise ConfigError(message(where, f"activation must be one of {known}, got {name!r}"))
    return name


def linear(inputs: int, outputs: int, generator: Generator | None = None, bias: bool = True) -> nn.Linear:
    """A torch Linear whose matrix is Glorot uniform from `generator` and whose bias is 0."""
    layer = nn.Linear(inputs, outputs, bias=bias)
    nn.init.xavier_uniform_(layer.weight, generator=generator)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer


class FeedForward(nn.Module):
    """One-to-one: layers of `a(W x + b)` over the last axis, each step by itself.

    >>> import torch
    >>> FeedForward(3, (8, 5))(torch.zeros(2, 3)).shape
    torch.Size([2, 5])

    widths: outputs of each layer, from below; none is the identity. activation: of all layers; last: of the last one,
    where it differs. shortcut: every layer but the first also reads x itself (Pascanu et al. 2014).
    """

    def __init__(
        self,
        input_size: int,
        widths: Sequence[int],
        *,
        activation: Activation = "tanh",
        last: Activation | None = None,
        shortcut: bool = False,
        generator: Generator | None = None,
    ) -> None:
        super().__init__()
        if input_size < 1 or any(width < 1 for width in widths):
            fact = f"input_size and widths must be whole numbers from 1, got {input_size} and {tuple(widths)}"
            raise ConfigError(message("FeedForward", fact))
        check_activation("FeedForward", activation)
        self.input_size, self.widths, self.shortcut = input_size, tuple(widths), shortcut
        self.activations: list[str] = [activation] * len(self.widths)
        if last is not None and self.widths:
            self.activations[-1] = check_activation("FeedForward", last)
        self.output_width = self.widths[-1] if self.widths else input_size
        sizes = itertools.pairwise((input_size, *self.widths))
        layers = [
            linear(below + (input_size if shortcut and index else 0), above, generator)
            for index, (below, above) in enumerate(sizes)
        ]
        self.layers = cast("list[nn.Linear]", nn.ModuleList(layers))

    def forward(self, x: Tensor) -> Tensor:
        """x (..., I) -> (..., output_width)."""
        if not x.dim() or x.shape[-1] != self.input_size:
            fact = f"x must be (..., I) = (..., {self.input_size}), got {tuple(x.shape)}"
            raise ShapeError(message("FeedForward.forward", fact))
        y = x
        for index, (layer, name) in enumerate(zip(self.layers, self.activations, strict=True)):
            y = ACTIVATIONS[name](layer(torch.cat((y, x), -1) if self.shortcut and index else y))
        return y

    def facts(self) -> Facts:
        """One nonlinear layer each, but for those that are linear."""
        return Facts(feedforward=sum(name != "linear" for name in self.activations))
