"""Segments as steps: a recurrent forecaster whose loop is as short as the look-back divided by the segment.

The look-back is cut into segments of w values, each one step of the recurrence; then the last state is handed to every
segment of the horizon at once, told apart by an embedding of its position. Lin et al., SegRNN: segment recurrent neural
network for long-term time series forecasting, 2023, arXiv:2308.11200.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Generator, Tensor, nn

from recurra.base.errors import ConfigError, ShapeError, message
from recurra.base.state import map_state
from recurra.equations.cell import Cell
from recurra.layers.feedforward import linear
from recurra.layers.recurrent import Recurrent

__all__ = ["SegmentForecaster"]


class SegmentForecaster(nn.Module):
    """Values (B, L) -> (B, H, Q), every step of the horizon with the whole look-back in sight.

    >>> import torch
    >>> net = SegmentForecaster("gru", look_back=48, horizon=24, segment=12, hidden_size=16, outputs=3)
    >>> net(torch.zeros(5, 48)).shape
    torch.Size([5, 24, 3])

    Args:
        cell: as in `Recurrent`.
        look_back: L.
        horizon: H.
        segment: w, values per step of the recurrence; neither L nor H need be a multiple of it.
        hidden_size: width of the segments' embedding and of the cell.
        outputs: Q, numbers per step of the horizon.
        num_layers: of the recurrence.
        inputs: F, numbers beside the value at each step of the look-back (a mask, covariates).
        known: K, numbers known for each step of the horizon.
        context: E, numbers of the series as a whole.
        dropout: of the last layer's input.
        skip: add a linear map of the L values (one for all Q outputs), for a closed-form solution to go into.
        generator: random stream of the initial weights.

    """

    def __init__(
        self,
        cell: str | type[Cell] | Cell = "gru",
        *,
        look_back: int,
        horizon: int,
        segment: int,
        hidden_size: int,
        outputs: int = 1,
        num_layers: int = 1,
        inputs: int = 0,
        known: int = 0,
        context: int = 0,
        dropout: float = 0.0,
        skip: bool = True,
        generator: Generator | None = None,
    ) -> None:
        super().__init__()
        sizes = {"look_back": look_back, "horizon": horizon, "segment": segment, "outputs": outputs}
        wrong = [f"{name} must be at least 1, got {size}" for name, size in sizes.items() if size < 1]
        if hidden_size < 2 or hidden_size % 2:
            wrong.append(f"hidden_size must be even, got {hidden_size}")
        if wrong:
            raise ConfigError(message("SegmentForecaster", "; ".join(wrong)))
        self.look_back, self.horizon, self.segment, self.outputs = look_back, horizon, segment, outputs
        self.inputs, self.known, self.context, self.dropout = inputs, known, context, dropout
        self.steps, self.ahead = math.ceil(look_back / segment), math.ceil(horizon / segment)
        self.embed = linear(segment * (1 + inputs), hidden_size, generator)
        self.recurrent = Recurrent(cell, hidden_size, hidden_size, num_layers, generator=generator)
        half = hidden_size // 2
        self.position = nn.Parameter(torch.randn(self.ahead, half, generator=generator) * 0.3)
        self.of_context = linear(context, half, generator) if context else None
        self.of_known = linear(segment * known, hidden_size, generator) if known else None
        self.output = linear(self.recurrent.output_width, segment * outputs, generator)
        self.skip = nn.Linear(look_back, horizon) if skip else None
        if self.skip is not None:
            nn.init.zeros_(self.skip.weight)
            nn.init.zeros_(self.skip.bias)

    def forward(
        self,
        values: Tensor,
        inputs: Tensor | None = None,
        known: Tensor | None = None,
        context: Tensor | None = None,
    ) -> Tensor:
        """values (B, L), inputs (B, L, F), known (B, H, K), context (B, E) -> (B, H, Q)."""
        self._check(values, inputs, known, context)
        _, state = self.recurrent(self.embedded(values, inputs))
        return self.decoded(state, values, known, context)

    def embedded(self, values: Tensor, inputs: Tensor | None = None) -> Tensor:
        """What the recurrence reads: the segments of values (B, L) and inputs (B, L, F) as (B, S, hidden_size)."""
        batch = len(values)
        read = values.unsqueeze(-1) if inputs is None else torch.cat((values.unsqueeze(-1), inputs), -1)
        short = self.steps * self.segment - self.look_back
        if short:
            # Zeros in front: what is newest stays at the end of the last segment.
            read = torch.cat((read.new_zeros(batch, short, read.shape[2]), read), 1)
        return torch.relu(self.embed(read.reshape(batch, self.steps, -1)))

    def decoded(self, state: Any, values: Tensor, known: Tensor | None = None, context: Tensor | None = None) -> Tensor:
        """From the state after the last segment, and the values (B, L) for the skip, to (B, H, Q)."""
        batch = len(values)
        # All segments of the horizon are rows of one step: (B * M, hidden_size).
        state = map_state(lambda part: part.repeat_interleave(self.ahead, 0), state)
        y, _ = self.recurrent(self._queries(batch, values, known, context).unsqueeze(1), state)
        y = nn.functional.dropout(y[:, 0], self.dropout, self.training)
        said = self.output(y).view(batch, self.ahead * self.segment, self.outputs)[:, : self.horizon]
        return said if self.skip is None else said + self.skip(values).unsqueeze(-1)

    def _queries(self, batch: int, like: Tensor, known: Tensor | None, context: Tensor | None) -> Tensor:
        """What tells the segments of the horizon apart: (B * M, hidden_size)."""
        half = self.position.shape[1]
        position = self.position.repeat(batch, 1)
        if self.of_context is None or context is None:
            other = like.new_zeros(batch, half)
        else:
            other = self.of_context(context)
        query = torch.cat((position, other.repeat_interleave(self.ahead, 0)), 1)
        if self.of_known is None or known is None:
            return query
        short = self.ahead * self.segment - self.horizon
        if short:
            known = torch.cat((known, known.new_zeros(batch, short, self.known)), 1)
        return query + self.of_known(known.reshape(batch * self.ahead, -1))

    def _check(self, values: Tensor, inputs: Tensor | None, known: Tensor | None, context: Tensor | None) -> None:
        batch = len(values)
        wanted = {
            "values": (values, (batch, self.look_back)),
            "inputs": (inputs, (batch, self.look_back, self.inputs) if self.inputs else None),
            "known": (known, (batch, self.horizon, self.known) if self.known else None),
            "context": (context, (batch, self.context) if self.context else None),
        }
        for name, (part, shape) in wanted.items():
            got = None if part is None else tuple(part.shape)
            if got != shape:
                raise ShapeError(message("SegmentForecaster.forward", f"{name} must be {shape}, got {got}"))
