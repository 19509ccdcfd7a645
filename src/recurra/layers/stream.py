"""A live session over a causal layer: the state is kept here, and nowhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from recurra.base.errors import ConfigError, ShapeError, message
from recurra.base.state import restart

if TYPE_CHECKING:
    from recurra.layers.recurrent import Recurrent

__all__ = ["Stream"]


class Stream:
    """Feeds a layer piece by piece; the outputs are those of the whole sequence at once.

    >>> import torch
    >>> from recurra.layers import Recurrent
    >>> live = Recurrent("gru", 3, 5).stream()
    >>> live.push(torch.zeros(7, 3)).shape, live.push(torch.zeros(3)).shape
    (torch.Size([7, 5]), torch.Size([5]))

    The layer must be in eval mode where it has dropout; weights that change while the stream runs are used at once.
    """

    def __init__(self, layer: Recurrent, batch_size: int = 1) -> None:
        if layer.bidirectional or layer.reverse:
            raise ConfigError(message("Recurrent.stream", "a layer that reads backwards cannot run on a stream"))
        self.layer = layer
        self.batch_size = batch_size
        with torch.no_grad():
            self.state: Any = layer.initial_state(batch_size)

    @torch.no_grad()
    def push(self, chunk: Tensor) -> Tensor:
        """Outputs for the next steps.

        With batch_size 1: (I,) -> (F,) one step, (T, I) -> (T, F), (1, T, I) -> (1, T, F). Else (B, I) -> (B, F), one
        step of every session, and (B, T, I) -> (B, T, F).
        """
        single = self.batch_size == 1
        if single and chunk.dim() == 1:
            return self._step(chunk.unsqueeze(0)).squeeze(0)
        if single and chunk.dim() == 2:
            return self._steps(chunk.unsqueeze(0)).squeeze(0)
        if chunk.dim() == 2:
            return self._step(chunk)
        if chunk.dim() != 3 or chunk.shape[0] != self.batch_size:
            form = "(I,), (T, I) or (1, T, I)" if single else "(B, I) or (B, T, I)"
            raise ShapeError(
                message("Stream.push", f"a chunk must be {form} with B = {self.batch_size}, got {tuple(chunk.shape)}")
            )
        return self._steps(chunk)

    def reset(self, rows: Tensor | None = None) -> None:
        """Back to the initial state: all sessions, or those where `rows` (B,) bool is true."""
        with torch.no_grad():
            fresh = self.layer.initial_state(self.batch_size)
            self.state = fresh if rows is None else restart(self.state, fresh, rows)

    def _step(self, x: Tensor) -> Tensor:
        y, self.state = self.layer.step(x, self.state)
        return y

    def _steps(self, x: Tensor) -> Tensor:
        if x.shape[1] == 1:
            return self._step(x[:, 0]).unsqueeze(1)
        y, self.state = self.layer(x, self.state)
        return y
