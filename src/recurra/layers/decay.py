"""Missing inputs that fade: the last value seen moves towards the mean, the faster the longer ago it was.

Che et al., Recurrent neural networks for multivariate time series with missing values (GRU-D), 2018, arXiv:1606.01865;
of its two decays this is the one of the inputs, so that any cell can stand behind it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from recurra.base.errors import ShapeError, message

__all__ = ["InputDecay", "since_last"]


def since_last(observed: Tensor) -> Tensor:
    """Steps (B, T, F) since each input was last seen, 0 where it is seen; counted from the start where it never was.

    >>> since_last(torch.tensor([[0.0, 1, 0, 0, 1]]).unsqueeze(-1)).squeeze().tolist()
    [1.0, 0.0, 1.0, 2.0, 0.0]
    """
    steps = torch.arange(1, observed.shape[1] + 1, device=observed.device, dtype=observed.dtype)[None, :, None]
    return steps - torch.where(observed > 0, steps, 0 * steps).cummax(1).values


class InputDecay(nn.Module):
    """x (B, T, F) and where it is seen (B, T, F) -> the inputs, what is missing replaced.

    x_t = m x_t + (1 - m) (gamma x_last + (1 - gamma) mean), gamma = exp(-max(0, w delta + b)), delta the steps since
    the last value; w and b per feature. The mean is 0: inputs are normalised.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((features,), 0.1))
        self.bias = nn.Parameter(torch.zeros(features))

    def forward(self, x: Tensor, observed: Tensor) -> Tensor:
        """(B, T, F); a number that is not observed is never read."""
        if x.shape != observed.shape or x.dim() != 3 or x.shape[2] != len(self.weight):
            fact = (
                f"x and observed must be (B, T, {len(self.weight)}), got {tuple(x.shape)} and {tuple(observed.shape)}"
            )
            raise ShapeError(message("InputDecay.forward", fact))
        delta = since_last(observed)
        steps = torch.arange(x.shape[1], device=x.device)[None, :, None]
        place = (steps - delta.long()).clamp_min(0)
        ever = (delta.long() <= steps).to(x.dtype)
        last = torch.where(observed > 0, x, x.new_zeros(())).gather(1, place) * ever
        gamma = torch.exp(-torch.relu(self.weight * delta + self.bias))
        return torch.where(observed > 0, x, gamma * last)
