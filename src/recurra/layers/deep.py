"""Deep recurrent nets: layers before the recurrence, within its step, after it, and stacked.

Pascanu, Gulcehre, Cho and Bengio, How to construct deep recurrent neural networks, 2014, arXiv:1312.6026.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Generator, Tensor, nn

from recurra.equations.cell import Cell
from recurra.layers.facts import Facts, facts_of
from recurra.layers.feedforward import Activation, FeedForward
from recurra.layers.recurrent import Recurrent
from recurra.layers.sequence import blank_padding, check_lengths, check_sequence
from recurra.layers.transition import Inputs, deep_transition

__all__ = ["DeepRecurrent"]


class DeepRecurrent(nn.Module):
    """A recurrent net that is deep in any of Pascanu's four places.

    >>> import torch
    >>> net = DeepRecurrent("elman", 3, 8, transition_depth=2, shortcut=True, output_layers=(6,))     # DOT(S)-RNN
    >>> net.facts().feedforward, net.facts().recurrent
    (3, 2.0)
    >>> net(torch.zeros(4, 10, 3))[0].shape
    torch.Size([4, 10, 6])

    Args:
        cell: any cell; one with a deep transition needs a step that is not affine in its state.
        input_size: I, features per step.
        hidden_size: H, units of the cell.
        num_layers: the stack of recurrent layers (sRNN).
        input_layers: widths of the layers between x and the recurrence (deep input-to-hidden).
        transition_depth: nonlinear layers within a step (DT-RNN).
        shortcut: shortcuts over the transition's layers (DT(S)-RNN) and, where there are several, the output's.
        transition_inputs: which layers of the transition read x: the "first" or "all".
        output_layers: widths of the layers between the recurrence and the output (DO-RNN, with the above DOT-RNN).
        activation: of the input and output layers.
        generator: random stream of the initial weights.
        options: the rest goes to `Recurrent`: residual, skip, dropout, bidirectional, backend, ...

    """

    def __init__(
        self,
        cell: str | type[Cell] | Cell,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        input_layers: Sequence[int] = (),
        transition_depth: int = 1,
        shortcut: bool = False,
        transition_inputs: Inputs = "first",
        output_layers: Sequence[int] = (),
        activation: Activation = "tanh",
        generator: Generator | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        self.input_size = input_size
        self.below = FeedForward(input_size, input_layers, activation=activation, generator=generator)
        if transition_depth != 1:
            cell = deep_transition(cell, transition_depth, shortcut=shortcut, inputs=transition_inputs)
        self.recurrent = Recurrent(
            cell, self.below.output_width, hidden_size, num_layers, generator=generator, **options
        )
        self.above = FeedForward(
            self.recurrent.output_width, output_layers, activation=activation, shortcut=shortcut, generator=generator
        )
        self.output_width = self.above.output_width

    def forward(
        self,
        x: Tensor,
        state: Any = None,
        lengths: Tensor | Sequence[int] | None = None,
        resets: Tensor | None = None,
    ) -> tuple[Tensor, Any]:
        """x (B, T, I) -> outputs (B, T, output_width), 0 on the padding, and the state of the recurrent layers."""
        where = "DeepRecurrent.forward"
        check_sequence(where, x, self.input_size, next(self.parameters()))
        lengths = check_lengths(where, lengths, x)
        y, state = self.recurrent(self.below(blank_padding(x, lengths)), state, lengths, resets)
        return blank_padding(self.above(y), lengths), state

    def step(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """One time step: x (B, I) -> (B, output_width), next state."""
        y, state = self.recurrent.step(self.below(x), state)
        return self.above(y), state

    def initial_state(self, batch_size: int) -> Any:
        """What state=None means."""
        return self.recurrent.initial_state(batch_size)

    def facts(self) -> Facts | None:
        """Depths and reach of the whole."""
        inner = facts_of(self.recurrent)
        return None if inner is None else self.below.facts().then(inner).then(self.above.facts())
