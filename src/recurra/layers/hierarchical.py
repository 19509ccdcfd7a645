"""A document is sentences, a sentence is words: a recurrent net with attention on each level.

Yang, Yang, Dyer, He, Smola and Hovy, Hierarchical attention networks for document classification, 2016,
doi:10.18653/v1/N16-1174.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor, nn

from recurra.base.errors import ConfigError, ShapeError, message
from recurra.equations.cell import Cell
from recurra.layers.attention import AttentionPooling
from recurra.layers.feedforward import linear
from recurra.layers.recurrent import Recurrent
from recurra.layers.sequence import check_lengths, valid_mask

__all__ = ["HierarchicalAttention", "Verdict"]


class Verdict(NamedTuple):
    """output: (B, O). words: (B, S, W), the weight of each word in its sentence. sentences: (B, S), of each."""

    output: Tensor
    words: Tensor
    sentences: Tensor


class HierarchicalAttention(nn.Module):
    """Words -> sentences -> document, ragged on both levels.

    >>> import torch
    >>> net = HierarchicalAttention("gru", input_size=5, hidden_size=4, output_size=3)
    >>> verdict = net(torch.zeros(2, 6, 9, 5), sentences=[6, 2], words=torch.full((2, 6), 9))
    >>> verdict.output.shape, verdict.words.shape, verdict.sentences.shape
    (torch.Size([2, 3]), torch.Size([2, 6, 9]), torch.Size([2, 6]))

    Args:
        cell: of both levels.
        input_size: F, features of a word.
        hidden_size: H of each direction, on both levels.
        output_size: O of a linear layer on top; None gives the document's vector.
        attention_size: A of both attentions; the width of the level's outputs by default.
        sentence_size: another H for the upper level.
        bidirectional: as in the paper.
        generator: random stream of the initial weights.
        options: the rest goes to both `Recurrent` layers.

    Only the sentences that exist are read: the cost follows them, not the padding. A sentence without words is a vector
    of zeros, a document without sentences gets the output of a vector of zeros.

    """

    def __init__(
        self,
        cell: str | type[Cell] | Cell,
        input_size: int,
        hidden_size: int,
        *,
        output_size: int | None = None,
        attention_size: int | None = None,
        sentence_size: int | None = None,
        bidirectional: bool = True,
        generator: Generator | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        if output_size is not None and output_size < 1:
            fact = f"output_size must be a whole number from 1, got {output_size}"
            raise ConfigError(message("HierarchicalAttention", fact))
        options |= {"bidirectional": bidirectional, "generator": generator}
        self.input_size = input_size
        self.word = Recurrent(cell, input_size, hidden_size, **options)
        width = self.word.output_width
        self.word_attention = AttentionPooling(width, attention_size, generator=generator)
        self.sentence = Recurrent(cell, width, sentence_size or hidden_size, **options)
        width = self.sentence.output_width
        self.sentence_attention = AttentionPooling(width, attention_size, generator=generator)
        self.output = None if output_size is None else linear(width, output_size, generator)
        self.output_width = width if output_size is None else output_size

    def forward(self, x: Tensor, sentences: Any = None, words: Tensor | None = None) -> Verdict:
        """x (B, S, W, F), sentences (B,) per document, words (B, S) per sentence -> output and both levels' weights."""
        where = "HierarchicalAttention.forward"
        if x.dim() != 4 or x.shape[3] != self.input_size:
            fact = f"x must be (B, S, W, F) = (B, S, W, {self.input_size}), got {tuple(x.shape)}"
            raise ShapeError(message(where, fact))
        batch, count, width, _ = x.shape
        sentences = check_lengths(where, sentences, x)
        if sentences is None:
            sentences = torch.full((batch,), count, device=x.device)
        if words is None:
            words = torch.full((batch, count), width, device=x.device)
        if words.shape != (batch, count):
            raise ShapeError(message(where, f"words must be (B, S) = {(batch, count)}, got {tuple(words.shape)}"))
        there = valid_mask(sentences, count)
        flat = check_lengths(where, torch.where(there, words, 0).flatten(), x.flatten(0, 1))
        read = flat.nonzero().flatten() if flat is not None else torch.arange(batch * count, device=x.device)
        lengths = None if flat is None else flat[read]
        h, _ = self.word(x.flatten(0, 1)[read], None, lengths)
        pooled, weights = self.word_attention(h, lengths)
        vectors = pooled.new_zeros(batch * count, pooled.shape[1]).index_copy(0, read, pooled)
        word_weights = weights.new_zeros(batch * count, width).index_copy(0, read, weights)
        h, _ = self.sentence(vectors.view(batch, count, -1), None, sentences)
        document, sentence_weights = self.sentence_attention(h, sentences)
        output = document if self.output is None else self.output(document)
        return Verdict(output, word_weights.view(batch, count, width), sentence_weights)
