"""A reservoir as a torch module: frozen, so that what stands on it trains at the cost of what stands on it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from recurra.base.errors import ConfigError, message
from recurra.reservoir.reservoir import Reservoir, ReservoirState
from recurra.reservoir.storage import arrays_of, reservoir_from

__all__ = ["ReservoirLayer"]


class ReservoirLayer(nn.Module):
    """The states of a `Reservoir` as features for torch layers: `y, state = layer(x, state)`.

    It has no parameters and passes no gradient to x: states are computed on the CPU, with sparse weights, and handed
    to x's device in x's dtype. `state_dict` holds the weights. Where a gradient must pass through the reservoir, the
    same equations are a `Cell` of three lines (docs/how-to/echo-state-network.md).

    >>> layer = ReservoirLayer(Reservoir(50, 3, seed=0))
    >>> y, state = layer(torch.ones(2, 10, 3))
    >>> y.shape, y.dtype
    (torch.Size([2, 10, 50]), torch.float32)
    """

    def __init__(self, reservoir: Reservoir) -> None:
        super().__init__()
        if reservoir.feedback_size:
            raise ConfigError(
                message("ReservoirLayer", "a layer sees no outputs, so the reservoir must have no feedback")
            )
        self.reservoir = reservoir

    def forward(
        self, x: Tensor, state: ReservoirState | None = None, *, lengths: Tensor | None = None
    ) -> tuple[Tensor, ReservoirState]:
        """States (B, T, N) for x (B, T, I), 0 beyond each row's length; the state keeps the reservoir's own dtype."""
        states, after = self.reservoir(x, state, lengths=lengths)
        return states.to(x.dtype), after

    def get_extra_state(self) -> dict[str, Any]:
        """The weights as tensors."""
        arrays = {name: torch.from_numpy(np.array(value)) for name, value in arrays_of(self.reservoir).items()}
        return {**arrays, "activation": self.reservoir.activation}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Take over weights that `get_extra_state` gave."""
        arrays = {name: value.numpy() for name, value in state.items() if isinstance(value, Tensor)}
        self.reservoir = reservoir_from(arrays, state["activation"])

    def extra_repr(self) -> str:
        """For print(model)."""
        return repr(self.reservoir)
