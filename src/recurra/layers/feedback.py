"""Nets whose only recurrence runs from the output back in: with a teacher they have no time loop.

Where all that a step remembers is earlier outputs (Jordan nets, NARX nets), the true outputs can stand in their place:
then no step waits for another, and all of them are one batch of single steps. Williams and Zipser, A learning algorithm
for continually running fully recurrent neural networks, 1989, doi:10.1162/neco.1989.1.2.270.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch import Generator, Tensor, nn

from recurra.base.errors import ConfigError, ShapeError, message
from recurra.equations.cell import Cell
from recurra.equations.spec import CellSpec
from recurra.kernels import dispatch
from recurra.kernels.request import Request
from recurra.layers.delay import last_frames, prepend
from recurra.layers.facts import Facts, facts_of
from recurra.layers.recurrent import Recurrent
from recurra.layers.sequence import blank_padding, check_lengths, check_sequence
from recurra.layers.unit import Unit

__all__ = ["OutputFeedback", "output_lags", "teacher_forced"]


@cache
def output_lags(spec: CellSpec) -> dict[str, int] | None:
    """For every state, how many steps ago it was the output; None where a step remembers anything else.

    >>> from recurra.cells import CELLS
    >>> output_lags(CELLS["jordan"]().spec), output_lags(CELLS["lstm"]().spec)
    ({'y': 1}, None)

    An Elman net qualifies in form: its output is its hidden layer, so its teacher would have to know that layer.
    """
    lags = {spec.output: 1}
    for _ in spec.states:
        for state, node in spec.after.items():
            if node is spec.after[spec.output]:
                lags.setdefault(state, 1)
            elif node.op == "state" and str(node.value) in lags:
                lags.setdefault(state, lags[str(node.value)] + 1)
    return lags if set(lags) == set(spec.states) else None


def teacher_forced(
    layer: Recurrent, x: Tensor, targets: Tensor, state: Any = None, lengths: Tensor | None = None
) -> tuple[Tensor, Any]:
    """Outputs (B, T, O) when every step is told the true earlier outputs, and the state the truth leaves behind.

    All B T steps run at once, as a batch of single steps; the numbers are those of the time loop.

    layer: one `Recurrent` layer of a cell that remembers outputs only. x: (B, T, I). targets: (B, T, O), what the
    outputs should be; the last is only handed on. state: as of the layer.
    """
    where = "teacher_forced"
    lags = _lags(layer, where)
    check_sequence(where, x, layer.input_size, next(layer.parameters()))
    check_sequence(where, targets, layer.output_width, x, "O", "targets")
    if targets.shape[:2] != x.shape[:2]:
        fact = f"targets must be (B, T, O) = {(*x.shape[:2], layer.output_width)}, got {tuple(targets.shape)}"
        raise ShapeError(message(where, fact))
    batch, steps = x.shape[:2]
    lengths = check_lengths(where, lengths, x)
    if state is None:
        state = layer.initial_state(batch)
    else:
        layer.check_state(state, batch, where, tuple(x.shape))
    x, targets = blank_padding(x, lengths), blank_padding(targets, lengths)
    unit = layer.units[0]
    deepest = max(lags.values())
    # The state holds the outputs before the first step, the oldest first.
    known = dict(zip(lags.values(), state[0], strict=True))
    line = torch.stack([known[lag] for lag in range(deepest, 0, -1)], 1)
    frames = prepend(line, targets)
    told = [frames[:, deepest - lag : deepest - lag + steps] for lag in lags.values()]
    flat = unit.state_type(*(part.reshape(batch * steps, layer.output_width) for part in told))
    y = _single_steps(unit, x.reshape(batch * steps, 1, layer.input_size), flat)
    y = blank_padding(y.reshape(batch, steps, layer.output_width), lengths)
    ends = last_frames(frames, deepest, None if lengths is None else lengths + deepest)
    return y, (unit.state_type(*(ends[:, deepest - lag] for lag in lags.values())),)


def _single_steps(unit: Unit, x: Tensor, state: Any) -> Tensor:
    """x (N, 1, I) -> (N, 1, O): large matrix products and nothing else, which torch does best."""
    if unit.backend is not None or unit.zoneout or (unit.training and unit.draws):
        return unit(x, state)[0]
    request = Request(unit.spec, unit.named(), x, tuple(state), tuple(state))
    return dispatch.run(request, "reference")[0]


def _lags(layer: Recurrent, where: str) -> dict[str, int]:
    if layer.num_layers != 1 or layer.bidirectional or layer.reverse or layer.residual:
        raise ConfigError(message(where, "one layer in one direction, without residual, is needed"))
    spec = layer.units[0].spec
    lags = output_lags(spec)
    if lags is None or sorted(set(lags.values())) != list(range(1, max(lags.values()) + 1)):
        fact = f"{spec.name} remembers more than its outputs ({', '.join(spec.states)})"
        raise ConfigError(message(where, fact, hint="jordan and NARX cells remember outputs only."))
    return lags


class OutputFeedback(nn.Module):
    """A Jordan net, or another that remembers outputs only, trained with a teacher and used without.

    >>> import torch
    >>> net = OutputFeedback("jordan", input_size=3, hidden_size=8, output_size=2)
    >>> x, targets = torch.zeros(4, 10, 3), torch.ones(4, 10, 2)
    >>> net(x, targets=targets)[0].shape, net(x)[0].shape       # no loop over time; free running
    (torch.Size([4, 10, 2]), torch.Size([4, 10, 2]))

    Args:
        cell: jordan, an `NARXCell`, or any cell whose states are earlier outputs.
        input_size: I, features per step.
        hidden_size: H, units of the hidden layer.
        output_size: O, width of the output.
        options: the rest goes to `Recurrent`.

    """

    def __init__(
        self, cell: str | type[Cell] | Cell, input_size: int, hidden_size: int, output_size: int, **options: Any
    ) -> None:
        super().__init__()
        self.recurrent = Recurrent(cell, input_size, hidden_size, output_size=output_size, **options)
        _lags(self.recurrent, "OutputFeedback")
        self.input_size, self.output_width = input_size, output_size

    def forward(
        self,
        x: Tensor,
        state: Any = None,
        lengths: Tensor | Sequence[int] | None = None,
        *,
        targets: Tensor | None = None,
        teacher: float = 1.0,
        generator: Generator | None = None,
    ) -> tuple[Tensor, Any]:
        """x (B, T, I) -> outputs (B, T, O) and the state.

        targets: (B, T, O) the true outputs, as a teacher; without them the net runs on its own.
        teacher: share of the steps and rows that are told the truth: 1 all, at once; 0 none; between, drawn from
            `generator` (scheduled sampling, Bengio et al. 2015, arXiv:1506.03099), the gradient going through the net's
            own outputs.
        """
        where = "OutputFeedback.forward"
        if not 0 <= teacher <= 1:
            raise ConfigError(message(where, f"teacher must lie in [0, 1], got {teacher}"))
        if targets is None or teacher == 0:
            return self.recurrent(x, state, lengths)
        checked = check_lengths(where, lengths, x)
        if teacher == 1:
            return teacher_forced(self.recurrent, x, targets, state, checked)
        if checked is not None:
            raise ConfigError(message(where, "a mix of truth and own outputs takes no lengths", hint="mask the loss."))
        return self._mixed(x, targets, state, teacher, generator)

    def _mixed(
        self, x: Tensor, targets: Tensor, state: Any, teacher: float, generator: Generator | None
    ) -> tuple[Tensor, Any]:
        truth = torch.rand(x.shape[:2], generator=generator).to(x.device) < teacher
        unit = self.recurrent.units[0]
        y, outputs = None, []
        state = self.recurrent.initial_state(x.shape[0]) if state is None else state
        for t in range(x.shape[1]):
            y, after = self.recurrent(x[:, t : t + 1], state)
            outputs.append(y)
            told = torch.where(truth[:, t, None], targets[:, t], y[:, 0])
            # Whatever equals the new output is what the next step is told; the rest moved down the line.
            lag_one = {name for name, lag in _lags(self.recurrent, "OutputFeedback").items() if lag == 1}
            parts = after[0]._asdict() | dict.fromkeys(lag_one, told)
            state = (unit.state_type(**parts),)
        return torch.cat(outputs, 1) if outputs else x.new_zeros(*x.shape[:2], self.output_width), state

    def step(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """One time step on its own: x (B, I) -> (B, O), next state."""
        return self.recurrent.step(x, state)

    def initial_state(self, batch_size: int) -> Any:
        """What state=None means."""
        return self.recurrent.initial_state(batch_size)

    def facts(self) -> Facts | None:
        """Those of the layer."""
        return facts_of(self.recurrent)
