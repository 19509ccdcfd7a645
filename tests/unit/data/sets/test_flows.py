"""Lorenz, Rössler, Lorenz 96: order by step halving with our own Runge-Kutta, another solver, and symmetries."""

from __future__ import annotations

import numpy as np
import pytest

from recurra.base.errors import DataError
from recurra.data.sets.flow import trajectory
from recurra.data.sets.lorenz import LYAPUNOV_EXPONENT, lorenz
from recurra.data.sets.lorenz96 import lorenz96
from recurra.data.sets.rossler import rossler


def lorenz_field(s):
    return np.array([10 * (s[1] - s[0]), s[0] * (28 - s[2]) - s[1], s[0] * s[1] - 8 / 3 * s[2]])


def rossler_field(s):
    return np.array([-s[1] - s[2], s[0] + 0.2 * s[1], 0.2 + s[2] * (s[0] - 5.7)])


def ring_field(s):
    n = len(s)
    return np.array([(s[(i + 1) % n] - s[i - 2]) * s[i - 1] - s[i] + 8 for i in range(n)])


def runge_kutta(field, start, time, count):
    s, h = np.array(start, dtype=float), time / count
    for _ in range(count):
        k1 = field(s)
        k2 = field(s + h / 2 * k1)
        k3 = field(s + h / 2 * k2)
        k4 = field(s + h * k3)
        s = s + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return s


CASES = {
    "lorenz": (lorenz, lorenz_field, [1.0, 2.0, 20.0], 0.4, 60),
    "rossler": (rossler, rossler_field, [1.0, 2.0, 0.1], 4.0, 100),
    "lorenz96": (lambda n, **k: lorenz96(n, sites=7, **k), ring_field, [8.01, 8, 7, 8, 8, 9, 8], 1.0, 100),
}


@pytest.mark.parametrize("name", CASES)
def test_a_plain_runge_kutta_converges_to_it_with_order_four(name):
    """The plain one's error against ours falls by sixteen with each halving: ours is right to far below the last."""
    ours, field, start, time, count = CASES[name]
    want = ours(2, start=start, dt=time, discard=0.0)[1]
    errors = [np.abs(runge_kutta(field, start, time, count * 2**k) - want).max() for k in range(4)]
    observed = np.log2(np.array(errors[:-1]) / errors[1:])
    assert np.all(np.abs(observed - 4) < 0.3), (errors, observed)


@pytest.mark.parametrize("name", CASES)
def test_the_step_of_the_samples_does_not_change_the_solution(name):
    ours, _, start, time, _ = CASES[name]
    fine, coarse = ours(9, start=start, dt=time / 8, discard=0.0), ours(5, start=start, dt=time / 4, discard=0.0)
    np.testing.assert_allclose(fine[::2], coarse, rtol=0, atol=1e-8)
    np.testing.assert_allclose(ours(5, start=start, dt=time / 8, discard=time / 2), fine[4:], rtol=0, atol=1e-8)


def test_lorenz_is_symmetric_about_its_axis():
    one = lorenz(50, start=(1.0, 2.0, 20.0), discard=0.0)
    other = lorenz(50, start=(-1.0, -2.0, 20.0), discard=0.0)
    np.testing.assert_allclose(other * [-1, -1, 1], one, atol=1e-9)


def test_neighbours_part_at_the_lyapunov_rate():
    """The largest exponent from the series' own tangent: products of Jacobians along it, by the midpoint rule."""
    dt = 0.005
    points = lorenz(12_000, dt=dt, rtol=1e-8, atol=1e-8)
    tangent, grown = np.array([1.0, 0.0, 0.0]), 0.0
    for x, y, z in (points[:-1] + points[1:]) / 2:
        jacobian = np.array([[-10, 10, 0], [28 - z, -1, -x], [y, x, -8 / 3]])
        half = dt * jacobian
        tangent = tangent + half @ (tangent + half @ (tangent + half @ tangent / 3) / 2)
        size = np.linalg.norm(tangent)
        grown, tangent = grown + np.log(size), tangent / size
    assert abs(grown / (dt * len(points)) - LYAPUNOV_EXPONENT) < 0.1


def test_a_ring_turned_is_the_same_ring():
    start = np.arange(8.0)
    np.testing.assert_allclose(
        lorenz96(5, sites=8, start=np.roll(start, 3), discard=0.0),
        np.roll(lorenz96(5, sites=8, start=start, discard=0.0), 3, axis=1),
        atol=1e-9,
    )


def test_a_looser_solver_is_another_series():
    assert np.abs(lorenz(500, rtol=1e-3, atol=1e-6, method="RK23") - lorenz(500)).max() > 1.0


@pytest.mark.parametrize(
    ("make", "part"),
    [
        (lambda: lorenz(0), "steps"),
        (lambda: lorenz(5, dt=-1.0), "dt"),
        (lambda: lorenz(5, start=(1.0, float("nan"), 1.0)), "start"),
        (lambda: rossler(5, discard=-1.0), "discard"),
        (lambda: trajectory("blow-up", lambda _, y: y * y, np.ones(1), 5, 1.0), "blow-up: .* leaves every bound"),
        (lambda: lorenz96(5, sites=3), "4 sites"),
        (lambda: lorenz96(5, sites=5, start=[1.0, 2.0]), r"\(5,\)"),
    ],
)
def test_what_cannot_be_is_an_error(make, part):
    with pytest.raises(DataError, match=part):
        make()
