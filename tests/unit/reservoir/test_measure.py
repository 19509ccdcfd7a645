"""Memory capacity and its bound, valid prediction time, NRMSE, forgetting: against closed forms and by hand."""

from __future__ import annotations

import numpy as np
import pytest

from recurra.base.errors import DataError, ShapeError
from recurra.reservoir.compose import ParallelReservoir
from recurra.reservoir.measure import forgetting, memory_capacity, nrmse, nrmse_at, valid_prediction_time
from recurra.reservoir.reservoir import Reservoir


def delay_line(units):
    """Each unit repeats the one before: it holds the last `units` inputs and nothing else."""
    return Reservoir.from_weights(np.eye(units, k=-1), np.eye(units)[:, :1], activation="identity")


def test_a_delay_line_recalls_what_it_holds():
    """Unit j holds u(t - j): delays 1 .. N - 1 are recalled whole, later ones not at all."""
    curve = memory_capacity(delay_line(12), longest=30)
    np.testing.assert_allclose(curve.recalled[:11], 1.0, atol=1e-9)
    assert curve.recalled[11:].max() < 0.02
    assert curve.capacity == pytest.approx(11, abs=0.1)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("activation", ["identity", "tanh"])
@pytest.mark.parametrize("units", [10, 40])
def test_capacity_is_at_most_the_number_of_units(units, activation, seed):
    reservoir = Reservoir(
        units, 1, activation=activation, spectral_radius=0.95, density=1.0, input_scaling=0.1, seed=seed
    )
    curve = memory_capacity(reservoir, seed=seed)
    assert 0.2 * units < curve.capacity <= units
    assert curve.recalled.min() >= 0
    assert curve.recalled.max() <= 1


def test_a_ring_of_linear_units_in_closed_form():
    """Unit j holds sum_m r^(j + N m) u(t - j - N m), so MC_k = (1 - r^2N) r^(2N floor(k / N)): N in all, with k = 0."""
    r, n = 0.95, 15
    ring = np.roll(np.eye(n), 1, axis=0) * r
    curve = memory_capacity(
        Reservoir.from_weights(ring, np.eye(n)[:, :1], activation="identity"), longest=150, steps=20_000
    )
    want = (1 - r ** (2 * n)) * r ** (2 * n * (curve.delays // n))
    np.testing.assert_allclose(curve.recalled, want, atol=0.02)
    assert curve.capacity == pytest.approx(n - want[0], abs=0.3)


def test_a_plain_reading_of_the_definition():
    reservoir = Reservoir(20, 1, seed=0)
    curve = memory_capacity(reservoir, longest=10, steps=500, ridge=1e-9, seed=3)
    u = np.random.default_rng(3).uniform(-0.8, 0.8, 10 + 1000)
    h = reservoir(u[None, :, None])[0][0]
    for delay in (1, 4, 10):
        a = np.concatenate([h, np.ones((len(h), 1))], 1)
        target = np.roll(u, delay)
        train, test = slice(10, 510), slice(510, 1010)
        said = a[test] @ np.linalg.lstsq(a[train], target[train], rcond=None)[0]
        squared = np.corrcoef(said, target[test])[0, 1] ** 2
        want = max(0.0, (squared - 1 / 500) / (1 - 1 / 500))
        assert curve.recalled[delay - 1] == pytest.approx(want, abs=1e-5)


def test_nrmse_is_one_for_the_mean():
    true = 0.1 * np.sin(np.arange(1000) / 7)[None, :, None]
    assert nrmse(np.full_like(true, true.mean()), true) == pytest.approx(1.0)
    assert nrmse(true + 0.05, true, variance=0.25) == pytest.approx(0.1)


def test_nrmse_at_one_horizon():
    true = np.zeros((4, 10, 1))
    said = true.copy()
    said[:, 6] = [[1.0], [-1.0], [2.0], [0.0]]
    assert nrmse_at(said, true, 7, 4.0) == pytest.approx(np.sqrt(6 / 4 / 4))
    assert nrmse_at(said, true, 8, 4.0) == 0


def test_the_valid_time_ends_where_the_error_passes_the_threshold():
    true = np.zeros((3, 50, 2))
    true[:, ::2, 0] = 1.0
    true[:, 1::2, 0] = -1.0
    said = true.copy()
    said[0, 20:, 1] = 0.5
    said[1, 7:] = np.nan
    have = valid_prediction_time(said, true, dt=0.1, threshold=0.4, lyapunov_time=2.0)
    np.testing.assert_allclose(have, [20 * 0.1 / 2, 7 * 0.1 / 2, 50 * 0.1 / 2])


def test_starts_are_forgotten_or_not():
    x = np.random.default_rng(0).standard_normal((2, 300, 1))
    gaps = forgetting(Reservoir(50, 1, scaling="operator", spectral_radius=0.8, seed=0), x)
    # A contraction by 0.8 at least, at every step.
    assert np.all(gaps[1:] <= 0.8 * gaps[:-1] + 1e-15)
    assert gaps[-1] < 1e-12
    both = ParallelReservoir([Reservoir(30, 1, seed=0), Reservoir(20, 1, seed=1)])
    assert forgetting(both, x)[-1] < 1e-9
    wild = Reservoir(100, 1, spectral_radius=3.0, input_scaling=0.01, seed=0)
    assert forgetting(wild, x)[-1] > 0.1


@pytest.mark.parametrize(
    ("call", "error", "part"),
    [
        (lambda: memory_capacity(Reservoir(5, 2)), ShapeError, "one input"),
        (lambda: memory_capacity(Reservoir(5, 1), steps=5), DataError, "above N"),
        (lambda: nrmse(np.zeros((2, 3, 1)), np.zeros((2, 4, 1))), ShapeError, "one shape"),
        (lambda: nrmse(np.zeros((2, 3, 1)), np.zeros((2, 3, 1))), DataError, "variance"),
        (lambda: nrmse_at(np.zeros((2, 3, 1)), np.zeros((2, 3, 1)), 4, 1.0), ShapeError, "step 4"),
        (lambda: valid_prediction_time(np.zeros((2, 3, 1)), np.zeros((2, 3, 1)), dt=0.0), ShapeError, "positive"),
    ],
)
def test_what_cannot_be_is_an_error(call, error, part):
    with pytest.raises(error, match=part):
        call()
