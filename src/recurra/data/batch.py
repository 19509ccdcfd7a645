"""What a model is fed at one time: inputs, targets, lengths, restarts."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Batch"]


class Batch(NamedTuple):
    """One batch; axes: B rows, T steps, F features.

    A padded position (t >= lengths[b]) counts in no loss. A restart drops the state that the row carries and continues
    from the initial one, before step t is consumed.
    """

    x: Tensor
    """Inputs (B, T) int64 tokens, or (B, T, F) values."""
    y: Tensor
    """Targets (B, T, ...)."""
    lengths: Tensor | None = None
    """Valid steps of each row (B,) int64; None: all T."""
    resets: Tensor | None = None
    """Where a row's state starts anew (B, T) bool; None: nowhere."""
    first: bool = False
    """True at the first batch of a stream: no state is carried into it."""

    def map(self, function: Callable[[Tensor], Tensor]) -> Batch:
        """`function` applied to every tensor."""
        mapped = {name: function(value) for name, value in self._asdict().items() if isinstance(value, Tensor)}
        return self._replace(**mapped)

    def to(self, device: torch.device | str) -> Batch:
        """The batch on `device`; where it is there already nothing is copied."""
        return self.map(lambda tensor: tensor.to(device, non_blocking=True))

    def count(self) -> int:
        """How many positions (b, t) are valid."""
        return self.x.shape[0] * self.x.shape[1] if self.lengths is None else int(self.lengths.sum())
