"""From one sequence to another of another length: an encoder, a bridge between the states, a decoder.

Sutskever, Vinyals and Le, Sequence to sequence learning with neural networks, 2014, arXiv:1409.3215; with attention
Bahdanau, Cho and Bengio 2015, arXiv:1409.0473, and Luong, Pham and Manning 2015, arXiv:1508.04025.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, cast

import torch
from torch import Generator, Tensor, nn

from recurra.base.errors import ConfigError, ShapeError, message
from recurra.equations.cell import Cell
from recurra.layers.attention import Score
from recurra.layers.decoder import Decoder, DecoderState, Form, Generated
from recurra.layers.embedding import TokenInput
from recurra.layers.feedforward import linear
from recurra.layers.recurrent import Recurrent

__all__ = ["Bridge", "EncoderDecoder", "OneToMany"]


class Bridge(nn.Module):
    """From one vector (B, E) to the first state of recurrent layers: tanh(W e + b) for each state of each layer."""

    def __init__(self, size: int, layer: Recurrent, *, generator: Generator | None = None) -> None:
        super().__init__()
        if size < 1:
            raise ConfigError(message("Bridge", f"size must be a whole number from 1, got {size}"))
        self.size = size
        self.counts = [len(unit.state_sizes) for unit in layer.units]
        widths = [width for unit in layer.units for width in unit.state_sizes]
        self.maps = cast("list[nn.Linear]", nn.ModuleList(linear(size, width, generator) for width in widths))

    def forward(self, e: Tensor) -> Any:
        """(B, E) -> the state that the layers take."""
        if e.dim() != 2 or e.shape[1] != self.size:
            raise ShapeError(message("Bridge", f"must get (B, E) = (B, {self.size}), got {tuple(e.shape)}"))
        values = iter([torch.tanh(part(e)) for part in self.maps])
        return tuple(tuple(itertools.islice(values, count)) for count in self.counts)


class Encoded(NamedTuple):
    """memory: (B, S, M) an output per step. final: the state. summary: (B, E) the top layer's last outputs."""

    memory: Tensor
    final: Any
    summary: Tensor


