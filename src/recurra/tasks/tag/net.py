"""The net of sequence labelling: words and their characters in, a score for each label at each token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import torch
from torch import Generator, Tensor, nn

from recurra.data.conll import Sentence
from recurra.layers import Recurrent
from recurra.layers.crf import LinearChainCRF
from recurra.layers.embedding import TokenInput, locked_dropout
from recurra.layers.feedforward import linear
from recurra.layers.sequence import last_valid, valid_mask
from recurra.tasks.tag.settings import Architecture

__all__ = ["TagEnsemble", "TagNet", "TagPrepared", "TokenScores"]

_WIDTH = 20
"""Characters of a word that are read: of a longer one the first and the last ten."""


class TagPrepared(msgspec.Struct, frozen=True):
    """What is learnt from the training sequences beside weights."""

    words: tuple[str, ...]
    rare: tuple[bool, ...]
    """Whether a word occurs once."""
    characters: str
    labels: tuple[str, ...]
    fold: bool

    def encode(self, sentences: Sequence[Sentence]) -> list[Tensor]:
        """Return (T, 1 + 20) int64 of each sequence: word and characters, from 1; 0 is unknown, or no character."""
        words = {word: number for number, word in enumerate(self.words, 1)}
        characters = {char: number for number, char in enumerate(self.characters, 1)}
        rows: dict[str, list[int]] = {}
        encoded = []
        for sentence in sentences:
            for token in sentence.tokens:
                if token not in rows:
                    read = token if len(token) <= _WIDTH else token[: _WIDTH // 2] + token[-_WIDTH // 2 :]
                    codes = [characters.get(char, len(characters) + 1) for char in read]
                    word = words.get(token.lower() if self.fold else token, 0)
                    rows[token] = [word, *codes, *[0] * (_WIDTH - len(codes))]
            encoded.append(torch.tensor([rows[token] for token in sentence.tokens]))
        return encoded

    def codes(self, sentences: Sequence[Sentence]) -> list[Tensor]:
        """Return (T,) int64 of each sequence, its labels; -1 for one that training did not have."""
        numbers = {label: number for number, label in enumerate(self.labels)}
        return [torch.tensor([numbers.get(label, -1) for label in sentence.labels]) for sentence in sentences]


class TagNet(nn.Module):
    """Embeddings of words and characters -> recurrent layers -> scores (B, T, K) of the labels."""

    rare: Tensor

    def __init__(self, model: Architecture, prepared: TagPrepared, generator: Generator | None = None) -> None:
        super().__init__()
        self.dropout, self.unknown = model.dropout, model.unknown
        self.words = TokenInput(len(prepared.words) + 1, model.embedding, generator=generator)
        width, self.spelling = model.embedding, None
        if model.characters:
            self.characters = TokenInput(len(prepared.characters) + 2, model.characters, generator=generator)
            size = model.characters
            self.spelling = Recurrent(model.cell, size, size, bidirectional=True, generator=generator)
            width += self.spelling.output_width
        self.body = Recurrent(
            model.cell,
            width,
            model.hidden,
            model.layers,
            bidirectional=model.bidirectional,
            dropout=model.dropout if model.layers > 1 else 0.0,
            generator=generator,
        )
        self.output = linear(self.body.output_width, len(prepared.labels), generator)
        self.crf = LinearChainCRF(len(prepared.labels)) if model.crf else None
        self.register_buffer("rare", torch.tensor([False, *prepared.rare]), persistent=False)

    def forward(
        self, x: Tensor, state: Any = None, lengths: Tensor | None = None, resets: Tensor | None = None
    ) -> tuple[Tensor, Any]:
        """Return scores (B, T, K) for x (B, T, 1 + 20) int64, and the state of the recurrent layers."""
        features = locked_dropout(self.embed(x), self.dropout, self.training)
        y, state = self.body(features, state, lengths=lengths, resets=resets)
        return self.output(locked_dropout(y, self.dropout, self.training)), state

    def embed(self, x: Tensor) -> Tensor:
        """Return what the recurrent layers read, (B, T, F)."""
        words = x[..., 0]
        if self.training and self.unknown:
            hidden = self.rare[words] & (torch.rand(words.shape) < self.unknown)
            words = words.masked_fill(hidden, 0)
        features = self.words(words)
        if self.spelling is None:
            return features
        # A batch has each word several times.
        spelled, rows = x[..., 1:].flatten(0, -2).unique(dim=0, return_inverse=True)
        lengths = (spelled != 0).sum(1).clamp_min(1)
        y, _ = self.spelling(self.characters(spelled), None, lengths=lengths)
        half = y.shape[2] // 2
        ends = torch.cat([last_valid(y[..., :half], lengths), y[:, 0, half:]], -1)
        return torch.cat([features, ends[rows].view(*x.shape[:-1], -1)], -1)

    def losses(self, scores: Tensor, labels: Tensor, lengths: Tensor | None) -> Tensor:
        """Return nats of each sequence (B,); labels (B, T), those behind its end are not read."""
        if self.crf is not None:
            return -self.crf.log_likelihood(scores, labels, lengths)
        losses = nn.functional.cross_entropy(scores.transpose(1, 2), labels, reduction="none")
        return losses.sum(1) if lengths is None else (losses * valid_mask(lengths, labels.shape[1])).sum(1)

    def decode(self, scores: Tensor, lengths: Tensor | None) -> Tensor:
        """Return labels (B, T) int64."""
        return scores.argmax(2) if self.crf is None else self.crf.decode(scores, lengths)


class TokenScores(nn.Module):
    """The net behind its embeddings, as the diagnostics inspect it."""

    def __init__(self, body: nn.Module, output: nn.Module) -> None:
        super().__init__()
        self.body, self.output = body, output

    def forward(self, features: Tensor, state: Any = None, lengths: Tensor | None = None) -> tuple[Tensor, Any]:
        """Return scores (B, T, K) for features (B, T, F)."""
        y, state = self.body(features, state, lengths=lengths)
        return self.output(y), state


class TagEnsemble(nn.Module):
    """Nets of several seeds: mean scores and transitions."""

    def __init__(self, nets: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(nets)

    @torch.no_grad()
    def tag(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        """Return labels (B, T) int64 for x (B, T, 1 + 20)."""
        nets: list[Any] = list(self.members)
        scores = torch.stack([net(x, lengths=lengths)[0] for net in nets]).mean(0)
        if nets[0].crf is None or len(nets) == 1:
            return nets[0].decode(scores, lengths)
        joint = LinearChainCRF(scores.shape[2])
        for name, parameter in joint.named_parameters():
            parameter.copy_(torch.stack([dict(net.crf.named_parameters())[name] for net in nets]).mean(0))
        return joint.decode(scores, lengths)
