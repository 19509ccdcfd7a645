"""Shapes, delay lines, batches, chunks, both paths, complex signals, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recurra.base.errors import DataError, ShapeError, TrainingError
from recurra.base.state import stack, unstack
from recurra.classical.filters import ALGORITHMS, GNGD, LMS, NLMS, RLS, AffineProjection, adaptive
from tolerances import TOLERANCE

SMALL = {"lmf": {"step": 0.005}, "gngd": {"step": 0.5}}
COMPLEX = ["lms", "nlms", "rls", "ap"]
LIMIT = TOLERANCE[torch.float64, "value"]


def made(name: str, taps: int = 1):
    return ALGORITHMS[name](taps=taps, **SMALL.get(name, {}))


def signals(name: str, *shape: int, seed: int = 0):
    chance = np.random.default_rng(seed)
    x = chance.normal(size=shape)
    return x, 0.4 * x + 0.1 * chance.normal(size=shape)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_native_is_numpy(name, monkeypatch):
    if adaptive.library() is None:
        pytest.skip("no compiler")
    chance = np.random.default_rng(1)
    x, d = chance.normal(size=(3, 200, 2)), chance.normal(size=(3, 200))
    algorithm = made(name, 5)
    out, state = algorithm(x, d, weights=True)
    monkeypatch.setattr(adaptive, "library", lambda: None)
    slow, slow_state = algorithm(x, d, weights=True)
    pairs = [*zip(out, slow, strict=True), *zip(state.memory, slow_state.memory, strict=True)]
    for have, want in [*pairs, (state.weights, slow_state.weights), (state.history, slow_state.history)]:
        assert np.abs(have - want).max() <= 1e-10 * max(1.0, np.abs(want).max())


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_delay_line_is_the_matrix_of_delayed_samples(name):
    x, d = signals(name, 150)
    padded = np.concatenate([np.zeros(6), x])
    matrix = np.stack([padded[6 - lag : 156 - lag] for lag in range(7)], axis=1)
    line, _ = made(name, 7)(x, d, weights=True)
    rows, _ = made(name)(matrix, d, weights=True)
    for have, want in zip(line, rows, strict=True):
        assert np.abs(have - want).max() < LIMIT


@pytest.mark.parametrize("name", ALGORITHMS)
@pytest.mark.parametrize("sizes", [(1, 1, 1, 97), (63, 37), (50, 50)])
def test_chunks_are_the_whole(name, sizes):
    x, d = signals(name, 2, sum(sizes))
    algorithm = made(name, 4)
    whole, end = algorithm(x, d)
    state, parts, at = None, [], 0
    for size in sizes:
        out, state = algorithm(x[:, at : at + size], d[:, at : at + size], state)
        parts.append(out.e)
        at += size
    assert state is not None
    assert np.abs(np.concatenate(parts, axis=1) - whole.e).max() < LIMIT
    assert np.abs(state.weights - end.weights).max() < LIMIT


@pytest.mark.parametrize("name", ALGORITHMS)
def test_rows_of_a_batch_know_nothing_of_each_other(name):
    x, d = signals(name, 3, 80)
    batch, state = made(name, 3)(x, d)
    for row in range(3):
        alone, own = made(name, 3)(x[row], d[row])
        assert np.array_equal(alone.y, batch.y[row])
        assert np.array_equal(own.weights[0], state.weights[row])


def test_two_references_are_told_apart():
    chance = np.random.default_rng(5)
    x = chance.normal(size=(4000, 2))
    d = np.convolve(x[:, 0], [0.5, 0.2])[:4000] + np.convolve(x[:, 1], [0.0, -0.7])[:4000]
    _, state = RLS(taps=2, forgetting=1.0)(x, d)
    # Newest sample of both channels first, then the one before.
    assert np.abs(state.weights[0] - [0.5, 0.0, 0.2, -0.7]).max() < 1e-6


@pytest.mark.parametrize("name", COMPLEX)
def test_complex_signals(name, monkeypatch):
    chance = np.random.default_rng(6)
    x = chance.normal(size=(3000, 3)) + 1j * chance.normal(size=(3000, 3))
    true = np.array([0.5 - 0.2j, 0.1j, -0.3])
    d = x @ true.conj()
    algorithm = made(name)
    out, state = algorithm(x, d)
    assert out.y.dtype == np.complex128
    assert np.abs(state.weights[0] - true).max() < 1e-6
    monkeypatch.setattr(adaptive, "library", lambda: None)
    slow, _ = algorithm(x, d)
    assert np.abs(slow.y - out.y).max() < 1e-10


@pytest.mark.parametrize("name", COMPLEX)
def test_complex_arithmetic_on_real_signals_is_the_real_filter(name):
    x, d = signals(name, 300)
    real, _ = made(name, 4)(x, d)
    complex_, _ = made(name, 4)(x + 0j, d + 0j)
    assert np.abs(complex_.y - real.y).max() < 1e-11


def test_torch_in_torch_out_and_sessions_are_stacked():
    x, d = (torch.from_numpy(part) for part in signals("nlms", 2, 60))
    algorithm = NLMS(taps=4)
    whole, state = algorithm(x, d)
    assert isinstance(whole.y, torch.Tensor)
    assert whole.weights is None
    ones = [algorithm(x[row], d[row])[1] for row in range(2)]
    joined = stack(ones)
    assert torch.equal(joined.weights, state.weights)
    assert torch.equal(unstack(state)[1].history, ones[1].history)
    more, _ = algorithm(x, d, joined)
    again, _ = algorithm(x, d, state)
    assert torch.equal(more.y, again.y)
    single, _ = algorithm(x.float(), d.float())
    assert single.e.dtype == torch.float32


def test_affine_projection_of_order_one_is_nlms():
    x, d = signals("ap", 200)
    one, _ = AffineProjection(taps=5, order=1, step=0.3, eps=0.01)(x, d)
    other, _ = NLMS(taps=5, step=0.3, eps=0.01)(x, d)
    assert np.abs(one.y - other.y).max() < LIMIT


def test_a_leak_draws_weights_to_zero():
    out, state = LMS(step=0.1, leak=0.5)(
        np.zeros((10, 2)), np.zeros(10), LMS().initial(channels=2, weights=[1.0, -2.0])
    )
    assert np.allclose(state.weights[0], np.array([1.0, -2.0]) * 0.95**10, rtol=1e-14)
    assert not out.y.any()


def test_sign_filters_by_hand():
    x, d = np.array([[2.0, -3.0], [0.0, 1.0]]), np.array([4.0, -1.0])
    for name, want in [
        ("sign-error", [[0, 0], [0.2, -0.3]]),
        ("sign-data", [[0, 0], [0.4, -0.4]]),
        ("sign-sign", [[0, 0], [0.1, -0.1]]),
    ]:
        out, _ = ALGORITHMS[name](step=0.1)(x, d, weights=True)
        assert np.allclose(out.weights, want, atol=1e-15), name


@pytest.mark.parametrize(
    ("x", "d", "error", "fact"),
    [
        (np.zeros(0), np.zeros(0), DataError, "there are no samples"),
        (np.zeros(3), np.zeros(4), ShapeError, r"got d \(4,\), x \(3,\)"),
        (np.zeros((2, 2, 2, 2)), np.zeros((2, 2, 2)), ShapeError, "must be"),
        (np.array([0.0, np.nan]), np.zeros(2), DataError, r"x\[1\] is nan"),
        (np.zeros(2), np.array([np.inf, 0]), DataError, r"d\[0\] is inf"),
        (np.array(["a", "b"]), np.zeros(2), DataError, "must be numbers"),
    ],
)
def test_bad_signals(x, d, error, fact):
    with pytest.raises(error, match=fact):
        LMS()(x, d)


@pytest.mark.parametrize(
    ("make", "fact"),
    [
        (lambda: LMS(step=0.0), "step must be above 0"),
        (lambda: LMS(step=float("nan")), "step must be above 0"),
        (lambda: LMS(taps=0), "taps must be a whole number"),
        (lambda: LMS(step=0.1, leak=20.0), "leak must be"),
        (lambda: RLS(forgetting=1.01), "at most 1"),
        (lambda: RLS(delta=-1.0), "delta must be above 0"),
        (lambda: AffineProjection(order=0), "order must be"),
        (lambda: AffineProjection(step=2.0), "below 2"),
        (lambda: GNGD(rate=0.0), "rate must be above 0"),
    ],
)
def test_bad_settings(make, fact):
    with pytest.raises(DataError, match=fact):
        make()


def test_complex_where_the_algorithm_is_real():
    with pytest.raises(DataError, match="is for real signals"):
        GNGD()(np.ones(3) * 1j, np.ones(3))


def test_a_state_of_another_filter():
    _, state = LMS(taps=3)(np.ones(5), np.ones(5))
    with pytest.raises(ShapeError, match=r"state.weights must be \(1, 4\), got \(1, 3\)"):
        LMS(taps=4)(np.ones(5), np.ones(5), state)
    with pytest.raises(ShapeError, match="another algorithm"):
        RLS(taps=3)(np.ones(5), np.ones(5), state)
    with pytest.raises(ShapeError, match="weights must be"):
        LMS(taps=3).initial(weights=[1.0, 2.0])


def test_divergence_is_said_not_returned():
    chance = np.random.default_rng(0)
    x = chance.normal(size=(2000, 8))
    with pytest.raises(TrainingError, match=r"the weights ran away at sample \d+"):
        LMS(step=1.0)(x, chance.normal(size=2000))
