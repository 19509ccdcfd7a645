"""Batch normalisation in the recurrence, with statistics per time step."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Mapping, Sequence
from functools import cache, partial
from typing import Any

import torch
from torch import Generator, Tensor
from torch.nn import functional

from recurra.base.errors import ConfigError, ShapeError, message
from recurra.equations.cell import Cell
from recurra.equations.expr import Expr
from recurra.equations.normalise import gains, norms, with_statistics
from recurra.kernels import dispatch
from recurra.kernels.request import Request
from recurra.layers.norm_loop import apply, norm_loop
from recurra.layers.normalisation import BatchNormed, Normalised
from recurra.layers.recurrent import Recurrent
from recurra.layers.sequence import valid_mask
from recurra.layers.unit import resolve

__all__ = ["RecurrentBatchNorm"]


@cache
def _counted(name: str, states: tuple[str, ...]) -> Any:
    """The states of a cell and the step the sequence is at."""
    return namedtuple(f"{name}_counted_state", (*states, "t"))


class RecurrentBatchNorm(BatchNormed):
    """A recurrent layer with batch normalisation in the recurrence, its statistics kept per time step.

    >>> import torch
    >>> layer = RecurrentBatchNorm("layer_norm_lstm", input_size=8, hidden_size=16, max_steps=50)
    >>> y, state = layer(torch.randn(4, 10, 8))
    >>> y.shape, int(state.t[0])
    (torch.Size([4, 10, 16]), 10)

    Every layer norm in the equations is read as a batch norm; with `layer_norm_lstm` that is the BN-LSTM of Cooijmans
    et al. 2017, arXiv:1603.09025 (input product, recurrent product and cell state). A cell that has none is normalised
    on all its products. Training takes mean and variance of each step over the rows that are valid there (a step with
    fewer than two uses the running ones); evaluation takes the running statistics of the step, those of the last step
    that training has seen for all later ones, runs on any backend, and is exact in chunks.

    Args:
        cell: a registered name, a Cell class or a Cell; one direction, one layer.
        input_size: I, features per step.
        hidden_size: H, units of the cell.
        max_steps: steps with statistics of their own; later ones share those of the last.
        gain: what the gains start from; with 1, gradients vanish through tanh (the paper, sec. 4).
        momentum: how far a running statistic moves to that of a batch, as in torch.nn.BatchNorm1d.
        eps: added to the variance.
        initializers: initialiser name or number per parameter or family.
        generator: random stream of the initial weights.
        backend: insist on one backend, in evaluation.

    """

    def __init__(
        self,
        cell: str | type[Cell] | Cell,
        input_size: int,
        hidden_size: int,
        *,
        max_steps: int = 100,
        gain: float = 0.1,
        momentum: float = 0.1,
        eps: float = 1e-5,
        initializers: Mapping[str, str | float] | None = None,
        generator: Generator | None = None,
        backend: str | None = None,
    ) -> None:
        if not isinstance(max_steps, int) or max_steps < 1:
            raise ConfigError(
                message("RecurrentBatchNorm", f"max_steps must be a whole number from 1, got {max_steps!r}")
            )
        base = resolve(cell)
        base = base if norms(base.spec) else Normalised(base)
        start: dict[str, str | float] = dict.fromkeys(gains(base.spec), gain)
        layer = Recurrent(
            base, input_size, hidden_size, initializers=start | dict(initializers or {}), generator=generator
        )
        super().__init__(layer, momentum, eps)
        self.max_steps, self.backend = max_steps, backend
        spec = base.spec
        self._spec_eval = with_statistics(spec)
        sizes = layer.units[0].sizes
        for index, group in enumerate(norm_loop(spec).groups):
            width = sum(sizes[spec.shapes[node][0]] for node in group)
            self.register_buffer(f"running_mean_{index}", torch.zeros(max_steps, width))
            self.register_buffer(f"running_var_{index}", torch.ones(max_steps, width))
        # How many steps from the start have statistics.
        self.register_buffer("steps_seen", torch.zeros((), dtype=torch.long))

    def initial_state(self, batch: int) -> Any:
        """Zeros, at step 0."""
        unit = self.layer.units[0]
        start = torch.zeros(batch, 1, dtype=torch.long, device=next(self.parameters()).device)
        return _counted(unit.spec.name, unit.spec.states)(*unit.zero_state(batch), start)

    def forward(
        self,
        x: Tensor,
        state: Any = None,
        lengths: Tensor | Sequence[int] | None = None,
        resets: Tensor | None = None,
    ) -> tuple[Tensor, Any]:
        """x (B, T, I) -> outputs (B, T, output_width) and the state after each row's last valid step.

        As in `Recurrent`; `state.t` (B, 1) counts the steps since the sequence began. In training all rows must be at
        the same step, so `resets` are for evaluation. Raises ShapeError where these do not fit.
        """
        batch, steps = x.shape[:2] if x.dim() == 3 else (0, 0)
        state = self.initial_state(batch) if state is None else state
        if getattr(state, "_fields", ())[-1:] != ("t",):
            fact = f"state must be what an earlier call returned, got {type(state).__name__}"
            raise ShapeError(message("RecurrentBatchNorm.forward", fact, hint="or None, for the start."))
        lengths = self.layer._check_call(x, (tuple(state[:-1]),), lengths, resets)
        valid = None
        if lengths is not None:
            valid = valid_mask(lengths, steps)
            x = torch.where(valid.unsqueeze(-1), x, x.new_zeros(()))
            resets = None if resets is None else resets & valid
        moments = _moments(state.t, steps, resets)
        if self.training:
            if resets is not None and bool(resets.any()):
                hint = "begin each sequence in a row of its own, or call layer.eval()."
                raise ShapeError(message("RecurrentBatchNorm.forward", "resets in training", hint=hint))
            y, final = self._train(x, tuple(state[:-1]), valid, state.t)
        else:
            y, final = self._predict(x, tuple(state[:-1]), lengths, resets, moments)
        after = state.t + steps if resets is None and lengths is None else _final_moment(state.t, moments, lengths)
        return y, type(state)(*final, after)

    def _train(
        self, x: Tensor, state: tuple[Tensor, ...], valid: Tensor | None, start: Tensor
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """What does not touch the state for all steps at once, the rest in the loop over time."""
        unit = self.layer.units[0]
        spec, loop = unit.spec, norm_loop(unit.spec)
        batch, steps = x.shape[:2]
        if batch and int(start.min()) != int(start.max()):
            first, last = int(start.min()), int(start.max())
            fact = f"in training all rows must be at one step, they are at {first} to {last}"
            raise ShapeError(message("RecurrentBatchNorm.forward", fact))
        offset = int(start[0]) if batch else 0
        counts = [batch] * steps if valid is None else valid.sum(0).tolist()
        masks = None if valid is None else valid.unsqueeze(-1).unbind(1)
        values: dict[Expr, Tensor] = {spec.symbol("x"): x}
        values |= {spec.symbol(name): value for name, value in unit.named().items()}
        for node in loop.early:
            if node.op == "layer_norm":
                index = loop.groups.index((node,))
                values[node] = self._all_steps(index, values[node.args[0]], valid, counts, offset)
            else:
                values[node] = apply(node, values)
        slices = [values[node].unbind(1) for node in loop.timed]
        constants = loop.constants(values)
        outputs: list[Tensor] = []
        for t in range(steps):
            mask = None if masks is None or counts[t] == batch else masks[t]
            norm = partial(self._one_step, offset + t, mask, counts[t])
            after = loop.body(*(part[t] for part in slices), *state, *constants, norm)
            if mask is not None:
                outputs.append(torch.where(mask, after[0], after[0].new_zeros(())))
                after = tuple(torch.where(mask, new, old) for new, old in zip(after, state, strict=True))
            else:
                outputs.append(after[0])
            state = after
        self.get_buffer("steps_seen").clamp_(min=min(offset + steps, self.max_steps))
        y = torch.stack(outputs, 1) if outputs else x.new_zeros(batch, 0, self.output_width)
        return y, state

    def _all_steps(self, index: int, a: Tensor, valid: Tensor | None, counts: list[int], offset: int) -> Tensor:
        """a (B, T, F), normalised over the rows of each step."""
        batch, steps, size = a.shape
        if steps and min(counts) == batch > 1 and offset + steps <= self.max_steps:
            # Steps side by side are so many more features.
            rows = slice(offset, offset + steps)
            mean = self.get_buffer(f"running_mean_{index}")[rows].view(-1)
            var = self.get_buffer(f"running_var_{index}")[rows].view(-1)
            flat = a.reshape(batch, steps * size)
            return functional.batch_norm(flat, mean, var, None, None, True, self.momentum, self.eps).view_as(a)
        parts = a.unbind(1)
        masks = [None] * len(parts) if valid is None else valid.unsqueeze(-1).unbind(1)
        found = []
        for t, (part, mask, count) in enumerate(zip(parts, masks, counts, strict=True)):
            here = None if count == a.shape[0] else mask
            found.append(self._one_step(offset + t, here, count, index, part))
        return torch.stack(found, 1) if found else a

    def _one_step(self, moment: int, mask: Tensor | None, count: int, index: int, a: Tensor) -> Tensor:
        """a (B, F), mask (B, 1) where not all rows count: normalised over the rows; moves that step's statistics."""
        row = min(moment, self.max_steps - 1)
        running_mean = self.get_buffer(f"running_mean_{index}")[row]
        running_var = self.get_buffer(f"running_var_{index}")[row]
        if count < 2:
            return (a - running_mean) / (running_var + self.eps).sqrt()
        if mask is None:
            return functional.batch_norm(a, running_mean, running_var, None, None, True, self.momentum, self.eps)
        mean, var, _ = self.statistics(a, mask, (0,))
        self.move(running_mean, mean)
        self.move(running_var, var * count / (count - 1))
        return (a - mean) / (var + self.eps).sqrt()

    def _predict(
        self,
        x: Tensor,
        state: tuple[Tensor, ...],
        lengths: Tensor | None,
        resets: Tensor | None,
        moments: Tensor,
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """With the running statistics the equations are a cell like any other."""
        unit = self.layer.units[0]
        # (T, B): which step's statistics each row reads.
        rows = moments.t().clamp(max=max(int(self.get_buffer("steps_seen")) - 1, 0))
        extras: dict[str, Tensor] = {}
        order = norms(unit.spec)
        for index, group in enumerate(norm_loop(unit.spec).groups):
            means = self.get_buffer(f"running_mean_{index}").chunk(len(group), 1)
            scales = (self.get_buffer(f"running_var_{index}") + self.eps).rsqrt().chunk(len(group), 1)
            for node, mean, scale in zip(group, means, scales, strict=True):
                extras[f"mean_{order.index(node)}"] = mean[rows]
                extras[f"scale_{order.index(node)}"] = scale[rows]
        fresh = tuple(unit.zero_state(x.shape[0]))
        request = Request(self._spec_eval, unit.named(), x, state, fresh, lengths, resets, extras)
        return dispatch.run(request, self.backend)

    def step(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """One step in evaluation: x (B, I) -> output (B, output_width) and the next state."""
        if self.training:
            hint = "call layer.eval() first, or run the sequence through the layer."
            raise ConfigError(message("RecurrentBatchNorm.step", "training needs the statistics of a batch", hint=hint))
        y, state = self.forward(x.unsqueeze(1), state)
        return y.squeeze(1), state


def _moments(start: Tensor, steps: int, resets: Tensor | None) -> Tensor:
    """start (B, 1), resets (B, T) -> (B, T): how many steps of its sequence each row has behind it."""
    count = torch.arange(steps, device=start.device).expand(start.shape[0], -1)
    begun = -start.expand(-1, steps)
    if resets is not None and steps:
        begun = torch.where(resets, count, begun).cummax(1).values
    return count - begun


def _final_moment(start: Tensor, moments: Tensor, lengths: Tensor | None) -> Tensor:
    """(B, 1): the step each row is at after its last valid one."""
    if not moments.shape[1]:
        return start
    if lengths is None:
        return moments[:, -1:] + 1
    last = moments.gather(1, (lengths - 1).clamp(min=0)[:, None]) + 1
    return torch.where((lengths > 0)[:, None], last, start)
