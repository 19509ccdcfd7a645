"""Recursive least squares against the weighted problem it minimises, reservoirpy's, and time."""

from __future__ import annotations

import numpy as np
import pytest
from reservoirpy.nodes import RLS as TheirRLS  # noqa: N811

from recurra.base.errors import ConfigError, DataError
from recurra.reservoir.recursive import RecursiveReadout

generator = np.random.default_rng(0)
F = generator.standard_normal((300, 12))
Y = F @ generator.standard_normal((12, 2)) + 0.1 * generator.standard_normal((300, 2))


@pytest.mark.parametrize("forgetting", [1.0, 0.98, 0.9])
def test_the_weights_minimise_the_weighted_error_at_every_step(forgetting):
    readout = RecursiveReadout(12, 2, forgetting=forgetting, delta=0.01)
    for step, (f, y) in enumerate(zip(F, Y, strict=True), start=1):
        before = readout(f)
        np.testing.assert_allclose(readout.learn(f, y), y - before, atol=1e-13)
        if step in (1, 5, 40, 300):
            weight = forgetting ** np.arange(step - 1, -1, -1)
            normal = (F[:step].T * weight) @ F[:step] + 0.01 * forgetting**step * np.eye(12)
            want = np.linalg.solve(normal, (F[:step].T * weight) @ Y[:step])
            np.testing.assert_allclose(readout.weights, want, rtol=0, atol=1e-7)


def test_it_is_reservoirpys():
    ours = RecursiveReadout(12, 2, delta=0.01)
    theirs = TheirRLS(alpha=0.01, fit_bias=False)
    theirs.partial_fit(F, Y)
    for f, y in zip(F, Y, strict=True):
        ours.learn(f, y)
    np.testing.assert_allclose(ours.weights, theirs.Wout, rtol=0, atol=1e-8)


def test_it_lasts():
    """30,000 steps at 0.95: without care, rounding would have grown by 0.95^-30000."""
    readout = RecursiveReadout(8, 1, forgetting=0.95, delta=0.1)
    true = generator.standard_normal((8, 1))
    worst = 0.0
    for step in range(30_000):
        f = generator.standard_normal(8)
        error = readout.learn(f, f @ true)
        if step > 1000:
            worst = max(worst, float(np.abs(error).max()))
    assert worst < 1e-9


def test_silence_does_not_blow_it_up():
    readout = RecursiveReadout(4, 1, forgetting=0.9)
    for _ in range(5000):
        readout.learn(np.array([1.0, 0.0, 0.0, 0.0]), np.ones(1))
    assert np.isfinite(readout.P).all()
    assert readout.weights[0, 0] == pytest.approx(1.0)


@pytest.mark.parametrize("options", [{"forgetting": 0.0}, {"forgetting": 1.1}, {"delta": 0.0}])
def test_what_cannot_be_is_an_error(options):
    with pytest.raises(ConfigError):
        RecursiveReadout(3, 1, **options)


def test_nan_is_an_error():
    with pytest.raises(DataError, match="NaN"):
        RecursiveReadout(3, 1).learn(np.array([1.0, np.nan, 0.0]), np.ones(1))
