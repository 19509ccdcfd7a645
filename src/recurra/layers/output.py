"""The last layer: features to logits, with a matrix of its own or the embedding's."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from recurra.base.errors import ShapeError, message

__all__ = ["OutputLayer"]


class OutputLayer(nn.Module):
    """Features (..., F) -> logits (..., V): `E P y + b`.

    tied: the embedding table (V, D) that serves as E (Press and Wolf, Using the output embedding to improve language
    models, 2017; Inan, Khosravi and Socher, 2017); without it E is a matrix (V, F) of this layer. P (D, F) exists only
    where the table's width D differs from F.
    generator: draws the matrices, Glorot uniform. The bias starts at 0.
    """

    weight: nn.Parameter
    projection: nn.Parameter | None

    def __init__(
        self,
        features: int,
        vocabulary_size: int,
        *,
        tied: nn.Parameter | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if tied is not None and tied.shape[0] != vocabulary_size:
            raise ShapeError(
                message("OutputLayer", f"tied must be (V, D) = ({vocabulary_size}, D), got {tuple(tied.shape)}")
            )
        if tied is None:
            self.weight = _glorot(vocabulary_size, features, generator)
        else:
            self.weight = tied
        width = self.weight.shape[1]
        if width == features:
            self.register_parameter("projection", None)
        else:
            self.projection = _glorot(width, features, generator)
        self.bias = nn.Parameter(torch.zeros(vocabulary_size))

    def forward(self, features: Tensor) -> Tensor:
        """Logits, not normalised."""
        if self.projection is not None:
            features = nn.functional.linear(features, self.projection)
        return nn.functional.linear(features, self.weight, self.bias)

    def extra_repr(self) -> str:
        """For print(model)."""
        size, width = self.weight.shape
        features = width if self.projection is None else self.projection.shape[1]
        return f"features={features}, vocabulary_size={size}, projected={self.projection is not None}"


def _glorot(rows: int, columns: int, generator: torch.Generator | None) -> nn.Parameter:
    return nn.Parameter(nn.init.xavier_uniform_(torch.empty(rows, columns), generator=generator))
