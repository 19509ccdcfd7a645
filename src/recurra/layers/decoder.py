"""The decoder: a recurrent net that writes tokens, and may look into a memory while it does.

Two forms. Luong's: the recurrence runs first and its output asks the memory; so, told the true tokens and without input
feeding, it runs over all steps at once through the fast kernels. Bahdanau's: the memory is asked first, with the state
of the step before, so every step waits for the last.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Generator, Tensor, nn

from recurra.base.errors import ConfigError, ShapeError, message
from recurra.equations.cell import Cell
from recurra.layers.attention import Attention, Memory, Score
from recurra.layers.embedding import TokenInput
from recurra.layers.feedforward import linear
from recurra.layers.monotonic import MonotonicAttention
from recurra.layers.output import OutputLayer
from recurra.layers.recurrent import Recurrent
from recurra.layers.sequence import blank_padding, check_lengths

__all__ = ["Decoder", "DecoderState", "Form", "Generated"]

Form = Literal["luong", "bahdanau"]


class DecoderState(NamedTuple):
    """Between two tokens; every tensor has one row per sequence, so `recurra.base.state.take` reorders a beam.

    cells: the state of the recurrent layers. attended: (B, A) the last attentional vector, with input feeding. weights:
    (B, T) where the last output looked. memory: what it looks into.
    """

    cells: Any
    attended: Tensor | None = None
    weights: Tensor | None = None
    memory: Memory | None = None


class Generated(NamedTuple):
    """tokens: (B, T) int64, the end token included, 0 behind it. lengths: (B,). weights: (B, T, S) or None."""

    tokens: Tensor
    lengths: Tensor
    weights: Tensor | None


class Decoder(nn.Module):
    """Tokens in, logits of the next token out.

    Args:
        cell: any cell.
        vocabulary_size: V.
        hidden_size: H.
        num_layers: of the recurrence.
        memory_size: M, width of what attention reads; None where there is no attention.
        attention: "dot", "scaled", "general" (Luong et al. 2015, arXiv:1508.04025), "additive" (Bahdanau et al. 2015,
            arXiv:1409.0473) or "monotonic" (Raffel et al. 2017, arXiv:1704.00784).
        form: "luong": h_t = cell(y_(t-1)), then attention, then tanh(W [c_t; h_t]). "bahdanau": attention by the state
            before, then s_t = cell([y_(t-1); c_t]), then tanh(W [s_t; y_(t-1); c_t]).
        input_feeding: Luong's: the attentional vector is read by the next step too.
        attended_size: A, width of that vector and of what the output layer reads; H by default.
        embedding_size: of the tokens; 0 is one-hot.
        generator: random stream of the initial weights.
        options: the rest goes to `Recurrent`.

    """

    def __init__(
        self,
        cell: str | type[Cell] | Cell,
        vocabulary_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        memory_size: int | None = None,
        attention: Score | Literal["monotonic"] = "general",
        form: Form = "luong",
        input_feeding: bool = False,
        attended_size: int | None = None,
        embedding_size: int = 0,
        generator: Generator | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        where = "Decoder"
        if form not in ("luong", "bahdanau"):
            raise ConfigError(message(where, f"form must be 'luong' or 'bahdanau', got {form!r}"))
        if input_feeding and (memory_size is None or form == "bahdanau"):
            fact = "input feeding is for attention in Luong's form"
            raise ConfigError(message(where, fact, hint="Bahdanau's reads the context anyway."))
        if {"bidirectional", "reverse"} & set(options):
            raise ConfigError(message(where, "a decoder reads forwards", hint="drop bidirectional and reverse."))
        self.form, self.input_feeding, self.vocabulary_size = form, input_feeding, vocabulary_size
        self.embedding = TokenInput(vocabulary_size, embedding_size, generator=generator)
        attended = hidden_size if attended_size is None else attended_size
        extra = 0 if memory_size is None else attended if input_feeding else memory_size if form == "bahdanau" else 0
        width = self.embedding.width
        self.recurrent = Recurrent(cell, width + extra, hidden_size, num_layers, generator=generator, **options)
        top = self.recurrent.units[-1].output_size
        features = self.recurrent.output_width
        self.attention: Attention | MonotonicAttention | None = None
        if memory_size is not None:
            query = top if form == "bahdanau" else features
            if attention == "monotonic":
                self.attention = MonotonicAttention(query, memory_size, generator=generator)
            else:
                self.attention = Attention(attention, query, memory_size, generator=generator)
            joined = features + memory_size + (width if form == "bahdanau" else 0)
            self.join = linear(joined, attended, generator)
            features = attended
        self.attended_size = attended
        self.output = OutputLayer(features, vocabulary_size, generator=generator)

    def begin(
        self, cells: Any = None, memory: Tensor | None = None, lengths: Any = None, *, batch_size: int = 1
    ) -> DecoderState:
        """The state before the first token.

        cells: of the recurrent layers; None is their initial state. memory: (B, S, M) with its lengths (B,), what an
        encoder wrote. batch_size: B where neither says it.
        """
        if (memory is None) != (self.attention is None):
            fact = "memory must be given" if memory is None else "there is no attention to read a memory"
            raise ConfigError(message("Decoder.begin", fact))
        if memory is not None:
            batch_size = memory.shape[0]
        if cells is None:
            cells = self.recurrent.initial_state(batch_size)
        units = self.recurrent.units
        cells = tuple(unit.state_type(*part) for unit, part in zip(units, cells, strict=True))
        if self.attention is None or memory is None:
            return DecoderState(cells)
        prepared = self.attention.prepare(memory, lengths)
        fed = memory.new_zeros(batch_size, self.attended_size) if self.input_feeding else None
        return DecoderState(cells, fed, self.attention.first_weights(prepared), prepared)

    def step(self, token: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        """One token (B,) int64 -> logits (B, V) of the next, and the state; `state.weights` says where it looked."""
        if token.dim() != 1 or token.is_floating_point():
            got = f"{tuple(token.shape)} {token.dtype}"
            raise ShapeError(message("Decoder.step", f"token must be (B,) of whole numbers, got {got}"))
        x = self.embedding(token)
        if self.attention is None or state.memory is None:
            h, cells = self.recurrent.step(x, state.cells)
            return self.output(h), DecoderState(cells)
        if self.form == "bahdanau":
            query = state.cells[-1][0]
            context, weights = self.attention(query.unsqueeze(1), state.memory, state.weights)
            h, cells = self.recurrent.step(torch.cat((x, context[:, 0]), -1), state.cells)
            attended = torch.tanh(self.join(torch.cat((h, x, context[:, 0]), -1)))
        else:
            read = x if state.attended is None else torch.cat((x, state.attended), -1)
            h, cells = self.recurrent.step(read, state.cells)
            context, weights = self.attention(h.unsqueeze(1), state.memory, state.weights)
            attended = torch.tanh(self.join(torch.cat((context[:, 0], h), -1)))
        fed = attended if self.input_feeding else None
        return self.output(attended), DecoderState(cells, fed, weights[:, 0], state.memory)

    def forward(
        self,
        tokens: Tensor,
        state: DecoderState,
        lengths: Tensor | Sequence[int] | None = None,
        *,
        teacher: float = 1.0,
        generator: Generator | None = None,
    ) -> tuple[Tensor, DecoderState, Tensor | None]:
        """Logits (B, T, V) of the token after each, the state, and the attention weights (B, T, S).

        tokens: (B, T) int64, the true ones, the start token first. lengths: (B,); behind them logits and weights are 0.
        teacher: the share of tokens that are the true ones; the others are the net's own best guesses, drawn per row
        and step from `generator` (Bengio et al. 2015, arXiv:1506.03099); 0 runs free behind the first token.
        """
        where = "Decoder.forward"
        if tokens.dim() != 2 or tokens.is_floating_point():
            got = f"{tuple(tokens.shape)} {tokens.dtype}"
            raise ShapeError(message(where, f"tokens must be (B, T) of whole numbers, got {got}"))
        if not 0 <= teacher <= 1:
            raise ConfigError(message(where, f"teacher must lie in [0, 1], got {teacher}"))
        lengths = check_lengths(where, lengths, tokens)
        told = teacher == 1 or tokens.shape[1] < 2
        if told and self.form == "luong" and not self.input_feeding:
            logits, state, weights = self._at_once(tokens, state, lengths)
        else:
            logits, state, weights = self._step_by_step(tokens, state, lengths, teacher, generator)
        weights = None if weights is None else blank_padding(weights, lengths)
        return blank_padding(logits, lengths), state, weights

    def _at_once(
        self, tokens: Tensor, state: DecoderState, lengths: Tensor | None
    ) -> tuple[Tensor, DecoderState, Tensor | None]:
        h, cells = self.recurrent(self.embedding(tokens), state.cells, lengths)
        if self.attention is None or state.memory is None:
            return self.output(h), DecoderState(cells), None
        contexts, weights = self.attention(h, state.memory, state.weights)
        attended = torch.tanh(self.join(torch.cat((contexts, h), -1)))
        first = self.attention.first_weights(state.memory) if state.weights is None else state.weights
        last = first
        if tokens.shape[1]:
            last = weights[:, -1]
            if lengths is not None:
                at = weights[torch.arange(len(weights), device=weights.device), (lengths - 1).clamp(min=0)]
                last = torch.where(lengths[:, None] > 0, at, first)
        return self.output(attended), DecoderState(cells, None, last, state.memory), weights

    def _step_by_step(
        self,
        tokens: Tensor,
        state: DecoderState,
        lengths: Tensor | None,
        teacher: float,
        generator: Generator | None,
    ) -> tuple[Tensor, DecoderState, Tensor | None]:
        truth = torch.rand(tokens.shape, generator=generator).to(tokens.device) < teacher
        logits: list[Tensor] = []
        weights: list[Tensor] = []
        for t in range(tokens.shape[1]):
            token = tokens[:, t]
            if logits and teacher < 1:
                token = torch.where(truth[:, t], token, logits[-1].argmax(-1))
            before = state
            y, state = self.step(token, state)
            if lengths is not None:
                state = _hold(lengths > t, state, before)
            logits.append(y)
            if state.weights is not None:
                weights.append(state.weights)
        if not logits:
            like = self.output.bias
            empty = None if state.memory is None else like.new_zeros(len(tokens), 0, state.memory.values.shape[1])
            return like.new_zeros(len(tokens), 0, self.vocabulary_size), state, empty
        return torch.stack(logits, 1), state, torch.stack(weights, 1) if weights else None

    @torch.no_grad()
    def generate(self, state: DecoderState, start: int, end: int | None, max_steps: int) -> Generated:
        """The most probable token at each step, from `start` until `end` or for `max_steps`."""
        if max_steps < 0:
            raise ConfigError(message("Decoder.generate", f"max_steps must be from 0, got {max_steps}"))
        batch = state.cells[0][0].shape[0]
        device = self.output.bias.device
        token = torch.full((batch,), start, device=device)
        lengths = torch.full((batch,), max_steps, device=device)
        running = torch.ones(batch, dtype=torch.bool, device=device)
        tokens: list[Tensor] = []
        weights: list[Tensor] = []
        for t in range(max_steps):
            if not bool(running.any()):
                break
            logits, state = self.step(token, state)
            token = logits.argmax(-1)
            tokens.append(torch.where(running, token, token.new_zeros(())))
            if state.weights is not None:
                weights.append(state.weights * running.unsqueeze(1))
            if end is not None:
                ended = running & (token == end)
                lengths = torch.where(ended, torch.full_like(lengths, t + 1), lengths)
                running &= ~ended
        drawn = torch.stack(tokens, 1) if tokens else torch.zeros(batch, 0, dtype=torch.int64, device=device)
        return Generated(drawn, lengths, torch.stack(weights, 1) if weights else None)


def _hold(going: Tensor, new: DecoderState, old: DecoderState) -> DecoderState:
    """`new` in the rows that still go on, `old` in the others; the memory is the same in both."""

    def choose(after: Tensor, before: Tensor) -> Tensor:
        return torch.where(going[:, None], after, before)

    cells = tuple(type(a)(*map(choose, a, b)) for a, b in zip(new.cells, old.cells, strict=True))
    fed = None if new.attended is None or old.attended is None else choose(new.attended, old.attended)
    weights = None if new.weights is None or old.weights is None else choose(new.weights, old.weights)
    return DecoderState(cells, fed, weights, new.memory)
