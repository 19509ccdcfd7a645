"""Ragged batches: reading them backwards, picking their last valid step, and what a layer checks before it runs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from recurra.base.errors import ShapeError, message

__all__ = ["blank_padding", "check_lengths", "check_sequence", "flip", "flip_resets", "last_valid", "valid_mask"]


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


def blank_padding(x: Tensor, lengths: Tensor | None) -> Tensor:
    """x (B, T, ...) with 0 on the padding, even where NaN stood; no gradient passes there."""
    if lengths is None:
        return x
    valid = valid_mask(lengths, x.shape[1])
    return torch.where(valid.view(*valid.shape, *[1] * (x.dim() - 2)), x, x.new_zeros(()))


def check_sequence(where: str, x: Tensor, width: int, like: Tensor, axis: str = "I", what: str = "x") -> None:
    """Raises ShapeError unless x is (B, T, width) of the dtype of `like`."""
    if x.dim() != 3 or x.shape[2] != width:
        fact = f"{what} must be (B, T, {axis}) = (B, T, {width}), got {tuple(x.shape)}"
        raise ShapeError(message(where, fact, hint="batch first; one sequence is x.unsqueeze(0)."))
    if x.dtype != like.dtype and not torch.is_autocast_enabled(x.device.type):
        fact = f"{what} is {x.dtype}, the weights are {like.dtype}"
        raise ShapeError(message(where, fact, hint=f"{what}.to({like.dtype}), or layer.to({what}.dtype)."))


def check_lengths(where: str, lengths: Tensor | Sequence[int] | None, x: Tensor) -> Tensor | None:
    """`lengths` as a tensor (B,) of whole numbers in 0..T, for x (B, T, ...); None stays; raises ShapeError."""
    if lengths is None:
        return None
    batch, steps = x.shape[:2]
    lengths = torch.as_tensor(lengths, device=x.device)
    if tuple(lengths.shape) != (batch,) or lengths.is_floating_point():
        got = f"{tuple(lengths.shape)} {lengths.dtype}"
        raise ShapeError(message(where, f"lengths must be (B,) = ({batch},) integers, got {got}"))
    if batch and not torch.compiler.is_compiling() and (int(lengths.min()) < 0 or int(lengths.max()) > steps):
        low, high = int(lengths.min()), int(lengths.max())
        raise ShapeError(message(where, f"lengths must lie in 0..T = 0..{steps}, got {low}..{high}"))
    return lengths
