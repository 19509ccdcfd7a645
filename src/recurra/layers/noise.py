"""Noise in training: dropout with one mask for all steps, Gaussian noise on inputs, activations and weights."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from recurra.base.errors import ConfigError, ShapeError, message
from recurra.layers.recurrent import Recurrent
from recurra.layers.sequence import valid_mask
from recurra.layers.stream import Stream

__all__ = ["Noisy", "VariationalDropout"]


class VariationalDropout(nn.Module):
    """Dropout of features, one mask per row for all its time steps; nothing in evaluation.

    >>> import torch
    >>> drop = VariationalDropout(0.5, generator=torch.Generator().manual_seed(0))
    >>> y = drop(torch.ones(4, 10, 8))
    >>> bool((y == y[:, :1]).all()), sorted(y.unique().tolist())
    (True, [0.0, 2.0])

    What is kept is scaled by 1 / (1 - rate). Gal and Ghahramani 2016, arXiv:1512.05287.

    Args:
        rate: share of the features set to 0, in [0, 1).
        generator: random stream of the masks, on the CPU; None is torch's own.

    """

    def __init__(self, rate: float, *, generator: Generator | None = None) -> None:
        super().__init__()
        if not 0 <= rate < 1:
            raise ConfigError(message("VariationalDropout", f"rate must lie in [0, 1), got {rate!r}"))
        self.rate, self.generator = rate, generator

    def forward(self, x: Tensor) -> Tensor:
        """x (B, T, F) -> the same with whole features set to 0, row by row."""
        if x.dim() != 3:
            raise ShapeError(message("VariationalDropout.forward", f"x must be (B, T, F), got {tuple(x.shape)}"))
        if not (self.training and self.rate):
            return x
        return x * _mask(x, self.rate, self.generator)

    def extra_repr(self) -> str:
        """What print says of it."""
        return f"{self.rate}"


class Noisy(nn.Module):
    """A recurrent layer that is trained under noise, all of it from one random stream; in evaluation, the layer itself.

    >>> import torch
    >>> from recurra.base.rng import stream
    >>> inner = Recurrent("lstm", 8, 16, num_layers=2, recurrent_dropout=0.2)
    >>> layer = Noisy(inner, input_dropout=0.2, between_dropout=0.2, output_dropout=0.2, generator=stream(0, "noise"))
    >>> y, state = layer(torch.randn(4, 10, 8))
    >>> y.shape
    torch.Size([4, 10, 16])

    This is the variational LSTM of Gal and Ghahramani 2016, arXiv:1512.05287: the same mask at all time steps, on what
    each layer reads, on the state (the layer's own `recurrent_dropout`) and on the output. Weight noise as in Graves
    2013, arXiv:1308.0850: one draw per call, kept for the whole sequence. Input noise as in Greff et al. 2017,
    arXiv:1503.04069. What the layer itself draws (recurrent dropout, weight drop, zoneout, dropout between layers)
    comes from the stream too. Padding gets no noise and changes no number. A call is a sequence: train on chunks, and
    each chunk has masks of its own.

    Args:
        layer: what is trained; its parameters are those of this module, under `layer.`
        input_dropout: share of the features of x set to 0, one mask for all steps.
        between_dropout: the same for what the second and later layers read.
        output_dropout: the same for the output.
        input_noise: standard deviation of the noise added to x, anew at each step.
        activation_noise: standard deviation of the noise added to the output of each layer, anew at each step.
        weight_noise: standard deviation of the noise added to all parameters of the cells.
        generator: random stream, on the CPU (`recurra.base.rng.stream(seed, "noise")`); None is torch's own.

    """

    def __init__(
        self,
        layer: Recurrent,
        *,
        input_dropout: float = 0.0,
        between_dropout: float = 0.0,
        output_dropout: float = 0.0,
        input_noise: float = 0.0,
        activation_noise: float = 0.0,
        weight_noise: float = 0.0,
        generator: Generator | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(layer, Recurrent):
            raise ConfigError(message("Noisy", f"layer must be a Recurrent, got {type(layer).__name__}"))
        rates = {"input_dropout": input_dropout, "between_dropout": between_dropout, "output_dropout": output_dropout}
        sizes = {"input_noise": input_noise, "activation_noise": activation_noise, "weight_noise": weight_noise}
        faults = [f"{name} must lie in [0, 1), got {rate!r}" for name, rate in rates.items() if not 0 <= rate < 1]
        faults += [
            f"{name} must be a number from 0, got {size!r}"
            for name, size in sizes.items()
            if not (math.isfinite(size) and size >= 0)
        ]
        if faults:
            raise ConfigError(message("Noisy", "the arguments do not fit", *faults))
        self.layer = layer
        self.input_dropout, self.between_dropout, self.output_dropout = input_dropout, between_dropout, output_dropout
        self.input_noise, self.activation_noise, self.weight_noise = input_noise, activation_noise, weight_noise
        self.generator = generator
        self.input_size, self.hidden_size, self.output_width = layer.input_size, layer.hidden_size, layer.output_width

    def forward(
        self,
        x: Tensor | PackedSequence,
        state: Any = None,
        lengths: Tensor | Sequence[int] | None = None,
        resets: Tensor | None = None,
    ) -> tuple[Any, Any]:
        """As the layer's own forward: outputs (B, T, output_width) and the final state."""
        if not self.training:
            return self.layer(x, state, lengths, resets)
        if isinstance(x, PackedSequence):
            if lengths is not None:
                raise ShapeError(message("Noisy.forward", "a PackedSequence brings its own lengths"))
            padded, sizes = pad_packed_sequence(x, batch_first=True)
            y, state = self.forward(padded, state, sizes.to(padded.device), resets)
            if x.sorted_indices is not None:
                y, sizes = y[x.sorted_indices], sizes[x.sorted_indices.cpu()]
            data = pack_padded_sequence(y, sizes, batch_first=True).data
            return PackedSequence(data, x.batch_sizes, x.sorted_indices, x.unsorted_indices), state
        with self._drawing(x), self._hooked():
            if self.weight_noise:
                y, state = torch.func.functional_call(self.layer, self._noisy_weights(), (x, state, lengths, resets))
            else:
                y, state = self.layer(x, state, lengths, resets)
            if self.output_dropout:
                y = y * _mask(y, self.output_dropout, self.generator)
        return y, state

    def _noisy_weights(self) -> dict[str, Tensor]:
        """The parameters of the cells with noise; a learned initial state is none of them."""
        weights = {
            f"units.{index}.{name}": value
            for index, unit in enumerate(self.layer.units)
            for name, value in unit.named().items()
        }
        return {name: value + self.weight_noise * _normal(value, self.generator) for name, value in weights.items()}

    @contextmanager
    def _drawing(self, x: Tensor) -> Iterator[None]:
        """What the layer draws comes from our stream; torch's own stays where it was."""
        if self.generator is None:
            yield
            return
        devices = [x.device] if x.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            torch.manual_seed(int(torch.randint(2**62, (), generator=self.generator)))
            yield

    @contextmanager
    def _hooked(self) -> Iterator[None]:
        """While the block runs, the units read and write under noise."""
        masks: dict[int, Tensor] = {}
        handles = []
        for index, unit in enumerate(self.layer.units):
            depth = index // self.layer.directions
            rate = self.between_dropout if depth else self.input_dropout
            if rate or (self.input_noise and not depth):
                handles.append(unit.register_forward_pre_hook(partial(self._read, depth, rate, masks)))
            if self.activation_noise:
                handles.append(unit.register_forward_hook(self._write))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _read(
        self, depth: int, rate: float, masks: dict[int, Tensor], _: nn.Module, given: tuple[Any, ...]
    ) -> tuple[Any, ...]:
        """Both directions of a layer read under one mask."""
        x, *rest = given
        if self.input_noise and not depth:
            x = x + self.input_noise * _normal(x, self.generator)
        if rate:
            if depth not in masks:
                masks[depth] = _mask(x, rate, self.generator)
            x = x * masks[depth]
        if rest[1] is not None:
            x = torch.where(valid_mask(rest[1], x.shape[1]).unsqueeze(-1), x, x.new_zeros(()))
        return (x, *rest)

    def _write(self, _: nn.Module, given: tuple[Any, ...], found: tuple[Tensor, Any]) -> tuple[Tensor, Any]:
        y, state = found
        noise = self.activation_noise * _normal(y, self.generator)
        if given[2] is not None:
            noise = noise * valid_mask(given[2], y.shape[1]).unsqueeze(-1)
        return y + noise, state

    def step(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """One time step in evaluation, as the layer's own."""
        if self.training:
            hint = "call layer.eval() first, or run the sequence through the layer."
            raise ConfigError(message("Noisy.step", "noise is drawn for a whole sequence", hint=hint))
        return self.layer.step(x, state)

    def stream(self, batch_size: int = 1) -> Stream:
        """A live session of the layer; without noise."""
        return self.layer.stream(batch_size)

    def initial_state(self, batch_size: int) -> Any:
        """What state=None means."""
        return self.layer.initial_state(batch_size)

    def zero_state(self, batch_size: int) -> Any:
        """A state of zeros."""
        return self.layer.zero_state(batch_size)

    def extra_repr(self) -> str:
        """What print says of it: the noise that is there."""
        names = (
            "input_dropout",
            "between_dropout",
            "output_dropout",
            "input_noise",
            "activation_noise",
            "weight_noise",
        )
        return ", ".join(f"{name}={getattr(self, name)}" for name in names if getattr(self, name))


def _mask(x: Tensor, rate: float, generator: Generator | None) -> Tensor:
    """(B, 1, F): 0 with probability `rate`, else 1 / (1 - rate)."""
    kept = torch.rand(x.shape[0], 1, x.shape[2], generator=generator) >= rate
    return kept.to(x.device, x.dtype) / (1 - rate)


def _normal(like: Tensor, generator: Generator | None) -> Tensor:
    return torch.randn(like.shape, generator=generator).to(like.device, like.dtype)
