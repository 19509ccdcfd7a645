"""The measure against a count by hand, whatever the number of rows."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from recurra.base.errors import ConfigError, DataError
from recurra.tasks.text.score import Score, score


class LastTwo(nn.Module):
    """Logits that depend on the present and the last token only: two steps of warm-up are all it needs."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(6, 5, 5, generator=torch.Generator().manual_seed(0)))
        self.reads = 0

    def forward(self, tokens: Tensor, state: Any = None, resets: Tensor | None = None) -> tuple[Tensor, Tensor]:
        # Row 5 of the table stands for "nothing before".
        before = torch.full_like(tokens[:, :1], 5) if state is None else state
        previous = torch.cat([before, tokens[:, :-1]], dim=1)
        if resets is not None:
            previous = previous.masked_fill(resets, 5)
        self.reads += tokens.numel()
        return self.table[previous, tokens], tokens[:, -1:]


@torch.no_grad()
def by_hand(model: LastTwo, tokens: np.ndarray) -> float:
    total = 0.0
    for position in range(1, len(tokens)):
        before = 5 if position == 1 else int(tokens[position - 2])
        logits = model.table[before, int(tokens[position - 1])].double()
        total -= float(logits.log_softmax(-1)[int(tokens[position])])
    return total / (len(tokens) - 1)


@given(st.integers(2, 70), st.integers(1, 9), st.integers(1, 5), st.integers(1, 20), st.integers(0, 9))
@settings(deadline=None, max_examples=80)
def test_every_symbol_counts_once_however_it_is_cut(size: int, rows: int, warm_up: int, chunk: int, seed: int) -> None:
    tokens = np.random.default_rng(seed).integers(0, 5, size).astype(np.uint8)
    model = LastTwo()
    result = score(model, tokens, rows=rows, warm_up=warm_up, chunk=chunk)
    assert result.positions == size - 1
    assert result.nats == pytest.approx(by_hand(model, tokens), rel=1e-6)


def test_without_warm_up_rows_begin_blind() -> None:
    tokens = np.arange(40, dtype=np.uint8) % 5
    model = LastTwo()
    assert score(model, tokens, rows=4, warm_up=0).nats != pytest.approx(by_hand(model, tokens), rel=1e-6)


def test_one_stream_reads_nothing_twice() -> None:
    model = LastTwo()
    score(model, np.zeros(101, dtype=np.uint8), chunk=7)
    assert model.reads == 100


def test_units() -> None:
    result = Score(math.log(4), 10)
    assert result.bits == pytest.approx(2)
    assert result.perplexity == pytest.approx(4)
    assert Score(1e4, 1).perplexity == math.inf
    assert result.numbers()["positions"] == 10


def test_training_mode_is_left_as_it_was() -> None:
    model = LastTwo().train()
    score(model, np.zeros(5, dtype=np.uint8))
    assert model.training


def test_bad_sizes_are_refused() -> None:
    with pytest.raises(DataError, match="at least 2 symbols are needed, the text has 1"):
        score(LastTwo(), np.zeros(1, dtype=np.uint8))
    with pytest.raises(ConfigError, match="rows and chunk must be >= 1"):
        score(LastTwo(), np.zeros(9, dtype=np.uint8), rows=0)
