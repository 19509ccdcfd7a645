"""Hénon and logistic maps against closed forms and reservoirpy's."""

from __future__ import annotations

import numpy as np
import pytest
from reservoirpy import datasets

from recurra.base.errors import DataError
from recurra.data.sets.maps import henon, logistic


def test_logistic_has_a_closed_form_at_rate_four():
    start = 0.123
    angle = np.arcsin(np.sqrt(start))
    want = np.sin(2.0 ** np.arange(20) * angle) ** 2
    np.testing.assert_allclose(logistic(20, rate=4.0, start=start).ravel(), want, atol=1e-9)


def test_both_equal_reservoirpys():
    np.testing.assert_allclose(henon(30), datasets.henon_map(30, x0=[0.0, 0.0]), atol=1e-9)
    np.testing.assert_allclose(logistic(30, start=0.3), datasets.logistic_map(30, x0=0.3), atol=1e-9)


def test_henon_contracts_areas_by_b():
    start = np.array([0.1, 0.1])
    step = 1e-6
    moved = [
        henon(2, start=start + d)[1] - henon(2, start=start)[1] for d in (np.array([step, 0]), np.array([0, step]))
    ]
    assert abs(np.linalg.det(np.array(moved)) / step**2) == pytest.approx(0.3, abs=1e-4)


def test_discard_leaves_out_the_first():
    np.testing.assert_array_equal(henon(5, discard=7), henon(12)[7:])
    np.testing.assert_array_equal(logistic(5, discard=7), logistic(12)[7:])


@pytest.mark.parametrize(
    ("make", "part"),
    [
        (lambda: henon(50, start=(5.0, 5.0)), "runs off"),
        (lambda: henon(0), "steps"),
        (lambda: logistic(5, rate=4.1), "rate"),
        (lambda: logistic(5, start=-0.1), "start"),
        (lambda: logistic(5, discard=-1), "discard"),
    ],
)
def test_what_cannot_be_is_an_error(make, part):
    with pytest.raises(DataError, match=part):
        make()
