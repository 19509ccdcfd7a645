"""What a gradient method is: a generator that fills `.grad` and yields wherever an update of the weights is due.

    def method(model, objective, batch, carry):
        ...                                  # forward, objective, backward of the summed loss
        yield Due(loss_sum, count, carry, steps)

The loop divides the accumulated gradient by `count`, clips, steps the optimiser and clears `.grad` before it asks for
the next one. So every gradient is of a mean over positions, whatever the batch and however often one updates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from torch import Tensor

from recurra.base.state import State, map_state
from recurra.data.batch import Batch

__all__ = ["Carry", "Due", "GradientMethod", "Model", "Objective", "between"]

Model = Callable[..., tuple[Any, State]]
"""`outputs, state = model(x, state, lengths=..., resets=...)`; a state of None is the initial one."""

Objective = Callable[[Any, Batch], tuple[Tensor, int]]
"""`loss_sum, count = objective(outputs, batch)`: the loss summed over the valid positions, and how many those are."""


class Carry(NamedTuple):
    """What one batch hands to the next: a state cut from the graph, and the steps that may be replayed from it.

    A method that replays nothing (full BPTT, fixed chunks) leaves all but `state` at None.
    """

    state: State
    """The state before the first step of `x`; without `x`, after all steps so far."""
    x: Tensor | None = None
    """The last inputs (B, n) or (B, n, F), n <= k2."""
    resets: Tensor | None = None
    """Their restarts (B, n) bool."""
    lengths: Tensor | None = None
    """How many of the n steps are valid in each row (B,) int64."""
    memory: tuple[Tensor, ...] | None = None
    """What an online gradient carries forward instead: the influence of the weights on the state, each (B, ...)."""


class Due(NamedTuple):
    """An update is due: `.grad` holds the gradient of `loss_sum`."""

    loss_sum: Tensor
    """Summed loss (a detached scalar)."""
    count: int
    """The number of positions in that sum; 0 where all were padding, then there is nothing to update."""
    carry: Carry
    """What to go on from."""
    steps: int
    """Steps of the batch whose losses are counted so far, this update's included."""


GradientMethod = Callable[[Model, Objective, Batch, "Carry | None"], Iterator[Due]]


def between(batch: Batch, start: int, stop: int) -> Batch:
    """Steps `start` (included) to `stop` (excluded) of a batch; a row that has ended by then gets length 0.

    >>> import torch
    >>> part = between(Batch(torch.arange(6).view(1, 6), torch.arange(6).view(1, 6), torch.tensor([5])), 4, 6)
    >>> part.x.tolist(), part.lengths.tolist()
    ([[4, 5]], [1])
    """
    return Batch(
        map_state(lambda leaf: leaf[:, start:stop], batch.x),
        map_state(lambda leaf: leaf[:, start:stop], batch.y),
        None if batch.lengths is None else (batch.lengths - start).clamp(0, stop - start),
        None if batch.resets is None else batch.resets[:, start:stop],
        batch.first and start == 0,
    )
