"""Backpropagation through time over the whole of each batch (Werbos, 1990).

The graph is cut between batches only: a batch that is not the first of its stream starts from the state that the last
one ended with, as a value without a past.
"""

from __future__ import annotations

from collections.abc import Iterator

from recurra.base.state import detach
from recurra.data.batch import Batch
from recurra.training.gradient import Carry, Due, Model, Objective

__all__ = ["bptt"]


def bptt(model: Model, objective: Objective, batch: Batch, carry: Carry | None = None) -> Iterator[Due]:
    """One update a batch; every loss reaches back to the batch's first step.

    Cost: T steps forward, T backward; memory for T steps.
    """
    state = carry.state if carry else None
    outputs, state = model(batch.x, state, lengths=batch.lengths, resets=batch.resets)
    loss_sum, count = objective(outputs, batch)
    loss_sum.backward()
    yield Due(loss_sum.detach(), count, Carry(detach(state)), batch.x.shape[1])
