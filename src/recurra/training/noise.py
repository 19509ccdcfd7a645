"""Gaussian noise on the gradient, less and less of it (Neelakantan et al. 2015, arXiv:1511.06807).

g + N(0, s^2) with s^2 = eta / (1 + t)^gamma at update t = 0, 1, ...; the paper chose eta from 0.01, 0.3 and 1, with
gamma 0.55. Here it is added to the gradient after clipping, so that a clip does not scale the noise.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Generator, Tensor

__all__ = ["add_noise", "deviation"]


def deviation(update: int, eta: float, gamma: float = 0.55) -> float:
    """The standard deviation at an update, counted from 0.

    >>> round(deviation(0, 0.3), 4), round(deviation(999, 0.3), 4)
    (0.5477, 0.082)
    """
    return (eta / (1.0 + update) ** gamma) ** 0.5


@torch.no_grad()
def add_noise(
    parameters: Iterable[Tensor], update: int, eta: float, gamma: float = 0.55, generator: Generator | None = None
) -> None:
    """Add noise to each `.grad` that is there.

    generator: where it is drawn from; by default torch's own stream, which a checkpoint keeps.
    """
    scale = deviation(update, eta, gamma)
    for parameter in parameters:
        if parameter.grad is not None and scale:
            drawn = torch.randn(parameter.grad.shape, generator=generator, dtype=parameter.grad.dtype)
            parameter.grad.add_(drawn.to(parameter.grad.device), alpha=scale)
