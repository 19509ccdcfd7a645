"""Tokens to vectors: a learned table, or one-hot vectors, for which the cell's own input matrix is the table."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from recurra.base.errors import ShapeError, message

__all__ = ["TokenInput", "locked_dropout"]


def locked_dropout(x: Tensor, probability: float, training: bool = True) -> Tensor:
    """Dropout with one mask for all time steps of a row: x (B, T, F), mask (B, 1, F).

    The same units are missing throughout a sequence, so that noise does not average out over time. Gal and Ghahramani,
    A theoretically grounded application of dropout in recurrent neural networks, 2016.
    """
    if not training or probability == 0:
        return x
    keep = 1 - probability
    mask = torch.empty(x.shape[0], 1, x.shape[2], dtype=x.dtype, device=x.device).bernoulli_(keep)
    return x * (mask / keep if keep > 0 else mask)


class TokenInput(nn.Module):
    """Tokens (B, T) or (B,) int64 -> vectors (B, T, F) or (B, F).

    embedding_size F: width of the learned table (V, F); 0 stands for one-hot vectors, F = V: then W x picks a column of
    W, and the cell's input matrix is the embedding.
    generator: draws the table, normal with standard deviation `scale`.
    """

    weight: nn.Parameter | None

    def __init__(
        self,
        vocabulary_size: int,
        embedding_size: int = 0,
        *,
        scale: float = 0.3,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if vocabulary_size < 1 or embedding_size < 0:
            raise ShapeError(
                message(
                    "TokenInput",
                    f"vocabulary_size must be >= 1 and embedding_size >= 0, got {vocabulary_size} and {embedding_size}",
                )
            )
        self.vocabulary_size = vocabulary_size
        self.width = embedding_size or vocabulary_size
        if embedding_size:
            table = torch.empty(vocabulary_size, embedding_size)
            self.weight = nn.Parameter(nn.init.normal_(table, std=scale, generator=generator))
        else:
            self.register_parameter("weight", None)
            self.register_buffer("_eye", torch.eye(vocabulary_size), persistent=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Look up each token; a token outside [0, V) raises IndexError."""
        table = self.weight if self.weight is not None else self._eye
        return nn.functional.embedding(tokens, table)  # pyright: ignore[reportArgumentType]

    def extra_repr(self) -> str:
        """For print(model)."""
        kind = f"embedding_size={self.width}" if self.weight is not None else "one-hot"
        return f"vocabulary_size={self.vocabulary_size}, {kind}"
