"""Random walks: the statistics that make them what they are."""

from __future__ import annotations

import numpy as np
import pytest

from recurra.base.errors import DataError
from recurra.data.sets import random_walk


def correlation(values: np.ndarray, lag: int) -> float:
    return float(np.corrcoef(values[:-lag], values[lag:])[0, 1])


def test_returns_of_a_walk_have_no_memory() -> None:
    values = random_walk.returns(40_000, seed=3)[:, 0]
    assert abs(values.mean()) < 5 * 0.01 / np.sqrt(40_000)
    assert values.std() == pytest.approx(0.01, rel=0.02)
    for lag in (1, 2, 5):
        assert abs(correlation(values, lag)) < 5 / np.sqrt(40_000)


def test_memory_is_the_correlation_and_leaves_the_variance() -> None:
    values = random_walk.returns(40_000, memory=0.4, seed=3)[:, 0]
    assert correlation(values, 1) == pytest.approx(0.4, abs=0.02)
    assert correlation(values, 2) == pytest.approx(0.16, abs=0.02)
    assert values.std() == pytest.approx(0.01, rel=0.03)


def test_prices_are_summed_returns() -> None:
    prices = random_walk.walk(500, start=50.0, seed=1)[:, 0]
    np.testing.assert_allclose(np.diff(np.log(prices)), random_walk.returns(500, seed=1)[1:, 0], atol=1e-12)
    assert prices[0] == pytest.approx(50 * np.exp(random_walk.returns(1, seed=1)[0, 0]))


def test_impossible_walks_are_refused() -> None:
    for options in ({"memory": 1.0}, {"volatility": 0.0}):
        with pytest.raises(DataError, match="needs steps >= 1"):
            random_walk.returns(10, **options)
    with pytest.raises(DataError, match="got 0"):
        random_walk.returns(0)
