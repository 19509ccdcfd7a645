"""The likelihood of a chain as a function of torch tensors: hidden Markov models trained by gradient, or under a net.

Its gradient is what forward-backward finds anyway: posteriors, expected transitions, the first posteriors.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from recurra.base.errors import ShapeError, message
from recurra.classical.hmm.recursion import smoothed

__all__ = ["log_likelihood"]


def log_likelihood(
    log_density: Tensor, log_start: Tensor, log_transition: Tensor, lengths: Tensor | None = None
) -> Tensor:
    """(B,) log likelihoods from log densities (B, T, K), log start (K,) and log transitions (K, K), by row.

    Nothing has to be normalised. Differentiable once in the first three; computed in double precision.

    >>> A = torch.tensor([[0.7, 0.3], [0.4, 0.6]], dtype=torch.float64).log().requires_grad_()
    >>> total = log_likelihood(torch.randn(3, 10, 2, dtype=torch.float64), torch.zeros(2, dtype=torch.float64), A)
    >>> total.sum().backward()
    >>> round(float(A.grad.sum()), 9)   # every sequence makes 9 transitions
    27.0
    """
    K = log_transition.shape[-1]
    if log_density.ndim != 3 or log_density.shape[2] != K or log_transition.shape != (K, K) or log_start.shape != (K,):
        shapes = [tuple(part.shape) for part in (log_density, log_start, log_transition)]
        fact = f"expected (B, T, K), (K,) and (K, K), got {shapes[0]}, {shapes[1]} and {shapes[2]}"
        raise ShapeError(message("log_likelihood", fact))
    B, T = log_density.shape[:2]
    counts = [T] * B if lengths is None else [int(length) for length in lengths]
    if len(counts) != B or not all(1 <= count <= T for count in counts):
        raise ShapeError(message("log_likelihood", f"lengths must be {B} numbers from 1 to {T}, got {counts[:8]}"))
    return _LogLikelihood.apply(log_density, log_start, log_transition, counts)  # pyright: ignore[reportReturnType]


class _LogLikelihood(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, log_density: Tensor, log_start: Tensor, log_transition: Tensor, counts: list[int]) -> Tensor:
        density, start, move = (
            part.detach().cpu().double().numpy() for part in (log_density, log_start, log_transition)
        )
        B, T, K = density.shape
        values, gamma, xi = np.empty(B), np.zeros((B, T, K)), np.zeros((B, K, K))
        # Brought near 1, so that exponentials stay within range; what was taken away comes back below.
        tops = start.max(), move.max()
        first, chain = np.exp(start - tops[0]), np.exp(move - tops[1])
        for b, count in enumerate(counts):
            found = smoothed(density[b, :count], np.array([0, count]), first, chain)
            values[b] = found.log_likelihoods[0] + tops[0] + (count - 1) * tops[1]
            gamma[b, :count], xi[b] = found.posteriors, found.transitions
        ctx.save_for_backward(torch.from_numpy(gamma), torch.from_numpy(xi))
        ctx.like = log_density, log_start, log_transition
        return torch.from_numpy(values).to(log_density)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        gamma, xi = ctx.saved_tensors
        share = gradient.detach().cpu().double()
        parts = (
            gamma * share[:, None, None],
            (gamma[:, 0] * share[:, None]).sum(0),
            (xi * share[:, None, None]).sum(0),
        )
        density, start, move = (part.to(like) for part, like in zip(parts, ctx.like, strict=True))
        return density, start, move, None
