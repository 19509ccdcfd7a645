"""Limits on the gradient. Both return its norm as it was before."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn

__all__ = ["clip_by_norm", "clip_by_value", "gradient_norm"]


def gradient_norm(parameters: Iterable[Tensor]) -> Tensor:
    """Euclidean norm over all gradients together (scalar, float32 or wider); 0 where there are none.

    >>> import torch
    >>> w = nn.Parameter(torch.zeros(2)); w.grad = torch.tensor([3.0, 4.0])
    >>> float(gradient_norm([w]))
    5.0
    """
    return nn.utils.get_total_norm(_gradients(parameters))


def clip_by_norm(parameters: Iterable[Tensor], limit: float, norm: Tensor | None = None) -> Tensor:
    """Scale all gradients by one factor so that their norm is at most `limit` (Pascanu et al., 2013).

    `norm` is theirs now, where it is known already.
    """
    parameters = list(parameters)
    norm = gradient_norm(parameters) if norm is None else norm
    nn.utils.clip_grads_with_norm_(parameters, limit, norm)
    return norm


def clip_by_value(parameters: Iterable[Tensor], limit: float) -> Tensor:
    """Clamp every entry of every gradient to [-limit, limit] (Graves, 2013); this turns the gradient's direction."""
    gradients = _gradients(parameters)
    norm = nn.utils.get_total_norm(gradients)
    for gradient in gradients:
        gradient.clamp_(-limit, limit)
    return norm


def _gradients(parameters: Iterable[Tensor]) -> list[Tensor]:
    return [parameter.grad for parameter in parameters if parameter.grad is not None]
