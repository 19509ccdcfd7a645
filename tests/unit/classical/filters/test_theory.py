"""The filters behave as theory says: misadjustment, bounds, notch, least squares, a million steps of RLS."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import scipy.signal

from recurra.base.errors import DataError, TrainingError
from recurra.classical.filters import LMS, NLMS, RLS, AdaptiveFilter
from recurra.classical.filters.theory import (
    autocorrelation_matrix,
    lms_misadjustment,
    lms_time_constants,
    nlms_misadjustment,
    notch,
    rls_misadjustment,
    step_bounds,
)

RUNS, N = 400, 16


def measured(algorithm: AdaptiveFilter, settle: int, steps: int, seed: int = 0) -> tuple[float, float]:
    """Excess error over the least, from RUNS independent filters in their steady state, and its standard error."""
    chance = np.random.default_rng(seed)
    x = chance.normal(size=(RUNS, settle + steps, N))
    noise = chance.normal(size=(RUNS, settle + steps))
    out, _ = algorithm(x, x @ np.linspace(-1, 1, N) + noise)
    # y minus what it should be; its mean square over the variance of the noise (1) is the misadjustment.
    excess = ((out.e - noise) ** 2)[:, settle:].mean(axis=1)
    return float(excess.mean()), float(excess.std(ddof=1) / np.sqrt(RUNS))


@pytest.mark.parametrize("step", [0.02, 0.05])
def test_lms_misadjustment(step):
    # Steps at which the usual mu tr(R) / 2 would be wrong by 20 and 45 %.
    settle = int(12 / step)
    mean, error = measured(LMS(step=step), settle, 300)
    want = lms_misadjustment(step, np.ones(N))
    assert want == pytest.approx(step * N / (2 - step * (N + 2)), rel=1e-12)
    assert abs(mean - want) < 3 * error
    assert abs(mean - step * N / 2) > 3 * error


@pytest.mark.parametrize("step", [0.2, 0.5, 1.0])
def test_nlms_misadjustment(step):
    mean, error = measured(NLMS(step=step, eps=1e-12), int(150 / step), 300, seed=1)
    assert abs(mean - nlms_misadjustment(step, N)) < 3 * error


def test_rls_misadjustment():
    # The formula is the first order in N (1 - forgetting) = 0.03: what it leaves out is some 2 % of it.
    mean, error = measured(RLS(forgetting=0.998), 3500, 200, seed=2)
    assert abs(mean - rls_misadjustment(0.998, N)) < 3 * error + 0.02 * mean


def test_learning_curve_has_the_time_constant():
    chance = np.random.default_rng(3)
    step, steps = 0.002, 400
    scale = np.sqrt(np.array([4.0, 1.0]))
    x = chance.normal(size=(3000, steps, 2)) * scale
    d = x @ np.array([0.0, 1.0])
    out, _ = LMS(step=step)(x, d, weights=True)
    weights = out.weights
    assert weights is not None
    slow = (1 - weights[:, :, 1].mean(axis=0)) ** 2
    fitted = -1 / np.polyfit(np.arange(steps), np.log(slow), 1)[0]
    assert fitted == pytest.approx(lms_time_constants(step, [4.0, 1.0])[1], rel=0.01)


def test_step_bounds_of_white_noise():
    x = np.random.default_rng(4).normal(size=200_000) * 2
    bounds = step_bounds(x, taps=8)
    assert bounds.mean_square == pytest.approx(2 / (10 * 4), rel=0.02)
    assert bounds.mean == pytest.approx(2 / 4, rel=0.05)
    assert bounds.safe == pytest.approx(2 / (3 * 8 * 4), rel=0.01)
    assert lms_misadjustment(bounds.mean_square * 1.001, np.full(8, 4.0)) > 50


def test_the_bound_divides_what_converges_from_what_does_not():
    chance = np.random.default_rng(5)
    x = chance.normal(size=(50, 3000, 8))
    d = x @ np.ones(8) + chance.normal(size=(50, 3000))
    bound = step_bounds(x[0]).mean_square
    out, _ = LMS(step=0.7 * bound)(x, d)
    assert (out.e[:, 1000:] ** 2).mean() < 20
    with pytest.raises(TrainingError, match="ran away"):
        LMS(step=2.5 * bound)(np.concatenate([x] * 4, axis=1), np.concatenate([d] * 4, axis=1))


def test_autocorrelation_is_the_toeplitz_matrix():
    x = np.random.default_rng(6).normal(size=3000)
    lags = np.array([(x[: 3000 - k] * x[k:]).sum() for k in range(4)]) / 3000
    # The windowed form differs from the Toeplitz one by the few samples at the end.
    assert np.abs(autocorrelation_matrix(x, 4) - scipy.linalg.toeplitz(lags)).max() < 5e-3
    assert np.allclose(autocorrelation_matrix(x[:, None] * [1.0, 2.0]), (x @ x / 3000) * np.outer([1, 2], [1, 2]))
    with pytest.raises(DataError, match="not finite"):
        autocorrelation_matrix([1.0, np.nan])
    with pytest.raises(DataError, match="zero throughout"):
        step_bounds(np.zeros(10))


@pytest.mark.parametrize(("frequency", "step", "amplitude"), [(50.0, 0.01, 1.0), (37.3, 0.002, 2.5)])
def test_a_canceller_with_sine_and_cosine_is_a_notch(frequency, step, amplitude):
    rate = 500.0
    chance = np.random.default_rng(7)
    d = chance.normal(size=5000)
    angle = 2 * np.pi * frequency / rate * np.arange(5000)
    reference = amplitude * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    out, _ = LMS(step=step)(reference, d)
    want = scipy.signal.lfilter(*notch(frequency, rate, step, amplitude), d)
    assert np.abs(out.e - want).max() < 1e-12


def test_rls_without_forgetting_is_least_squares():
    chance = np.random.default_rng(8)
    x = chance.normal(size=(500, 6)) @ chance.normal(size=(6, 6))
    d = chance.normal(size=500)
    delta = 0.3
    _, state = RLS(forgetting=1.0, delta=delta)(x, d)
    want = np.linalg.solve(x.T @ x + delta * np.eye(6), x.T @ d)
    assert np.abs(state.weights[0] - want).max() < 1e-12


def test_rls_is_weighted_least_squares():
    chance = np.random.default_rng(9)
    x, d = chance.normal(size=(400, 4)), chance.normal(size=400)
    forgetting = 0.97
    _, state = RLS(forgetting=forgetting, delta=0.1)(x, d)
    share = forgetting ** np.arange(399, -1, -1.0)
    left = (x * share[:, None]).T @ x + forgetting**400 * 0.1 * np.eye(4)
    assert np.abs(state.weights[0] - np.linalg.solve(left, (x * share[:, None]).T @ d)).max() < 1e-12


@pytest.mark.parametrize("forgetting", [0.95, 0.98, 0.999])
def test_rls_stays_sound_for_a_million_steps(forgetting):
    chance = np.random.default_rng(10)
    x = chance.normal(size=1_000_000)
    true = np.array([0.5, -0.3, 0.2, 0.1])
    noise = 0.1 * chance.normal(size=len(x))
    d = np.convolve(x, true)[: len(x)] + noise
    out, state = RLS(taps=4, forgetting=forgetting)(x, d)
    excess = ((out.e - noise)[-100_000:] ** 2).mean() / 0.01
    assert excess == pytest.approx(rls_misadjustment(forgetting, 4), rel=0.15)
    P = state.memory[0][0]
    assert np.array_equal(P, P.T)
    assert np.linalg.eigvalsh(P)[0] > 0


def test_rls_outlives_silence_and_a_lone_tone():
    chance = np.random.default_rng(11)
    noise = chance.normal(size=2000)
    x = np.concatenate([noise, np.zeros(200_000), np.sin(0.3 * np.arange(200_000)), noise])
    d = np.convolve(x, [0.5, -0.3, 0.2])[: len(x)]
    out, state = RLS(taps=8, forgetting=0.99)(x, d)
    assert np.abs(state.weights[0] - [0.5, -0.3, 0.2, 0, 0, 0, 0, 0]).max() < 1e-6
    assert np.abs(out.e[-1000:]).max() < 1e-6
