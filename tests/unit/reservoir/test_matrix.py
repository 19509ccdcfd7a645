"""Random weights: their density, their scale against all eigenvalues, and bad input."""

from __future__ import annotations

import numpy as np
import pytest

from recurra.base.errors import ConfigError
from recurra.reservoir.matrix import (
    effective_spectral_radius,
    operator_norm,
    random_weights,
    rescaled,
    spectral_radius,
)


def drawn(units=80, density=0.2, kind="uniform", seed=0):
    return random_weights(units, units, density, kind, np.random.default_rng(seed))


@pytest.mark.parametrize("kind", ["uniform", "normal", "signs"])
def test_every_row_has_its_share(kind):
    weights = drawn(units=200, density=0.0375, kind=kind)
    counts = np.diff(weights.indptr)
    assert set(counts) == {7, 8}
    assert abs(counts.mean() - 7.5) < 0.2
    assert weights.has_canonical_format
    assert abs(weights.data.mean()) < 0.1
    assert weights.data.std() == pytest.approx({"uniform": 3**-0.5, "normal": 1.0, "signs": 1.0}[kind], rel=0.1)


@pytest.mark.parametrize("units", [50, 450])
def test_the_radius_is_that_of_all_eigenvalues(units):
    """450 units take the iterative way, which asked for one eigenvalue only may find the wrong one."""
    for seed in range(3):
        weights = drawn(units=units, seed=seed)
        want = np.abs(np.linalg.eigvals(weights.toarray())).max()
        assert spectral_radius(weights) == pytest.approx(want, rel=1e-8)


@pytest.mark.parametrize(
    ("scaling", "measure"),
    [
        ("spectral", lambda w: np.abs(np.linalg.eigvals(w)).max()),
        ("operator", lambda w: np.linalg.svd(w)[1].max()),
        ("effective", lambda w: np.abs(np.linalg.eigvals(0.7 * np.eye(len(w)) + 0.4 * w)).max()),
    ],
)
def test_scaling_gives_what_was_asked_for(scaling, measure):
    scaled = rescaled(drawn(), scaling, 0.93, leak=0.3, gain=0.4).toarray()
    assert measure(scaled) == pytest.approx(0.93, rel=1e-9)


def test_effective_radius_by_its_definition():
    weights = drawn()
    want = np.abs(np.linalg.eigvals(0.7 * np.eye(80) + 0.3 * weights.toarray())).max()
    assert effective_spectral_radius(weights, 0.3) == pytest.approx(want, rel=1e-10)
    assert effective_spectral_radius(weights) == pytest.approx(spectral_radius(weights), rel=1e-10)


def test_norms_of_matrices_by_hand():
    turn = 0.5 * np.array([[0.0, -1.0], [1.0, 0.0]])
    assert spectral_radius(turn) == pytest.approx(0.5)
    assert operator_norm(np.array([[0.0, 3.0], [0.0, 0.0]])) == pytest.approx(3.0)
    assert spectral_radius(np.array([[0.0, 3.0], [0.0, 0.0]])) == 0.0


def test_no_cycle_has_no_radius_to_scale():
    with pytest.raises(ConfigError, match="no cycle"):
        rescaled(drawn(density=0.0), "spectral", 0.9, 1.0, 1.0)


@pytest.mark.parametrize(
    ("call", "part"),
    [
        (lambda: drawn(density=1.5), "density"),
        (lambda: drawn(kind="cauchy"), "cauchy"),
        (lambda: rescaled(drawn(), "spectral", -1.0, 1.0, 1.0), "radius"),
        (lambda: rescaled(drawn(), "other", 0.9, 1.0, 1.0), "other"),
        (lambda: rescaled(drawn(), "effective", 0.5, 0.3, 0.3), "below 1 - leak = 0.7"),
    ],
)
def test_what_cannot_be_is_an_error(call, part):
    with pytest.raises(ConfigError, match=part):
        call()
