"""The delay line: the last frames of a stream as an explicit state, and tapped sequences made with it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["last_frames", "prepend", "tapped"]


def prepend(before: Tensor, x: Tensor) -> Tensor:
    """The frames of the line (B, D, F) and then those of x (B, T, F): (B, D + T, F)."""
    return torch.cat((before, x), 1) if before.shape[1] else x


def last_frames(frames: Tensor, size: int, lengths: Tensor | None = None) -> Tensor:
    """The line after `frames` (B, N, F): the last `size` of them, fewer where there are fewer.

    lengths: (B,) how many frames each row has; each must have `size`.
    """
    if lengths is None:
        return frames[:, max(frames.shape[1] - size, 0) :]
    index = lengths[:, None] - size + torch.arange(size, device=frames.device)
    return frames.gather(1, index.unsqueeze(-1).expand(-1, -1, frames.shape[2]))


def tapped(frames: Tensor, taps: Sequence[int]) -> Tensor:
    """frames (B, N, F) -> (B, N - span, len(taps) F): frames t + taps[0], t + taps[1], ... next to each other.

    Taps count from the first; span is the largest.

    >>> tapped(torch.arange(4.0).view(1, 4, 1), (0, 2))
    tensor([[[0., 2.],
             [1., 3.]]])
    """
    steps = max(frames.shape[1] - max(taps), 0)
    return torch.cat([frames[:, tap : tap + steps] for tap in taps], -1)
