"""Two recurrent nets that read a sequence from its two ends and meet only at the output.

`Recurrent(bidirectional=True)` joins the directions after every layer, so that the second layer of each has seen the
whole sequence. Here each direction is a stack of its own, as in the net of Schuster and Paliwal, Bidirectional
recurrent neural networks, IEEE Transactions on Signal Processing 45, 1997, doi:10.1109/78.650093.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Generator, Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from recurra.base.errors import ConfigError, ShapeError, message, nearest
from recurra.equations.cell import Cell
from recurra.layers.facts import Facts, facts_of
from recurra.layers.feedforward import linear
from recurra.layers.recurrent import MERGES, Merge, Recurrent
from recurra.layers.sequence import blank_padding, check_lengths

__all__ = ["Bidirectional"]


class Bidirectional(nn.Module):
    """A forward stack and a backward stack over the same x, joined once, at the output.

    With lengths, each row is read backwards from its own last valid step.

    >>> import torch
    >>> net = Bidirectional("lstm", 3, 8, num_layers=2, output_size=5)
    >>> y, (forwards, backwards) = net(torch.zeros(4, 10, 3))
    >>> y.shape, backwards[1].h.shape
    (torch.Size([4, 10, 5]), torch.Size([4, 8]))

    Args:
        cell: any cell, of the forward stack and, unless `backward_cell` is given, of the backward one.
        input_size: I, features per step.
        hidden_size: H, units of a direction.
        num_layers: of each stack.
        output_size: O of an output layer `V h_forward + R h_backward + b`, Schuster and Paliwal's; without it the
            outputs are joined by `merge`: "concat", "sum", "mean" or "mul".
        backward_cell: another cell for the direction from the end.
        backward_size: another number of units for it.
        merge: see output_size.
        generator: random stream of the initial weights.
        options: the rest goes to both `Recurrent` stacks.

    """

    def __init__(
        self,
        cell: str | type[Cell] | Cell,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        output_size: int | None = None,
        backward_cell: str | type[Cell] | Cell | None = None,
        backward_size: int | None = None,
        merge: Merge = "concat",
        generator: Generator | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        where = "Bidirectional"
        if merge not in MERGES:
            known = ", ".join(nearest(str(merge), MERGES))
            raise ConfigError(message(where, f"merge must be one of {known}, got {merge!r}"))
        if output_size is not None and output_size < 1:
            raise ConfigError(message(where, f"output_size must be a whole number from 1, got {output_size}"))
        if {"bidirectional", "reverse"} & set(options):
            raise ConfigError(message(where, "has both directions already", hint="drop bidirectional and reverse."))
        options |= {"generator": generator}
        self.input_size, self.merge = input_size, merge
        self.forwards = Recurrent(cell, input_size, hidden_size, num_layers, **options)
        other = cell if backward_cell is None else backward_cell
        size = hidden_size if backward_size is None else backward_size
        self.backwards = Recurrent(other, input_size, size, num_layers, reverse=True, **options)
        widths = self.forwards.output_width, self.backwards.output_width
        if widths[0] != widths[1] and merge != "concat":
            fact = f'the directions have {widths[0]} and {widths[1]} outputs, which only "concat" can join'
            raise ConfigError(message(where, fact))
        width = sum(widths) if merge == "concat" else widths[0]
        self.output = None if output_size is None else linear(width, output_size, generator)
        self.output_width = width if output_size is None else output_size

    def forward(
        self,
        x: Tensor | PackedSequence,
        state: Any = None,
        lengths: Tensor | Sequence[int] | None = None,
        resets: Tensor | None = None,
    ) -> tuple[Any, Any]:
        """x (B, T, I) -> outputs (B, T, output_width), 0 on the padding, and the states (forward, backward).

        A PackedSequence comes back packed.
        """
        if state is not None and (not isinstance(state, tuple) or len(state) != 2):
            fact = f"state must be a pair (forward, backward), got {type(state).__name__}"
            raise ShapeError(message("Bidirectional.forward", fact))
        first, second = (None, None) if state is None else state
        ahead, first = self.forwards(x, first, lengths, resets)
        back, second = self.backwards(x, second, lengths, resets)
        if isinstance(x, PackedSequence):
            y = MERGES[self.merge](ahead.data, back.data)
            y = y if self.output is None else self.output(y)
            return PackedSequence(y, x.batch_sizes, x.sorted_indices, x.unsorted_indices), (first, second)
        y = MERGES[self.merge](ahead, back)
        if self.output is not None:
            lengths = check_lengths("Bidirectional.forward", lengths, x)
            y = blank_padding(self.output(y), lengths)
        return y, (first, second)

    def initial_state(self, batch_size: int) -> Any:
        """What state=None means: a pair."""
        return self.forwards.initial_state(batch_size), self.backwards.initial_state(batch_size)

    def facts(self) -> Facts | None:
        """Depths and reach of the whole; the output layer is linear."""
        parts = facts_of(self.forwards), facts_of(self.backwards)
        return None if parts[0] is None or parts[1] is None else parts[0].beside(parts[1])
