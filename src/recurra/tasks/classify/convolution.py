"""Convolutions over time for series of different lengths: what is padding stays 0 and counts in no mean.

Wang, Yan and Oates, Time series classification from scratch with deep neural networks, 2017, arXiv:1611.06455;
squeeze and excite as in Karim et al., Multivariate LSTM-FCNs, 2019, arXiv:1801.04503.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Generator, Tensor, nn

__all__ = ["FullyConvolutional", "MaskedBatchNorm", "masked_mean"]


def masked_mean(x: Tensor, valid: Tensor | None) -> Tensor:
    """x (B, F, T), 0 where not valid (B, 1, T), -> its mean (B, F) over the valid steps."""
    if valid is None:
        return x.mean(2)
    return x.sum(2) / valid.sum(2).clamp_min(1).to(x.dtype)


class MaskedBatchNorm(nn.Module):
    """Batch normalisation (Ioffe and Szegedy 2015) over the valid steps of a batch (B, F, T).

    momentum: what of the running figures a new batch replaces.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, features: int, *, momentum: float = 0.1, eps: float = 1e-3) -> None:
        super().__init__()
        self.momentum, self.eps = momentum, eps
        self.weight = nn.Parameter(torch.ones(features))
        self.bias = nn.Parameter(torch.zeros(features))
        self.register_buffer("running_mean", torch.zeros(features))
        self.register_buffer("running_var", torch.ones(features))

    def forward(self, x: Tensor, valid: Tensor | None) -> Tensor:
        """The same shape; what is not valid (B, 1, T) comes out as anything."""
        count = x.shape[0] * x.shape[2] if valid is None else int(valid.sum())
        if not self.training or (valid is None and count > 1):
            # One fused pass; torch wants two values at least to normalise by.
            return nn.functional.batch_norm(
                x, self.running_mean, self.running_var, self.weight, self.bias, self.training, self.momentum, self.eps
            )
        inside = x if valid is None else torch.where(valid, x, x.new_zeros(()))
        mean = inside.sum((0, 2)) / max(count, 1)
        off = x - mean[:, None]
        off = off if valid is None else torch.where(valid, off, x.new_zeros(()))
        var = (off * off).sum((0, 2)) / max(count, 1)
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(var * count / max(count - 1, 1), self.momentum)
        return off * (self.weight * torch.rsqrt(var + self.eps))[:, None] + self.bias[:, None]


class _Block(nn.Module):
    """Convolution of the same length, normalisation, rectifier; the squeeze where it is wanted."""

    def __init__(self, width: int, filters: int, kernel: int, squeeze: bool, generator: Generator | None) -> None:
        super().__init__()
        # An even kernel has its odd step on the right, as Keras has it.
        self.sides = (kernel - 1) // 2, kernel // 2
        bound = math.sqrt(6 / (width * kernel))
        start = torch.rand(filters, width, kernel, generator=generator) * 2 * bound - bound
        self.weight = nn.Parameter(start)
        # No bias: the normalisation would take it off again.
        self.norm = MaskedBatchNorm(filters)
        inner = max(1, filters // 16)
        self.squeeze = nn.Linear(filters, inner, bias=False) if squeeze else None
        self.excite = nn.Linear(inner, filters, bias=False) if squeeze else None

    def forward(self, x: Tensor, valid: Tensor | None) -> Tensor:
        y = nn.functional.conv1d(nn.functional.pad(x, self.sides), self.weight)
        y = torch.relu(self.norm(y, valid))
        if valid is not None:
            y = torch.where(valid, y, y.new_zeros(()))
        if self.squeeze is not None and self.excite is not None:
            gate = torch.sigmoid(self.excite(torch.relu(self.squeeze(masked_mean(y, valid)))))
            y = y * gate.unsqueeze(2)
        return y


class FullyConvolutional(nn.Module):
    """x (B, T, I) -> features (B, F, T), 0 on the padding; F is the last of `filters`.

    squeeze: between the blocks, not after the last one.
    """

    def __init__(
        self,
        input_size: int,
        filters: Sequence[int] = (128, 256, 128),
        kernels: Sequence[int] = (8, 5, 3),
        *,
        squeeze: bool = False,
        generator: Generator | None = None,
    ) -> None:
        super().__init__()
        widths = [input_size, *filters]
        last = len(filters) - 1
        self.blocks = nn.ModuleList(
            _Block(widths[place], filters[place], kernel, squeeze and place < last, generator)
            for place, kernel in enumerate(kernels)
        )
        self.output_width = filters[-1]

    def forward(self, x: Tensor, valid: Tensor | None) -> Tensor:
        """valid: (B, 1, T) bool, None where no row is padded."""
        y = x.transpose(1, 2)
        for block in self.blocks:
            y = block(y, valid)
        return y
