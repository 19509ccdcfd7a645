"""Attention: over time into one vector, and from a query into a memory, with masks for what is not there.

All score functions give (B, S, T): how much query s has to do with memory step t.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Generator, Tensor, nn

from recurra.base.errors import ConfigError, ShapeError, message, nearest
from recurra.layers.feedforward import linear
from recurra.layers.sequence import blank_padding, check_lengths, check_sequence, last_valid, valid_mask

__all__ = ["Attention", "AttentionPooling", "Memory", "Pooling", "Score", "masked_softmax"]

Score = Literal["dot", "scaled", "general", "additive"]
_SCORES = ("dot", "scaled", "general", "additive")
_POOLINGS = ("last", "mean", "max", "attention")


def masked_softmax(scores: Tensor, valid: Tensor | None) -> Tensor:
    """Softmax over the last axis among the places where `valid` is true, 0 elsewhere.

    Where no place is valid all weights are 0. The mask is broadcast over `scores`.
    """
    if valid is None:
        return torch.softmax(scores, -1)
    lowest = torch.finfo(scores.dtype).min
    weights = torch.softmax(torch.where(valid, scores, scores.new_full((), lowest)), -1)
    return torch.where(valid, weights, weights.new_zeros(()))


class AttentionPooling(nn.Module):
    """Many-to-one: a weighted mean over time, the weights by a learned question.

        u_t = tanh(W h_t + b)
        a = softmax(u_t . u)
        y = sum of a_t h_t

    Yang et al., Hierarchical attention networks for document classification, 2016, doi:10.18653/v1/N16-1174.
    `size` is F, the width of h; `attention_size` A, that of u.
    """

    def __init__(self, size: int, attention_size: int | None = None, *, generator: Generator | None = None) -> None:
        super().__init__()
        inner = size if attention_size is None else attention_size
        if size < 1 or inner < 1:
            fact = f"size and attention_size must be whole numbers from 1, got {size} and {attention_size}"
            raise ConfigError(message("AttentionPooling", fact))
        self.size = self.output_width = size
        self.project = linear(size, inner, generator)
        self.question = nn.Parameter(torch.randn(inner, generator=generator) / math.sqrt(inner))

    def forward(self, h: Tensor, lengths: Tensor | Sequence[int] | None = None) -> tuple[Tensor, Tensor]:
        """h (B, T, F) -> (B, F) and the weights (B, T); both 0 for a row of length 0."""
        where = "AttentionPooling.forward"
        check_sequence(where, h, self.size, self.question, "F", "h")
        lengths = check_lengths(where, lengths, h)
        h = blank_padding(h, lengths)
        scores = torch.tanh(self.project(h)) @ self.question
        weights = masked_softmax(scores, None if lengths is None else valid_mask(lengths, h.shape[1]))
        return (weights.unsqueeze(1) @ h).squeeze(1), weights


class Pooling(nn.Module):
    """Many-to-one by name: the "last" valid step, the "mean" or "max" over the valid ones, or "attention".

    >>> import torch
    >>> Pooling("max", 3)(torch.arange(12.0).view(1, 4, 3), [2])
    tensor([[3., 4., 5.]])

    A row of length 0 gives 0.
    """

    def __init__(
        self, kind: str, size: int, attention_size: int | None = None, *, generator: Generator | None = None
    ) -> None:
        super().__init__()
        if kind not in _POOLINGS:
            known = ", ".join(nearest(str(kind), _POOLINGS))
            raise ConfigError(message("Pooling", f"kind must be one of {known}, got {kind!r}"))
        self.kind, self.size, self.output_width = kind, size, size
        self.attention = AttentionPooling(size, attention_size, generator=generator) if kind == "attention" else None

    def forward(self, h: Tensor, lengths: Tensor | Sequence[int] | None = None) -> Tensor:
        """h (B, T, F) -> (B, F)."""
        if self.attention is not None:
            return self.attention(h, lengths)[0]
        check_sequence("Pooling.forward", h, self.size, h, "F", "h")
        batch, steps = h.shape[:2]
        lengths = check_lengths("Pooling.forward", lengths, h)
        if lengths is None:
            lengths = torch.full((batch,), steps, device=h.device)
        if not steps:
            return h.new_zeros(batch, self.size)
        h = blank_padding(h, lengths)
        if self.kind == "last":
            return last_valid(h, lengths)
        if self.kind == "mean":
            return h.sum(1) / lengths.clamp(min=1).unsqueeze(1).to(h.dtype)
        valid = valid_mask(lengths, steps).unsqueeze(-1)
        highest = torch.where(valid, h, h.new_full((), -math.inf)).amax(1)
        return torch.where(lengths.unsqueeze(1) > 0, highest, highest.new_zeros(()))

    def extra_repr(self) -> str:
        """For print(model)."""
        return f"{self.kind}, {self.size}"


class Memory(NamedTuple):
    """What attention reads: values (B, T, M), their keys (B, T, A) and which steps exist (B, T) bool.

    A state like any other: `recurra.base.state.take` reorders its rows for a beam.
    """

    values: Tensor
    keys: Tensor
    valid: Tensor


class Attention(nn.Module):
    """From queries into a memory, by one of four scores.

        dot       q . k                   Luong et al. 2015, arXiv:1508.04025
        scaled    q . k / sqrt(M)         Vaswani et al. 2017, arXiv:1706.03762
        general   q . W k                 Luong et al. 2015
        additive  v . tanh(W q + U k + b) Bahdanau et al. 2015, arXiv:1409.0473

    query_size: Q; memory_size: M, equal to Q for dot and scaled; attention_size: A of the additive score, Q by default.
    `prepare` computes once what does not depend on the query.
    """

    _like: Tensor

    def __init__(
        self,
        score: Score,
        query_size: int,
        memory_size: int,
        attention_size: int | None = None,
        *,
        generator: Generator | None = None,
    ) -> None:
        super().__init__()
        where = "Attention"
        if score not in _SCORES:
            raise ConfigError(message(where, f"score must be one of {', '.join(_SCORES)}, got {score!r}"))
        sizes = (query_size, memory_size, attention_size or query_size)
        if min(sizes) < 1:
            raise ConfigError(message(where, f"sizes must be whole numbers from 1, got {sizes}"))
        if score in ("dot", "scaled") and query_size != memory_size:
            fact = f'"{score}" needs queries and memory of one width, got {query_size} and {memory_size}'
            raise ConfigError(message(where, fact, hint='"general" has a matrix between them.'))
        self.score, self.query_size, self.memory_size = score, query_size, memory_size
        inner = sizes[2]
        if score == "general":
            self.key = linear(memory_size, query_size, generator, bias=False)
        elif score == "additive":
            self.key = linear(memory_size, inner, generator, bias=False)
            self.query = linear(query_size, inner, generator)
            self.v = nn.Parameter(torch.randn(inner, generator=generator) / math.sqrt(inner))
        # Some scores have no parameter to compare a dtype with.
        self.register_buffer("_like", torch.zeros(()), persistent=False)

    def prepare(self, values: Tensor, lengths: Tensor | Sequence[int] | None = None) -> Memory:
        """values (B, T, M) -> the memory, its keys computed; what stands on the padding does not matter."""
        check_sequence("Attention.prepare", values, self.memory_size, self._like, "M", "values")
        batch, steps = values.shape[:2]
        lengths = check_lengths("Attention.prepare", lengths, values)
        if lengths is None:
            lengths = torch.full((batch,), steps, device=values.device)
        values = blank_padding(values, lengths)
        keys = self.key(values) if self.score in ("general", "additive") else values
        return Memory(values, keys, valid_mask(lengths, steps))

    def scores(self, query: Tensor, memory: Memory) -> Tensor:
        """query (B, S, Q) -> (B, S, T), masked by nothing."""
        check_sequence("Attention", query, self.query_size, self._like, "Q", "query")
        if query.shape[0] != memory.keys.shape[0]:
            fact = f"query has {query.shape[0]} rows, the memory {memory.keys.shape[0]}"
            raise ShapeError(message("Attention", fact, hint="recurra.base.state.take(memory, rows) for a beam."))
        if self.score == "additive":
            return torch.tanh(self.query(query).unsqueeze(2) + memory.keys.unsqueeze(1)) @ self.v
        scores = query @ memory.keys.transpose(1, 2)
        return scores / math.sqrt(self.memory_size) if self.score == "scaled" else scores

    def first_weights(self, memory: Memory) -> Tensor:
        """The weights before the first output: none, (B, T)."""
        return torch.zeros(memory.valid.shape, dtype=memory.values.dtype, device=memory.values.device)

    def forward(
        self,
        query: Tensor,
        memory: Memory,
        previous: Tensor | None = None,  # noqa: ARG002 - one signature for every attention
    ) -> tuple[Tensor, Tensor]:
        """query (B, S, Q) -> contexts (B, S, M) and weights (B, S, T); both 0 where the memory is empty.

        previous: the weights of the output before, of which only monotonic attention takes notice.
        """
        weights = masked_softmax(self.scores(query, memory), memory.valid.unsqueeze(1))
        return weights @ memory.values, weights

    def extra_repr(self) -> str:
        """For print(model)."""
        return f"{self.score}, query_size={self.query_size}, memory_size={self.memory_size}"
