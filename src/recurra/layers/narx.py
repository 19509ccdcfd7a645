"""NARX: the next output from delayed inputs and delayed outputs, through a feed-forward net.

Lin, Horne, Tino and Giles, Learning long-term dependencies in NARX recurrent neural networks, IEEE Transactions on
Neural Networks 7, 1996, doi:10.1109/72.548162. The closed loop is a cell, so every backend runs it; the open loop has
no time loop at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor, nn

from recurra.base.errors import ConfigError, EquationError, ShapeError, message
from recurra.equations import show
from recurra.equations.axes import Axes, infer
from recurra.equations.cell import Cell
from recurra.equations.expr import Expr, make
from recurra.equations.spec import CellSpec
from recurra.layers.delay import last_frames, prepend, tapped
from recurra.layers.facts import Facts, feedforward_depth, recurrent_depth
from recurra.layers.feedback import teacher_forced
from recurra.layers.feedforward import Activation, check_activation
from recurra.layers.recurrent import Recurrent
from recurra.layers.sequence import blank_padding, check_lengths, check_sequence

__all__ = ["NARX", "NARXCell", "NARXState"]


class NARXCell(Cell):
    """The closed loop as equations: x brings all delayed inputs, the states are the last outputs.

    >>> from recurra.equations.show import equations
    >>> print(equations(NARXCell(output_delays=2).spec))
    h = tanh(W x + U1 y + U2 y2 + b_h)
    y' = V h + b_y
    y2' = y

    output_delays: how many earlier outputs are fed back. hidden_layers: of the net inside, each of width H.
    activation: of the hidden layers; the output is linear.
    """

    states = "y"

    def __init__(self, output_delays: int = 1, hidden_layers: int = 1, activation: Activation = "tanh") -> None:
        if output_delays < 1 or hidden_layers < 1:
            fact = f"output_delays and hidden_layers must be whole numbers from 1, got {output_delays}, {hidden_layers}"
            raise ConfigError(message("NARXCell", fact))
        self.output_delays, self.hidden_layers = output_delays, hidden_layers
        self.activation = check_activation("NARXCell", activation)
        names = ("y", *(f"y{lag}" for lag in range(2, output_delays + 1)))
        initial = {f"U{lag}": "glorot_uniform" for lag in range(1, output_delays + 1)} | {"V": "glorot_uniform"}
        initial |= {f"V{layer}": "glorot_uniform" for layer in range(2, hidden_layers + 1)}
        # What a class says of itself is here a matter of the instance.
        vars(self).update(states=names, axes=dict.fromkeys(names, "O"), initial=initial, cite=())

    def step(self, *_: Any) -> Any:
        """Never traced: the equations are built."""
        raise NotImplementedError

    @cached_property
    def name(self) -> str:
        """As narx3, for three fed back outputs."""
        return f"narx{self.output_delays}"

    @cached_property
    def spec(self) -> CellSpec:
        """One hidden layer after the other, then the linear output; the older outputs move down the line."""
        x = make("input", value="x")
        lags = [make("state", value=name) for name in self.states]

        def param(name: str) -> Expr:
            return make("param", value=name)

        total = param("W") @ x
        for index, lag in enumerate(lags, 1):
            total = total + param(f"U{index}") @ lag
        names: list[tuple[str, Expr]] = []
        hidden = self._bend(total + param("b.h"))
        names.append(("h", hidden))
        for layer in range(2, self.hidden_layers + 1):
            hidden = self._bend(param(f"V{layer}") @ hidden + param(f"b.h{layer}"))
            names.append((f"h{layer}", hidden))
        after = {"y": param("V") @ hidden + param("b.y")}
        after |= dict(zip(self.states[1:], lags, strict=False))

        def fail(node: Expr, fact: str, hint: str) -> EquationError:
            return EquationError(message(self.name, f"`{show.text(node)}` {fact}", hint=hint or None))

        leaves: dict[Expr, Axes] = {x: ("I",)} | dict.fromkeys(lags, ("O",))
        shapes = infer(after.values(), leaves, [(node, "O") for node in after.values()], fail)
        order = ["W", *(f"U{k}" for k in range(1, self.output_delays + 1))]
        order += [f"V{k}" for k in range(2, self.hidden_layers + 1)] + ["V", "b.h"]
        order += [f"b.h{k}" for k in range(2, self.hidden_layers + 1)] + ["b.y"]
        params = {name: shapes[param(name)] for name in order}
        return CellSpec(self.name, tuple(self.states), dict(self.axes), after, tuple(names), params, shapes)

    def _bend(self, node: Expr) -> Expr:
        return node if self.activation == "linear" else make(self.activation, node)


class NARXState(NamedTuple):
    """The delay lines: the last inputs (B, D, I) and the last outputs (B, K, O), the newest last."""

    inputs: Tensor
    outputs: Tensor


class NARX(nn.Module):
    """y_t = f(u_t, u_(t-1), ..., u_(t-D); y_(t-1), ..., y_(t-K)), f a feed-forward net.

    >>> import torch
    >>> net = NARX(input_size=1, output_size=1, hidden_size=8, input_delays=2, output_delays=3)
    >>> u, y = torch.zeros(4, 20, 1), torch.zeros(4, 20, 1)
    >>> told, state = net.open_loop(u, y)               # series-parallel: all steps at once
    >>> ahead, _ = net(u[:, :5], state)                 # parallel: five steps ahead on its own outputs
    >>> told.shape, ahead.shape
    (torch.Size([4, 20, 1]), torch.Size([4, 5, 1]))

    Args:
        input_size: I, external inputs per step.
        output_size: O, outputs per step.
        hidden_size: H, width of the hidden layers of f.
        input_delays: D, how many earlier inputs f sees beside u_t.
        output_delays: K, how many earlier outputs it sees.
        hidden_layers: of f.
        activation: of the hidden layers; the output is linear.
        generator: random stream of the initial weights.
        backend: as in `Recurrent`, for the closed loop.

    """

    def __init__(
        self,
        input_size: int,
        output_size: int,
        hidden_size: int,
        *,
        input_delays: int = 1,
        output_delays: int = 1,
        hidden_layers: int = 1,
        activation: Activation = "tanh",
        generator: Generator | None = None,
        backend: str | None = None,
    ) -> None:
        super().__init__()
        if input_delays < 0 or input_size < 1:
            fact = f"input_delays must be from 0 and input_size from 1, got {input_delays} and {input_size}"
            raise ConfigError(message("NARX", fact))
        self.input_size, self.output_width, self.input_delays = input_size, output_size, input_delays
        cell = NARXCell(output_delays, hidden_layers, activation)
        taps = input_size * (input_delays + 1)
        self.recurrent = Recurrent(
            cell, taps, hidden_size, output_size=output_size, generator=generator, backend=backend
        )
        self.output_delays = output_delays

    def forward(
        self, u: Tensor, state: NARXState | None = None, lengths: Tensor | Sequence[int] | None = None
    ) -> tuple[Tensor, NARXState]:
        """Closed loop: inputs u (B, T, I) -> outputs (B, T, O), each fed back, and the state."""
        state, lengths, taps, inputs = self._begin("NARX.forward", u, state, lengths)
        y, after = self.recurrent(taps, self._inside(state), lengths)
        return y, NARXState(inputs, self._outside(after))

    def open_loop(
        self,
        u: Tensor,
        targets: Tensor,
        state: NARXState | None = None,
        lengths: Tensor | Sequence[int] | None = None,
    ) -> tuple[Tensor, NARXState]:
        """One step ahead of the true outputs `targets` (B, T, O), all steps at once; the state holds the truth."""
        state, lengths, taps, inputs = self._begin("NARX.open_loop", u, state, lengths)
        y, after = teacher_forced(self.recurrent, taps, targets, self._inside(state), lengths)
        return y, NARXState(inputs, self._outside(after))

    def step(self, u: Tensor, state: NARXState | None = None) -> tuple[Tensor, NARXState]:
        """One step of the closed loop: u (B, I) -> (B, O), next state."""
        y, state = self.forward(u.unsqueeze(1), state)
        return y[:, 0], state

    def initial_state(self, batch_size: int) -> NARXState:
        """Delay lines of zeros."""
        like = next(self.parameters())
        inputs = like.new_zeros(batch_size, self.input_delays, self.input_size)
        return NARXState(inputs, like.new_zeros(batch_size, self.output_delays, self.output_width))

    def facts(self) -> Facts:
        """Of the closed loop; the open loop sees `input_delays` and `output_delays` steps and has no recurrence."""
        spec = self.recurrent.units[0].spec
        return Facts(feedforward_depth(spec), recurrent_depth(spec), float("inf"), 0)

    def _begin(
        self, where: str, u: Tensor, state: NARXState | None, lengths: Any
    ) -> tuple[NARXState, Tensor | None, Tensor, Tensor]:
        """The state, the lengths, the inputs side by side (B, T, (D + 1) I), newest first, and their line after."""
        check_sequence(where, u, self.input_size, next(self.parameters()), what="u")
        lengths = check_lengths(where, lengths, u)
        fresh = self.initial_state(u.shape[0])
        state = fresh if state is None else state
        if not isinstance(state, tuple) or [p.shape for p in state] != [p.shape for p in fresh]:
            wanted = " and ".join(str(tuple(part.shape)) for part in fresh)
            raise ShapeError(message(where, f"state must be NARXState(inputs, outputs) of shapes {wanted}"))
        frames = prepend(state[0], blank_padding(u, lengths))
        after = last_frames(frames, self.input_delays, None if lengths is None else lengths + self.input_delays)
        return NARXState(*state), lengths, tapped(frames, range(self.input_delays, -1, -1)), after

    def _inside(self, state: NARXState) -> Any:
        unit = self.recurrent.units[0]
        return (unit.state_type(*(part.contiguous() for part in state.outputs.flip(1).unbind(1))),)

    def _outside(self, state: Any) -> Tensor:
        return torch.stack(tuple(state[0]), 1).flip(1)
