"""NARMA against its formula with the paper's indices, and its habit of running away."""

from __future__ import annotations

import numpy as np
import pytest

from recurra.base.errors import DataError
from recurra.data.sets.narma import narma, narma_response


@pytest.mark.parametrize("order", [10, 20, 30])
def test_the_formula_with_sums_written_out(order):
    """y(t+1) = a y(t) + b y(t) sum_{i=0}^{n-1} y(t-i) + c u(t-n+1) u(t) + d, everything 0 before time 0."""
    a, b, c, d = {10: (0.3, 0.05, 1.5, 0.1), 20: (0.3, 0.05, 1.5, 0.01), 30: (0.2, 0.04, 1.5, 0.001)}[order]
    u = np.random.default_rng(1).uniform(0, 0.5, 120)
    y = {0: 0.0}
    for t in range(119):
        total = sum(y.get(t - i, 0.0) for i in range(order))
        late = u[t - order + 1] if t >= order - 1 else 0.0
        right = a * y[t] + b * y[t] * total + c * late * u[t] + d
        y[t + 1] = np.tanh(right) if order == 20 else right
    np.testing.assert_allclose(narma_response(u, order), [y[t] for t in range(120)], rtol=0, atol=1e-14)


def test_the_output_depends_on_inputs_before_it_only():
    u = np.random.default_rng(2).uniform(0, 0.5, 60)
    other = u.copy()
    other[40] += 0.1
    one, two = narma_response(u), narma_response(other)
    np.testing.assert_array_equal(one[:41], two[:41])
    assert one[41] != two[41]


def test_a_run_that_runs_away_is_drawn_again(monkeypatch):
    """With this seed the first draw diverges: plain NumPy says so, and the generator gives another, bounded one."""
    steps = 4000

    def first_draw(seed):
        return np.random.default_rng(seed).uniform(0.0, 0.5, steps)

    bad = next(seed for seed in range(400) if not np.isfinite(narma_response(first_draw(seed))).all())
    u, y = narma(steps, discard=0, seed=bad)
    assert np.isfinite(y).all()
    assert y.max() < 2
    assert not np.array_equal(u.ravel(), first_draw(bad))
    np.testing.assert_array_equal(narma_response(u.ravel()), y.ravel())
    monkeypatch.setattr("recurra.data.sets.narma.ATTEMPTS", 1)
    with pytest.raises(DataError, match="ran away"):
        narma(steps, discard=0, seed=bad)


def test_the_level():
    u, y = narma(4000, seed=3)
    assert u.shape == y.shape == (4000, 1)
    assert 0.36 < y.mean() < 0.42
    assert 0.1 < y.std() < 0.13


@pytest.mark.parametrize(
    ("make", "part"),
    [
        (lambda: narma(0), "steps"),
        (lambda: narma(5, order=11), "order"),
        (lambda: narma(5, discard=-1), "discard"),
        (lambda: narma_response(np.zeros((3, 1))), "vector"),
        (lambda: narma_response(np.array([np.nan])), "finite"),
    ],
)
def test_what_cannot_be_is_an_error(make, part):
    with pytest.raises(DataError, match=part):
        make()
