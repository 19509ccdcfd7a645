"""Monotonic attention: the place in the memory only ever moves on, so a decoder can run while its source still comes.

Raffel, Luong, Liu, Weiss and Eck, Online and linear-time attention by enforcing monotonic alignments, 2017,
arXiv:1704.00784. For every output the decoder walks from where it last stopped: at memory step t it stops with
probability p_t. Training uses the expected alignment of that walk, inference the walk itself.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import softplus

from recurra.base.errors import ConfigError, ShapeError, message
from recurra.layers.attention import Memory
from recurra.layers.feedforward import linear
from recurra.layers.sequence import blank_padding, check_lengths, check_sequence, valid_mask

__all__ = ["MonotonicAttention", "MonotonicStream", "expected_alignment"]


def expected_alignment(stop: Tensor, previous: Tensor, go_on: Tensor | None = None) -> Tensor:
    """How probable it is that output s stops at memory step t: (B, S, T).

        q_(s,t) = go_on_(s,t-1) q_(s,t-1) + a_(s-1,t)
        a_(s,t) = stop_(s,t) q_(s,t)

    stop: (B, S, T) probabilities. previous: (B, T), the alignment of the output before the first. go_on: 1 - stop,
    where the caller knows it better than by that difference.

    The recursion runs over the diagonals s + t, on each for all s at once: S + T steps of multiply and add. The paper's
    form by cumulative products divides by them, and they underflow.
    """
    if stop.dim() != 3 or previous.shape != (stop.shape[0], stop.shape[2]):
        fact = f"stop must be (B, S, T) and previous (B, T), got {tuple(stop.shape)} and {tuple(previous.shape)}"
        raise ShapeError(message("expected_alignment", fact))
    batch, outputs, steps = stop.shape
    if not outputs or not steps:
        return stop.new_zeros(stop.shape)
    go_on = 1 - stop if go_on is None else go_on
    stops, passes = _skewed(stop), _skewed(go_on)
    # What the output before the first hands down enters each diagonal at its first row.
    enters = nn.functional.pad(previous, (0, outputs - 1)).unbind(1)
    q = a = stop.new_zeros(batch, outputs)
    diagonals = []
    for d in range(outputs + steps - 1):
        above = torch.cat((enters[d].unsqueeze(1), a[:, :-1]), 1)
        q = passes[d - 1] * q + above if d else above
        a = stops[d] * q
        diagonals.append(a)
    index = torch.arange(outputs, device=stop.device)[:, None] + torch.arange(steps, device=stop.device)
    return torch.stack(diagonals, 2).gather(2, index.expand(batch, -1, -1))


def _skewed(a: Tensor) -> tuple[Tensor, ...]:
    """(B, S, T) -> its diagonals s + t = 0, 1, ..., each (B, S); 0 where a row has no such step."""
    _, outputs, steps = a.shape
    width = outputs + steps
    # Rows padded to S + T and laid end to end, then cut one shorter: row s moves s places to the right.
    flat = nn.functional.pad(a, (0, outputs)).flatten(1)[:, : outputs * (width - 1)]
    return flat.unflatten(1, (outputs, width - 1)).unbind(2)


class MonotonicAttention(nn.Module):
    """From queries into a memory, moving on only.

        e = g v . tanh(W q + U k + b) / |v| + r
        p = sigmoid(e)

    Args:
        query_size: Q.
        memory_size: M.
        attention_size: A, width of v; Q by default.
        offset: what r starts at: negative, so that the walk begins by going on.
        noise: standard deviation of what is added to e in training, which drives p towards 0 and 1.
        generator: random stream of the initial weights.

    `mode` is "expected" (training; also the default in evaluation) or "hard": stop where p > 1/2, which is what
    `stream` does in constant memory. Where the walk finds no place, the context is 0.

    """

    mode: Literal["expected", "hard"] = "expected"

    def __init__(
        self,
        query_size: int,
        memory_size: int,
        attention_size: int | None = None,
        *,
        offset: float = -1.0,
        noise: float = 1.0,
        generator: Generator | None = None,
    ) -> None:
        super().__init__()
        inner = attention_size or query_size
        if min(query_size, memory_size, inner) < 1 or noise < 0:
            got = f"{query_size}, {memory_size}, {inner}, {noise}"
            fact = f"sizes must be whole numbers from 1 and noise from 0, got {got}"
            raise ConfigError(message("MonotonicAttention", fact))
        self.score = "monotonic"
        self.query_size, self.memory_size, self.noise = query_size, memory_size, noise
        self.key = linear(memory_size, inner, generator, bias=False)
        self.query = linear(query_size, inner, generator)
        self.v = nn.Parameter(torch.randn(inner, generator=generator))
        self.gain = nn.Parameter(torch.tensor(1 / math.sqrt(inner)))
        self.offset = nn.Parameter(torch.tensor(offset))

    def prepare(self, values: Tensor, lengths: Tensor | None = None) -> Memory:
        """values (B, T, M) -> the memory, its keys computed; what stands on the padding does not matter."""
        where = "MonotonicAttention.prepare"
        check_sequence(where, values, self.memory_size, self.v, "M", "values")
        lengths = check_lengths(where, lengths, values)
        values = blank_padding(values, lengths)
        valid = torch.ones(values.shape[:2], dtype=torch.bool, device=values.device)
        if lengths is not None:
            valid = valid_mask(lengths, values.shape[1])
        return Memory(values, self.key(values), valid)

    def first_weights(self, memory: Memory) -> Tensor:
        """Where the walk begins: (B, T), all on the first step."""
        start = torch.zeros(memory.valid.shape, dtype=memory.values.dtype, device=memory.values.device)
        start[:, :1] = 1
        return start

    def energies(self, query: Tensor, memory: Memory) -> Tensor:
        """query (B, S, Q) -> e (B, S, T)."""
        check_sequence("MonotonicAttention", query, self.query_size, self.v, "Q", "query")
        weight = self.v * (self.gain / self.v.norm())
        return torch.tanh(self.query(query).unsqueeze(2) + memory.keys.unsqueeze(1)) @ weight + self.offset

    def forward(self, query: Tensor, memory: Memory, previous: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """query (B, S, Q) -> contexts (B, S, M) and alignments (B, S, T).

        previous: (B, T), the alignment of the output before; None begins on the first step.
        """
        energies = self.energies(query, memory)
        previous = self.first_weights(memory) if previous is None else previous
        if self.mode == "hard":
            stop = (energies > 0).to(energies.dtype)
            go_on = 1 - stop
        else:
            if self.training and self.noise:
                energies = energies + self.noise * torch.randn_like(energies)
            stop, go_on = torch.sigmoid(energies), torch.exp(-softplus(energies))
        valid = memory.valid.unsqueeze(1)
        # No stop on the padding; it is behind all else, so whether the walk goes on there does not matter.
        stop = torch.where(valid, stop, stop.new_zeros(()))
        alignment = expected_alignment(stop, previous, go_on)
        return alignment @ memory.values, alignment

    def stream(self) -> MonotonicStream:
        """The hard walk over one sequence, memory step by memory step."""
        return MonotonicStream(self)


class MonotonicStream:
    """The walk in constant memory: it knows the frame it stands on, and nothing before or after.

    >>> import torch
    >>> live = MonotonicAttention(4, 3).stream()
    >>> live.push(torch.zeros(3))
    >>> context = live.attend(torch.zeros(4))          # None: this is not the place, push the next frame
    >>> context is None
    True

    The next output begins its search on the frame where the last one stopped.
    """

    def __init__(self, attention: MonotonicAttention) -> None:
        self.attention = attention
        self._memory: Memory | None = None

    def push(self, frame: Tensor) -> None:
        """Step on to the next memory step (M,)."""
        if frame.dim() != 1:
            raise ShapeError(message("MonotonicStream.push", f"a frame must be (M,), got {tuple(frame.shape)}"))
        with torch.no_grad():
            self._memory = self.attention.prepare(frame.view(1, 1, -1))

    def attend(self, query: Tensor) -> Tensor | None:
        """The frame as context (M,) for the query (Q,), or None where the walk goes on."""
        if self._memory is None:
            return None
        with torch.no_grad():
            stops = bool(self.attention.energies(query.view(1, 1, -1), self._memory) > 0)
        return self._memory.values[0, 0] if stops else None
