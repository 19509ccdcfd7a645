"""The delay equation against closed forms on its first segments, and its order of convergence by step halving."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from recurra.base.errors import DataError
from recurra.data.sets.mackey_glass import from_jaeger, mackey_glass, to_jaeger


@pytest.mark.parametrize("tau", [17.0, 30.0])
@pytest.mark.parametrize(("method", "order"), [("rk4", 4), ("euler", 1)])
def test_the_error_falls_with_the_order_of_the_method(tau, method, order):
    # Several delays long, so that interpolated values feed interpolated values.
    runs = [
        mackey_glass(10, tau=tau, dt=0.5 / 2**k, sample=tau / 2, discard=0, method=method).ravel() for k in range(5)
    ]
    gaps = [np.abs(a - b).max() for a, b in itertools.pairwise(runs)]
    observed = np.log2(np.array(gaps[:-1]) / gaps[1:])
    assert np.all(np.abs(observed - order) < 0.25), observed


def test_the_first_delays_by_the_method_of_steps():
    """On [0, tau] the delayed x is the start, so x' is linear; on [tau, 2 tau] another's solver reads that solution."""
    tau, start = 17.0, 1.2
    level = 0.2 * start / (1 + start**10) / 0.1

    def first(t):
        return level + (start - level) * np.exp(-0.1 * t)

    def field(t, x):
        late = first(t - tau)
        return 0.2 * late / (1 + late**10) - 0.1 * x

    times = np.arange(0.0, 35.0)
    second = solve_ivp(field, (17, 34), [first(17.0)], t_eval=times[17:], rtol=1e-12, atol=1e-13, method="DOP853").y[0]
    have = mackey_glass(35, dt=0.02, discard=0).ravel()
    np.testing.assert_allclose(have[:18], first(times[:18]), rtol=0, atol=1e-10)
    np.testing.assert_allclose(have[17:], second, rtol=0, atol=1e-9)


def test_series_at_once_equal_series_alone():
    starts = np.array([0.9, 1.2, 1.3])
    together = mackey_glass(50, start=starts, discard=100)
    assert together.shape == (3, 50, 1)
    for row, start in zip(together, starts, strict=True):
        np.testing.assert_allclose(row, mackey_glass(50, start=float(start), discard=100), rtol=0, atol=1e-10)


def test_a_start_that_is_a_function_continues_a_run():
    """The second half of a run is a run whose past is the first half."""
    whole = mackey_glass(801, dt=0.1, sample=0.05 * 2, discard=0).ravel()

    def past(t):
        at = 400 + t / 0.1
        low = int(np.floor(at + 1e-9))
        if abs(at - low) < 1e-9:
            return whole[low]
        left, right = max(low - 2, 0), low + 4
        # A polynomial through six neighbours, for the half steps.
        return np.polyval(np.polyfit(np.arange(left, right) - at, whole[left:right], 5), 0.0)

    again = mackey_glass(401, dt=0.1, sample=0.1, discard=0, start=past).ravel()
    np.testing.assert_allclose(again, whole[400:], rtol=0, atol=1e-8)


def test_the_attractor():
    series = mackey_glass(20000)
    assert series.shape == (20000, 1)
    assert abs(series.var() - 0.0512) < 5e-4
    assert 0.41 < series.min() < 0.45
    assert 1.30 < series.max() < 1.33
    assert 0.06 < mackey_glass(20000, tau=30.0).var() < 0.09


def test_discard_and_sample_pick_from_the_same_run():
    fine = mackey_glass(301, sample=0.5, discard=0)
    np.testing.assert_array_equal(mackey_glass(101, sample=1.5, discard=0), fine[::3])
    np.testing.assert_array_equal(mackey_glass(101, sample=0.5, discard=100.0), fine[200:])


def test_jaegers_range():
    series = mackey_glass(100)
    squashed = to_jaeger(series)
    assert np.abs(squashed).max() < 1
    np.testing.assert_allclose(from_jaeger(squashed), series, atol=1e-12)
    assert not np.isfinite(from_jaeger(np.array([1.0, 1.5]))).any()


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"steps": 0}, "steps"),
        ({"tau": 17.05}, "tau = 17.05"),
        ({"sample": 0.25}, "sample"),
        ({"dt": 0.0}, "above 0"),
        ({"start": float("nan")}, "start"),
        ({"start": np.zeros((2, 2))}, "start"),
        ({"method": "heun"}, "heun"),
        ({"discard": -1.0}, "discard"),
    ],
)
def test_what_cannot_be_is_an_error(options, part):
    with pytest.raises(DataError, match=part):
        mackey_glass(**{"steps": 5, **options})
