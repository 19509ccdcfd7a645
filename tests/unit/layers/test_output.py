"""Features to logits."""

from __future__ import annotations

import pytest
import torch

from recurra.base.errors import ShapeError
from recurra.layers.embedding import TokenInput
from recurra.layers.output import OutputLayer


def test_untied_is_linear() -> None:
    layer = OutputLayer(4, 7)
    x = torch.randn(2, 3, 4)
    torch.testing.assert_close(layer(x), x @ layer.weight.T + layer.bias)
    assert sum(p.numel() for p in layer.parameters()) == 7 * 4 + 7


@pytest.mark.parametrize(("features", "extra"), [(6, 0), (4, 6 * 4)])
def test_tied_shares_the_table_and_projects_where_widths_differ(features: int, extra: int) -> None:
    table = TokenInput(7, 6).weight
    assert table is not None
    layer = OutputLayer(features, 7, tied=table)
    assert layer.weight is table
    assert layer(torch.randn(2, features)).shape == (2, 7)
    assert sum(p.numel() for p in layer.parameters()) == 7 * 6 + 7 + extra
    layer(torch.randn(2, features)).sum().backward()
    assert table.grad is not None


def test_a_table_of_another_vocabulary_is_refused() -> None:
    table = TokenInput(8, 6).weight
    with pytest.raises(ShapeError, match=r"tied must be \(V, D\) = \(7, D\), got \(8, 6\)"):
        OutputLayer(6, 7, tied=table)
