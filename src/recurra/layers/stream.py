"""A live session over a causal layer: the state is kept here, and nowhere else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from recurra.base.errors import ConfigError, ShapeError, message
from recurra.base.state import restart
from recurra.kernels.cpu.session import Live, Stepper
from recurra.layers.unit import Unit

__all__ = ["Stream", "Streamable"]

# Longer chunks go through the layer, whose input product takes all steps at once.
_FEW = 16


class Streamable(Protocol):
    """A layer that can run on a stream: `Recurrent`, the neural Turing machine."""

    input_size: int
    bidirectional: bool
    reverse: bool
    skip: bool
    residual: bool
    dropout: float
    training: bool

    @property
    def units(self) -> Sequence[Unit]:
        """The recurrences, in the order in which they run."""
        ...

    def initial_state(self, batch_size: int, /) -> Any:
        """Return the state before the first step."""
        ...

    def check_state(self, state: Any, batch: int, where: str, x_shape: tuple[int, ...], /) -> None:
        """Raise ShapeError unless `state` is a state of this layer for `batch` rows."""
        ...

    def step(self, x: Tensor, state: Any, /) -> tuple[Tensor, Any]:
        """Return the outputs (B, F) of one time step of x (B, I), and the next state."""
        ...

    def __call__(self, x: Tensor, state: Any, /) -> tuple[Any, Any]:
        """Return the outputs (B, T, F) for x (B, T, I), and the state after the last step."""
        ...


class Stream:
    """Feeds a layer piece by piece; the outputs are those of the whole sequence at once.

    >>> import torch
    >>> from recurra.layers import Recurrent
    >>> live = Recurrent("gru", 3, 5).stream()
    >>> live.push(torch.zeros(7, 3)).shape, live.push(torch.zeros(3)).shape
    (torch.Size([7, 5]), torch.Size([5]))

    The layer must be in eval mode where it has dropout; weights that change while the stream runs are used at once.
    `state` is what the layer would return: read it, keep it, put it back.
    """

    def __init__(self, layer: Streamable, batch_size: int = 1) -> None:
        if layer.bidirectional or layer.reverse:
            raise ConfigError(message("Recurrent.stream", "a layer that reads backwards cannot run on a stream"))
        self.layer = layer
        self.batch_size = batch_size
        # A stack in which each layer reads the one below, and nothing else happens in between.
        self._straight = not (layer.skip or layer.residual)
        # torch looks modules up by name at each access; a small step would notice.
        self._units = tuple(layer.units)
        self._lives: list[Live] = []
        self._kernels: Sequence[object] = []
        with torch.no_grad():
            self._state: Any = layer.initial_state(batch_size)

    @property
    def state(self) -> Any:
        """One NamedTuple of (B, size) tensors per layer."""
        if self._lives:
            kept = [[part.clone() for part in live.states] for live in self._lives]
            return tuple(unit.state_type(*part) for unit, part in zip(self._units, kept, strict=True))
        return self._state

    @state.setter
    def state(self, state: Any) -> None:
        self._state = state
        self._lives = []

    def push(self, chunk: Tensor) -> Tensor:
        """Outputs for the next steps.

        With batch_size 1: (I,) -> (F,) one step, (T, I) -> (T, F), (1, T, I) -> (1, T, F). Else (B, I) -> (B, F), one
        step of every session, and (B, T, I) -> (B, T, F).
        """
        shape = chunk.shape
        axes = len(shape)
        steps = 1
        if axes == 3 and shape[0] == self.batch_size:
            steps = shape[1]
        elif self.batch_size == 1 and axes == 2:
            steps = shape[0]
        elif not ((self.batch_size == 1 and axes == 1) or (axes == 2 and shape[0] == self.batch_size)):
            form = "(I,), (T, I) or (1, T, I)" if self.batch_size == 1 else "(B, I) or (B, T, I)"
            raise ShapeError(
                message("Stream.push", f"a chunk must be {form} with B = {self.batch_size}, got {tuple(shape)}")
            )
        if self._straight and 0 < steps <= _FEW and self.batch_size and self._native(chunk):
            return self._direct(chunk, steps)
        with torch.no_grad():
            y = self._through_layer(chunk.reshape(self.batch_size, steps, shape[-1]))
            return y.reshape(*shape[:-1], y.shape[-1])

    def _native(self, chunk: Tensor) -> bool:
        """Whether native code runs every layer on this chunk; sets the sessions up where weights or state are new."""
        layer = self.layer
        if chunk.shape[-1] != layer.input_size or torch.is_autocast_enabled("cpu"):
            return False
        if layer.training and (layer.dropout or any(unit.draws for unit in self._units)):
            return False
        kernels = [unit.kernel() for unit in self._units]
        if self._lives and kernels == self._kernels:
            return chunk.dtype is self._lives[0].stepper.dtype
        if not all(isinstance(kernel, Stepper) and kernel.dtype == chunk.dtype for kernel in kernels):
            return False
        state = self.state
        layer.check_state(state, self.batch_size, "Stream.push", tuple(chunk.shape))
        self._kernels = kernels
        self._lives = [
            Live(kernel, part) for kernel, part in zip(kernels, state, strict=True) if isinstance(kernel, Stepper)
        ]
        return True

    def _direct(self, chunk: Tensor, steps: int) -> Tensor:
        """Straight through the native code, layer after layer."""
        x = chunk.contiguous()
        before = chunk.shape[:-1]
        for live in self._lives:
            y = x.new_empty((*before, live.output_size))
            live.into(x.data_ptr(), y.data_ptr(), steps)
            x = y
        return x

    def _through_layer(self, x: Tensor) -> Tensor:
        if x.shape[1] == 1:
            y, self.state = self.layer.step(x[:, 0], self.state)
            return y.unsqueeze(1)
        y, self.state = self.layer(x, self.state)
        return y

    def reset(self, rows: Tensor | None = None) -> None:
        """Back to the initial state: all sessions, or those where `rows` (B,) bool is true."""
        with torch.no_grad():
            fresh = self.layer.initial_state(self.batch_size)
            self.state = fresh if rows is None else restart(self.state, fresh, rows)
