"""The compiled loop and the SciPy one are the same map; both are what the equation says."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recurra.reservoir import loop
from recurra.reservoir.reservoir import Reservoir

# Fewer than a register's lanes, one more than some, and blocks that do not come out even.
BATCHES = [1, 2, 7, 9, 33, 70]
SIZES = [(1, 1, 1.0), (5, 0, 0.5), (50, 3, 0.2), (131, 1, 0.05)]


def both(reservoir, x, lengths=None, noise=None):
    generator = np.random.default_rng(5)
    state = generator.uniform(-1, 1, (len(x), reservoir.units)).astype(reservoir.dtype)
    return [loop.run(reservoir._weights, x, state, lengths, noise, native) for native in (True, False)], state


@pytest.fixture(autouse=True)
def compiled():
    if loop._library() is None:
        pytest.skip("no C++ compiler here")


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize(("units", "inputs", "density"), SIZES)
def test_native_equals_scipy(batch, units, inputs, density):
    reservoir = Reservoir(units, inputs, density=density, scaling="operator", leak=0.7, bias=0.3, seed=3)
    generator = np.random.default_rng(batch)
    x = generator.standard_normal((batch, 11, inputs))
    lengths = generator.integers(0, 12, batch)
    noise = generator.standard_normal((batch, 11, units))
    for options in ({}, {"lengths": lengths}, {"noise": noise}, {"lengths": lengths, "noise": noise}):
        (fast, slow), state = both(reservoir, x, **options)
        for have, want in zip(fast, slow, strict=True):
            np.testing.assert_allclose(have, want, rtol=0, atol=1e-13)
        rows = np.flatnonzero(lengths == 0)
        if "lengths" in options:
            np.testing.assert_array_equal(fast[1][rows], state[rows])
            assert not fast[0][rows].any()


@pytest.mark.parametrize("batch", [1, 9])
@pytest.mark.parametrize("activation", list(loop.ACTIVATIONS))
def test_activations_and_both_types(activation, batch):
    x = np.random.default_rng(0).standard_normal((batch, 15, 2))
    for dtype, limit in ((np.float64, 1e-13), (np.float32, 2e-6)):
        reservoir = Reservoir(40, 2, scaling="operator", activation=activation, leak=0.5, dtype=dtype, seed=2)
        (fast, slow), _ = both(reservoir, x.astype(dtype))
        assert fast[0].dtype == dtype
        np.testing.assert_allclose(fast[0], slow[0], rtol=0, atol=limit)


@pytest.mark.parametrize("batch", [1, 40])
def test_threads_change_nothing(batch):
    """One series: threads share its rows; many: each has its own. The sums are the same sums."""
    reservoir = Reservoir(800, 1, density=0.5, scaling="operator", seed=0)
    x = np.random.default_rng(0).standard_normal((batch, 6 if batch > 1 else 40, 1))
    want = reservoir(x)[0]
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        np.testing.assert_array_equal(reservoir(x)[0], want)
    finally:
        torch.set_num_threads(before)


def test_without_a_compiler_it_runs_on(monkeypatch):
    reservoir = Reservoir(30, 1, seed=0)
    x = np.random.default_rng(0).standard_normal((3, 20, 1))
    want = reservoir(x)[0]
    monkeypatch.setattr(loop, "_library", lambda: None)
    np.testing.assert_allclose(reservoir(x)[0], want, rtol=0, atol=1e-13)