class EncoderDecoder(nn.Module):
    """Many-to-many through a memory.

    >>> import torch
    >>> net = EncoderDecoder("gru", source_vocabulary=10, target_vocabulary=12, hidden_size=16, embedding_size=8)
    >>> source, target = torch.zeros(4, 7, dtype=torch.int64), torch.zeros(4, 5, dtype=torch.int64)
    >>> logits, state, weights = net(source, target, source_lengths=[7, 3, 5, 1])
    >>> logits.shape, weights.shape
    (torch.Size([4, 5, 12]), torch.Size([4, 5, 7]))
    >>> net.generate(source, start=1, end=2, max_steps=9).tokens.shape[0]
    4

    Args:
        cell: of encoder and decoder, unless `decoder_cell` is given.
        source_vocabulary: tokens of the source; None where it is features (B, S, F) of width `input_size`.
        target_vocabulary: V, tokens of the target.
        hidden_size: H, of each direction of the encoder, and of the decoder.
        num_layers: of each.
        input_size: F, see source_vocabulary.
        embedding_size: of the tokens on both sides; 0 is one-hot.
        bidirectional: whether the encoder reads in both directions.
        attention: as in `Decoder`; None hands on the encoder's state only.
        form, input_feeding: as in `Decoder`.
        bridge: the decoder's first state: "linear", tanh of a learned map of the encoder's last outputs; "copy", the
            encoder's own states (one direction, same cell); "zero".
        decoder_cell: another cell for the decoder.
        generator: random stream of the initial weights.
        options: the rest goes to both `Recurrent` stacks.

    """

    def __init__(
        self,
        cell: str | type[Cell] | Cell,
        *,
        target_vocabulary: int,
        hidden_size: int,
        source_vocabulary: int | None = None,
        input_size: int | None = None,
        num_layers: int = 1,
        embedding_size: int = 0,
        bidirectional: bool = True,
        attention: Score | Literal["monotonic"] | None = "general",
        form: Form = "luong",
        input_feeding: bool = False,
        bridge: Literal["linear", "copy", "zero"] = "linear",
        decoder_cell: str | type[Cell] | Cell | None = None,
        generator: Generator | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        where = "EncoderDecoder"
        if (source_vocabulary is None) == (input_size is None):
            raise ConfigError(
                message(where, "either source_vocabulary (tokens) or input_size (features) must be given")
            )
        if bridge not in ("linear", "copy", "zero"):
            raise ConfigError(message(where, f"bridge must be 'linear', 'copy' or 'zero', got {bridge!r}"))
        self.embedding = None
        if source_vocabulary is not None:
            self.embedding = TokenInput(source_vocabulary, embedding_size, generator=generator)
            input_size = self.embedding.width
        options |= {"generator": generator}
        self.encoder = Recurrent(
            cell, cast("int", input_size), hidden_size, num_layers, bidirectional=bidirectional, **options
        )
        self.decoder = Decoder(
            cell if decoder_cell is None else decoder_cell,
            target_vocabulary,
            hidden_size,
            num_layers,
            memory_size=None if attention is None else self.encoder.output_width,
            attention=attention or "general",
            form=form,
            input_feeding=input_feeding,
            embedding_size=embedding_size,
            **options,
        )
        self.kind = bridge
        units = self.encoder.units[-self.encoder.directions :]
        self.bridge = None
        if bridge == "linear":
            width = sum(unit.output_size for unit in units)
            self.bridge = Bridge(width, self.decoder.recurrent, generator=generator)
        elif bridge == "copy":
            pairs = zip(self.encoder.units, self.decoder.recurrent.units, strict=False)
            same = len(self.encoder.units) == num_layers and all(
                a.state_sizes == b.state_sizes and a.spec.states == b.spec.states for a, b in pairs
            )
            if not same:
                raise ConfigError(message(where, "bridge 'copy' needs one direction and the same states on both sides"))

    def encode(self, source: Tensor, lengths: Tensor | Sequence[int] | None = None) -> Encoded:
        """source (B, S) tokens or (B, S, F) features -> memory, final state and summary."""
        if self.embedding is not None:
            if source.dim() != 2 or source.is_floating_point():
                got = f"{tuple(source.shape)} {source.dtype}"
                raise ShapeError(message("EncoderDecoder", f"source must be (B, S) of whole numbers, got {got}"))
            source = self.embedding(source)
        memory, final = self.encoder(source, None, lengths)
        top = final[-self.encoder.directions :]
        return Encoded(memory, final, torch.cat([part[0] for part in top], -1))

    def begin(self, source: Tensor, lengths: Tensor | Sequence[int] | None = None) -> DecoderState:
        """The decoder's state before the first token: for `decoder.step`, a beam, or your own search."""
        encoded = self.encode(source, lengths)
        cells = None
        if self.bridge is not None:
            cells = self.bridge(encoded.summary)
        elif self.kind == "copy":
            cells = encoded.final
        memory = None if self.decoder.attention is None else encoded.memory
        return self.decoder.begin(cells, memory, None if memory is None else lengths, batch_size=source.shape[0])

    def forward(
        self,
        source: Tensor,
        target: Tensor,
        source_lengths: Tensor | Sequence[int] | None = None,
        target_lengths: Tensor | Sequence[int] | None = None,
        *,
        teacher: float = 1.0,
        generator: Generator | None = None,
    ) -> tuple[Tensor, DecoderState, Tensor | None]:
        """Logits (B, T, V) of the token after each of `target` (B, T), the state, and where it looked (B, T, S)."""
        if source.shape[:1] != target.shape[:1]:
            fact = f"source has {len(source)} rows, target {len(target)}"
            raise ShapeError(message("EncoderDecoder.forward", fact))
        state = self.begin(source, source_lengths)
        return self.decoder(target, state, target_lengths, teacher=teacher, generator=generator)

    def generate(
        self,
        source: Tensor,
        source_lengths: Tensor | Sequence[int] | None = None,
        *,
        start: int,
        end: int | None,
        max_steps: int,
    ) -> Generated:
        """The most probable token at each step, until `end` or for `max_steps`."""
        with torch.no_grad():
            return self.decoder.generate(self.begin(source, source_lengths), start, end, max_steps)


class OneToMany(nn.Module):
    """One vector in, a sequence of tokens out: the vector sets the first state, the tokens come back in.

    >>> import torch
    >>> net = OneToMany("gru", context_size=5, vocabulary_size=7, hidden_size=8)
    >>> net(torch.zeros(2, 5), torch.zeros(2, 4, dtype=torch.int64))[0].shape
    torch.Size([2, 4, 7])
    """

    def __init__(
        self,
        cell: str | type[Cell] | Cell,
        context_size: int,
        vocabulary_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        embedding_size: int = 0,
        generator: Generator | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        self.decoder = Decoder(
            cell,
            vocabulary_size,
            hidden_size,
            num_layers,
            embedding_size=embedding_size,
            generator=generator,
            **options,
        )
        self.bridge = Bridge(context_size, self.decoder.recurrent, generator=generator)

    def forward(
        self,
        context: Tensor,
        target: Tensor,
        lengths: Tensor | Sequence[int] | None = None,
        *,
        teacher: float = 1.0,
        generator: Generator | None = None,
    ) -> tuple[Tensor, DecoderState]:
        """context (B, C), target (B, T) tokens -> logits (B, T, V) of the token after each, and the state."""
        state = self.decoder.begin(self.bridge(context))
        logits, state, _ = self.decoder(target, state, lengths, teacher=teacher, generator=generator)
        return logits, state

    def generate(self, context: Tensor, *, start: int, end: int | None, max_steps: int) -> Generated:
        """The most probable token at each step, until `end` or for `max_steps`."""
        with torch.no_grad():
            return self.decoder.generate(self.decoder.begin(self.bridge(context)), start, end, max_steps)
