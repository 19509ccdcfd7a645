"""Tokens to vectors."""

from __future__ import annotations

import pytest
import torch

from recurra.base.errors import ShapeError
from recurra.layers.embedding import TokenInput, locked_dropout


def test_one_hot_picks_columns_of_the_next_matrix() -> None:
    layer, matrix = TokenInput(5), torch.randn(3, 5)
    tokens = torch.tensor([[0, 4, 2]])
    assert torch.equal(layer(tokens) @ matrix.T, matrix.T[tokens])
    assert layer.width == 5
    assert list(layer.parameters()) == []
    assert layer.state_dict() == {}


def test_a_table_is_drawn_from_its_generator() -> None:
    first, again = (TokenInput(50, 40, scale=0.2, generator=torch.Generator().manual_seed(3)) for _ in range(2))
    assert first.weight is not None
    assert again.weight is not None
    assert torch.equal(first.weight, again.weight)
    assert float(first.weight.detach().std()) == pytest.approx(0.2, rel=0.05)
    assert first(torch.zeros(2, 3, dtype=torch.long)).shape == (2, 3, 40)
    assert first(torch.zeros(2, dtype=torch.long)).shape == (2, 40)


def test_bad_sizes_are_refused() -> None:
    with pytest.raises(ShapeError, match="vocabulary_size must be >= 1"):
        TokenInput(0)


def test_locked_dropout_drops_a_unit_at_every_step_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    y = locked_dropout(torch.ones(400, 7, 50), 0.25)
    assert torch.equal(y, y[:, :1].expand_as(y))
    assert y.unique().tolist() == pytest.approx([0, 1 / 0.75])
    assert float(y.mean()) == pytest.approx(1, abs=0.02)
    x = torch.randn(2, 3, 4)
    assert locked_dropout(x, 0.5, training=False) is x
    assert locked_dropout(x, 0.0) is x
    assert torch.equal(locked_dropout(x, 1.0), torch.zeros_like(x))
