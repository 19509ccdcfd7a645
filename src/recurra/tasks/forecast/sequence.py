"""Nets that read value by value and say the whole horizon at once, each step with the last state in sight."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Generator, Tensor, nn

from recurra.layers.attention import Attention
from recurra.layers.decay import InputDecay
from recurra.layers.feedforward import linear
from recurra.layers.recurrent import Recurrent
from recurra.layers.tdnn import TDNN
from recurra.reservoir.layer import ReservoirLayer
from recurra.reservoir.reservoir import Reservoir
from recurra.tasks.forecast.heads import Head
from recurra.tasks.forecast.layout import Layout, Parts
from recurra.tasks.forecast.network import Context, ForecastNet, instance

__all__ = ["AttentionNet", "DirectNet", "Horizon"]


class Horizon(nn.Module):
    """From the last state (B, D) to every step of the horizon: relu(A h + P_t + B known_t + C context) -> outputs.

    The peers read the outputs at the last H positions of a causal net instead, so that step k of H knows nothing newer
    than H - k steps before the origin (Nixtla/neuralforecast issue 1337).
    """

    def __init__(self, size: int, layout: Layout, context: int, head: Head, generator: Generator | None = None) -> None:
        super().__init__()
        self.state = linear(size, size, generator)
        self.position = nn.Parameter(torch.randn(layout.horizon, size, generator=generator) * 0.3)
        self.known = linear(layout.known, size, generator, bias=False) if layout.known else None
        self.context = linear(context, size, generator, bias=False) if context else None
        self.output = linear(size, head.outputs, generator)

    def queries(self, state: Tensor, parts: Parts, context: Tensor | None) -> Tensor:
        """(B, H, D) before the last layer."""
        found = self.state(state).unsqueeze(1) + self.position
        if self.known is not None:
            found = found + self.known(parts.known)
        if self.context is not None and context is not None:
            found = found + self.context(context).unsqueeze(1)
        return found

    def forward(self, state: Tensor, parts: Parts, context: Tensor | None) -> Tensor:
        """(B, H, outputs)."""
        return self.output(torch.relu(self.queries(state, parts, context)))


class _Reading(ForecastNet):
    """What the nets here share: the inputs of each step of the look-back."""

    def __init__(
        self,
        layout: Layout,
        head: Head,
        *,
        levels: Sequence[float],
        normalise: str,
        embedding: int,
        dropout: float,
        decay: bool,
        generator: Generator | None = None,
    ) -> None:
        super().__init__(layout, head, normalise, levels)
        self.context = Context(layout, embedding, generator)
        self.decay = InputDecay(1) if decay else None
        self.drop = nn.Dropout(dropout)

    @property
    def width(self) -> int:
        """Inputs per step."""
        return 1 + self.beside_width

    def layer_input(self, parts: Parts, location: Tensor, scale: Tensor) -> Tensor:
        """(B, L, width)."""
        del location, scale
        values = parts.values.unsqueeze(-1)
        if self.decay is not None:
            values = self.decay(values, parts.observed.unsqueeze(-1))
        beside = self.beside(parts)
        return values if beside is None else torch.cat((values, beside), -1)


class DirectNet(_Reading):
    """A recurrent, time-delay or reservoir body; its last output decides all of the horizon."""

    def __init__(
        self,
        layout: Layout,
        head: Head,
        *,
        body: str = "direct",
        cell: str = "gru",
        hidden_size: int = 64,
        num_layers: int = 1,
        seed: int = 0,
        generator: Generator | None = None,
        **options: Any,
    ) -> None:
        super().__init__(layout, head, generator=generator, **options)
        self.body = body
        if body == "esn":
            # Drawn anew from the seed whenever the net is built, so no weights need be kept.
            reservoir = Reservoir(hidden_size, self.width, spectral_radius=0.95, input_scaling=0.5, leak=0.5, seed=seed)
            self.__dict__["reservoir"] = ReservoirLayer(reservoir)
            size = hidden_size
        elif body == "tdnn":
            # Three layers, each reaching back a third.
            reach = max(1, (layout.look_back - 1) // 3)
            spread = [-reach, -reach // 2, 0] if reach > 1 else [-1, 0]
            self.net = TDNN(
                self.width,
                [(hidden_size, min(8, layout.look_back)), (hidden_size, spread), (hidden_size, spread)],
                activation="relu",
                padding="causal",
                generator=generator,
            )
            size = hidden_size
        else:
            self.net = Recurrent(cell, self.width, hidden_size, num_layers, generator=generator)
            size = self.net.output_width
        self.horizon = Horizon(size, layout, self.context.width, head, generator)

    def answered(self, x: Tensor, parts: Parts) -> Tensor:
        """From the last output."""
        y, _ = self.__dict__["reservoir"](x) if self.body == "esn" else self.net(x)
        return self.horizon(self.drop(y[:, -1]), parts, self.context(parts))


class AttentionNet(_Reading):
    """Encoder and decoder: the horizon's steps ask what the encoder said of each value of the look-back."""

    def __init__(
        self,
        layout: Layout,
        head: Head,
        *,
        cell: str = "gru",
        hidden_size: int = 64,
        num_layers: int = 1,
        generator: Generator | None = None,
        **options: Any,
    ) -> None:
        super().__init__(layout, head, generator=generator, **options)
        self.encoder = Recurrent(cell, self.width, hidden_size, num_layers, generator=generator)
        size = self.encoder.output_width
        self.horizon = Horizon(size, layout, self.context.width, head, generator)
        self.decoder = Recurrent(cell, size, hidden_size, num_layers, generator=generator)
        self.attention = Attention("general", size, size, generator=generator)
        self.output = linear(2 * size, head.outputs, generator)

    def answered(self, x: Tensor, parts: Parts) -> Tensor:
        """From the decoder's outputs and what they found."""
        return self._attended(x, parts)[0]

    def weights(self, x: Tensor) -> Tensor:
        """(B, H, L): where each step of the horizon looks, from packed windows; rows sum to 1."""
        parts = self.layout.parts(x)
        location, scale = instance(parts.values, parts.observed, self.normalise)
        parts = parts._replace(values=(parts.values - location) / scale * parts.observed)
        return self._attended(self.layer_input(parts, location, scale), parts)[1]

    def _attended(self, x: Tensor, parts: Parts) -> tuple[Tensor, Tensor]:
        """Parameters (B, H, outputs), and where each step of the horizon looked (B, H, L)."""
        memory, state = self.encoder(x)
        queries = torch.relu(self.horizon.queries(memory[:, -1], parts, self.context(parts)))
        y, _ = self.decoder(queries, state)
        found, weights = self.attention(y, self.attention.prepare(memory))
        return self.output(self.drop(torch.cat((y, found), -1))), weights
