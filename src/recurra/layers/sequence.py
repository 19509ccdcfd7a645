"""Ragged batches: reading them backwards, and picking their last valid step."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["flip", "flip_resets", "last_valid", "valid_mask"]


def valid_mask(lengths: Tensor, steps: int) -> Tensor:
    """(B,) lengths -> (B, T) bool, true on the steps that exist."""
    return torch.arange(steps, device=lengths.device) < lengths[:, None]


def flip(x: Tensor, lengths: Tensor | None) -> Tensor:
    """x (B, T, F) read backwards, each row from its own last valid step; padding stays behind it.

    Its own inverse.
    """
    if lengths is None:
        return x.flip(1)
    steps = torch.arange(x.shape[1], device=x.device).expand(x.shape[0], -1)
    backwards = torch.where(steps < lengths[:, None], lengths[:, None] - 1 - steps, steps)
    return x.gather(1, backwards.unsqueeze(-1).expand_as(x))


def flip_resets(resets: Tensor, lengths: Tensor | None) -> Tensor:
    """Where a backward reader restarts: a border between t - 1 and t is met before it reads t - 1."""
    borders = torch.zeros_like(resets)
    borders[:, :-1] = resets[:, 1:]
    return flip(borders.unsqueeze(-1), lengths).squeeze(-1)


def last_valid(y: Tensor, lengths: Tensor | None) -> Tensor:
    """The output at each row's last valid step: y (B, T, F) -> (B, F); zeros for a row of length 0."""
    if lengths is None:
        return y[:, -1]
    index = (lengths - 1).clamp(min=0)
    picked = y[torch.arange(y.shape[0], device=y.device), index]
    return torch.where((lengths > 0)[:, None], picked, picked.new_zeros(()))
