"""Normalised recurrent layers: layer norm on every product of any cell, batch norm of the input products."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Generator, Tensor, nn

from recurra.base.errors import ConfigError, ShapeError, message
from recurra.equations.cell import Cell
from recurra.equations.normalise import gains, input_products, with_input_shift, with_normalised_products
from recurra.kernels import dispatch
from recurra.kernels.request import Request
from recurra.layers.recurrent import Recurrent
from recurra.layers.sequence import valid_mask
from recurra.layers.unit import resolve

__all__ = ["BatchNormed", "InputBatchNorm", "Normalised"]


class Normalised(Cell):
    """Any cell with layer normalisation on every product: a layer-normalised GRU is `Normalised("gru")`.

    >>> from recurra.layers import Recurrent
    >>> Recurrent(Normalised("gru"), 8, 16).parameter_count()
    1312

    The gains are the parameters `gain_W.r` and so on, 1 at the start. Ba, Kiros and Hinton 2016, arXiv:1607.06450.
    For the LSTM, where the cell state is normalised too, there is the cell `layer_norm_lstm`.
    """

    states = "h"

    def __init__(self, cell: str | type[Cell] | Cell) -> None:
        base = resolve(cell)
        spec = with_normalised_products(base.spec)
        # What a class says of itself is here a matter of the instance.
        vars(self).update(name=f"normalised_{base.name}", spec=spec, states=base.states, axes=base.axes, cite=base.cite)
        vars(self).update(initial={**base.initial, **dict.fromkeys(gains(spec), 1.0)})

    def step(self, *_: Any) -> Any:
        """Never traced: the equations are those of the cell that was given, rewritten."""
        raise NotImplementedError


class BatchNormed(nn.Module):
    """One direction of one cell, in `layer`, whose weights this normalises."""

    def __init__(self, layer: Recurrent, momentum: float, eps: float) -> None:
        super().__init__()
        name = type(self).__name__
        if not 0 < momentum <= 1:
            raise ConfigError(message(name, f"momentum must lie in (0, 1], got {momentum!r}"))
        if not eps > 0:
            raise ConfigError(message(name, f"eps must be above 0, got {eps!r}"))
        self.layer, self.momentum, self.eps = layer, momentum, eps
        self.cell, self.input_size, self.hidden_size = layer.cell, layer.input_size, layer.hidden_size
        self.output_width = layer.output_width

    def statistics(self, a: Tensor, valid: Tensor | None, axes: tuple[int, ...]) -> tuple[Tensor, Tensor, float]:
        """Mean and biased variance of `a` over `axes`, where `valid` says what counts, and how many were counted."""
        if valid is None:
            count = 1.0
            for axis in axes:
                count *= a.shape[axis]
            mean = a.mean(axes)
            return mean, (a - mean).square().mean(axes), count
        count = float(valid.sum())
        weight = valid.to(a.dtype) / max(count, 1.0)
        mean = (a * weight).sum(axes)
        return mean, ((a - mean).square() * weight).sum(axes), count

    def move(self, running: Tensor, new: Tensor) -> None:
        """`running` a step towards `new`, in place."""
        with torch.no_grad():
            running.lerp_(new.detach().to(running.dtype), self.momentum)

    def zero_state(self, batch: int) -> Any:
        """A state of zeros."""
        return self.initial_state(batch)

    def initial_state(self, batch: int) -> Any:
        """What state=None means: zeros."""
        return self.layer.units[0].zero_state(batch)


class InputBatchNorm(BatchNormed):
    """A recurrent layer with batch normalisation of its input products, W x, over all steps and rows of a batch.

    >>> import torch
    >>> layer = InputBatchNorm("li_gru", input_size=8, hidden_size=16)
    >>> y, state = layer(torch.randn(4, 10, 8))
    >>> y.shape
    torch.Size([4, 10, 16])

    Laurent et al. 2016, arXiv:1510.01378 (sequence-wise). The normalisation is folded into the weights of the call, so
    the recurrence runs on the fast backends in training and in evaluation; the bias of a gate is its shift. Training
    takes the statistics of the valid steps of the batch, evaluation the running ones.

    Args:
        cell: a registered name, a Cell class or a Cell; one direction, one layer.
        input_size: I, features per step.
        hidden_size: H, units of the cell.
        gain: what the gains start from.
        momentum: how far a running statistic moves to that of a batch, as in torch.nn.BatchNorm1d.
        eps: added to the variance.
        initializers: initialiser name or number per parameter or family.
        generator: random stream of the initial weights.
        backend: insist on one backend.

    """

    def __init__(
        self,
        cell: str | type[Cell] | Cell,
        input_size: int,
        hidden_size: int,
        *,
        gain: float = 1.0,
        momentum: float = 0.1,
        eps: float = 1e-5,
        initializers: Mapping[str, str | float] | None = None,
        generator: Generator | None = None,
        backend: str | None = None,
    ) -> None:
        layer = Recurrent(cell, input_size, hidden_size, initializers=initializers, generator=generator)
        super().__init__(layer, momentum, eps)
        self.backend = backend
        self._spec = with_input_shift(layer.cell.spec)
        self._matrices = tuple(str(node.args[0].value) for node in input_products(layer.cell.spec))
        if not self._matrices:
            raise ConfigError(message("InputBatchNorm", f"{layer.cell.name} has no product of its input"))
        named = layer.units[0].named()
        heights = [named[name].shape[0] for name in self._matrices]
        self.gain = nn.ParameterList(torch.full((height,), float(gain)) for height in heights)
        for index, height in enumerate(heights):
            self.register_buffer(f"running_mean_{index}", torch.zeros(height))
            self.register_buffer(f"running_var_{index}", torch.ones(height))

    def forward(
        self,
        x: Tensor,
        state: Any = None,
        lengths: Tensor | Sequence[int] | None = None,
        resets: Tensor | None = None,
    ) -> tuple[Tensor, Any]:
        """x (B, T, I) -> outputs (B, T, output_width) and the final state; as in `Recurrent`.

        Raises ShapeError in training where fewer than two steps are valid: they have no variance.
        """
        lengths = self.layer._check_call(x, None if state is None else (state,), lengths, resets)
        valid = None
        if lengths is not None:
            valid = valid_mask(lengths, x.shape[1])
            x = torch.where(valid.unsqueeze(-1), x, x.new_zeros(()))
            resets = None if resets is None else resets & valid
        unit = self.layer.units[0]
        initial = tuple(unit.zero_state(x.shape[0]))
        state = initial if state is None else tuple(state)
        params = self._folded(x, valid)
        y, final = dispatch.run(Request(self._spec, params, x, state, initial, lengths, resets), self.backend)
        return y, unit.state_type(*final)

    def _folded(self, x: Tensor, valid: Tensor | None) -> dict[str, Tensor]:
        """The parameters with gain ⊙ (W x - mean) / deviation written as another W and a shift."""
        params = dict(self.layer.units[0].named())
        for index, name in enumerate(self._matrices):
            mean, var = (self.get_buffer(f"running_{kind}_{index}") for kind in ("mean", "var"))
            if self.training:
                mean, var = self._measured(index, nn.functional.linear(x, params[name]), valid)
            scale = self.gain[index] / (var + self.eps).sqrt()
            params[name] = scale[:, None] * params[name]
            params[f"shift_{name}"] = -scale * mean
        return params

    def _measured(self, index: int, a: Tensor, valid: Tensor | None) -> tuple[Tensor, Tensor]:
        """Mean and variance of the products a (B, T, H) of one matrix; moves the running ones."""
        mean, var, count = self.statistics(a, None if valid is None else valid.unsqueeze(-1), (0, 1))
        if count < 2:
            fact = f"training needs at least two valid steps in a batch, got {int(count)}"
            raise ShapeError(message("InputBatchNorm.forward", fact))
        self.move(self.get_buffer(f"running_mean_{index}"), mean)
        self.move(self.get_buffer(f"running_var_{index}"), var * count / (count - 1))
        return mean, var

    def step(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """One step in evaluation: x (B, I) -> output (B, output_width) and the next state."""
        if self.training:
            hint = "call layer.eval() first, or run the sequence through the layer."
            raise ConfigError(message("InputBatchNorm.step", "training needs the statistics of a batch", hint=hint))
        y, state = self.forward(x.unsqueeze(1), state)
        return y.squeeze(1), state
