"""The ridge path against scikit-learn, one solve at a time, and leaving rows out for real."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import scipy.linalg
from sklearn.linear_model import Ridge as TheirRidge

from recurra.base.errors import DataError, ShapeError
from recurra.reservoir.ridge import Ridge, choose_by_folds

generator = np.random.default_rng(0)
RIDGES = [1e-10, 1e-6, 1e-2, 1.0, 100.0]


def problem(rows, width, outputs=2):
    x = generator.standard_normal((rows, width)) @ np.diag(10.0 ** -np.linspace(0, 3, width)) + 0.5
    return x, x @ generator.standard_normal((width, outputs)) + 0.1 * generator.standard_normal((rows, outputs)) + 2


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize(("rows", "width"), [(50, 8), (8, 8), (9, 8), (10, 8), (6, 20), (1, 3)])
def test_the_path_is_scikit_learns_solution_at_each_ridge(rows, width, intercept):
    x, y = problem(rows, width)
    fitted = Ridge(x, y, intercept=intercept)
    for ridge, readout in zip(RIDGES[1:], fitted.path(RIDGES[1:]), strict=True):
        want = TheirRidge(alpha=ridge, fit_intercept=intercept, solver="svd").fit(x, y)
        np.testing.assert_allclose(readout.weights, want.coef_.T, rtol=1e-7, atol=1e-9)
        np.testing.assert_allclose(readout.intercept, want.intercept_, rtol=1e-7, atol=1e-9)
        np.testing.assert_allclose(readout(x), want.predict(x), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("ridge", RIDGES)
def test_one_at_a_time_by_least_squares_of_the_stacked_system(ridge):
    """min |Xw - y|² + ridge |w|² is ordinary least squares with rows sqrt(ridge) I below: LAPACK's own solver."""
    x, y = problem(60, 12)
    centred, aims = x - x.mean(0), y - y.mean(0)
    stacked = np.concatenate([centred, np.sqrt(ridge) * np.eye(12)])
    want = scipy.linalg.lstsq(stacked, np.concatenate([aims, np.zeros((12, 2))]))[0]
    np.testing.assert_allclose(Ridge(x, y).readout(ridge).weights, want, rtol=1e-9, atol=1e-10)


def test_zero_ridge_of_too_few_rows_is_the_solution_of_least_norm():
    x, y = problem(5, 9)
    want = np.linalg.pinv(x - x.mean(0)) @ (y - y.mean(0))
    np.testing.assert_allclose(Ridge(x, y).readout(0.0).weights, want, rtol=1e-8, atol=1e-9)


def test_pieces_are_the_whole():
    x, y = problem(200, 15)
    whole = Ridge(x, y)
    pieces = Ridge(pieces=[(x[a:b], y[a:b]) for a, b in [(0, 3), (3, 90), (90, 200)]])
    for ridge in RIDGES:
        np.testing.assert_allclose(pieces.readout(ridge).weights, whole.readout(ridge).weights, rtol=1e-9, atol=1e-9)
    assert pieces.rows == 200


def test_training_error_and_freedom_without_the_rows():
    x, y = problem(70, 10)
    fitted = Ridge(x, y)
    centred = x - x.mean(0)
    for ridge in RIDGES:
        want = ((fitted.readout(ridge)(x) - y) ** 2).mean(0)
        np.testing.assert_allclose(fitted.training_error(ridge), want, rtol=1e-8)
        hat = centred @ np.linalg.solve(centred.T @ centred + ridge * np.eye(10), centred.T)
        assert fitted.freedom(ridge) == pytest.approx(np.trace(hat) + 1, rel=1e-8)


@pytest.mark.parametrize("intercept", [True, False])
def test_leave_one_out_is_leaving_each_out(intercept):
    x, y = problem(25, 6)
    have = Ridge(x, y, intercept=intercept).leave_one_out(x, y, RIDGES)
    for ridge, error in zip(RIDGES, have.errors, strict=True):
        missed = []
        for row in range(25):
            kept = np.arange(25) != row
            readout = Ridge(x[kept], y[kept], intercept=intercept).readout(ridge)
            missed.append((readout(x[row]) - y[row]) ** 2)
        assert error == pytest.approx(np.mean(missed), rel=1e-8)
    assert have.ridge == RIDGES[int(np.argmin(have.errors))]


def test_folds_are_predicted_from_the_others():
    x, y = problem(60, 6)
    parts = [(x[a : a + 20], y[a : a + 20]) for a in (0, 20, 40)]
    selection, whole = choose_by_folds(parts, RIDGES)
    for ridge, error in zip(RIDGES, selection.errors, strict=True):
        total = 0.0
        for index, (held, aims) in enumerate(parts):
            others = [part for other, part in enumerate(parts) if other != index]
            total += ((Ridge(pieces=others).readout(ridge)(held) - aims) ** 2).sum()
        assert error == pytest.approx(total / y.size, rel=1e-9)
    np.testing.assert_allclose(whole.readout(1.0).weights, Ridge(x, y).readout(1.0).weights, rtol=1e-10)


def test_where_the_normal_equations_fail_it_does_not():
    """Condition number 1e11: its square is beyond float64."""
    left, _ = np.linalg.qr(generator.standard_normal((400, 60)))
    right, _ = np.linalg.qr(generator.standard_normal((60, 60)))
    x = left @ np.diag(np.logspace(0, -11, 60)) @ right
    true = right.T @ np.logspace(0, -3, 60)[:, None]
    y = x @ true
    ours = Ridge(x, y, intercept=False).readout(1e-26)
    normal = np.linalg.solve(x.T @ x + 1e-26 * np.eye(60), x.T @ y)
    assert np.abs(ours(x) - y).max() < 1e-13
    assert np.linalg.norm(ours.weights - true) < 1e-3 * np.linalg.norm(true)
    assert np.linalg.norm(normal - true) > 10 * np.linalg.norm(ours.weights - true)


def test_as_many_weights_as_rows_warns():
    x, y = problem(50, 48)
    with pytest.warns(UserWarning, match="double descent"):
        Ridge(x, y).warn_if_critical(1e-12, "here")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Ridge(x, y).warn_if_critical(1e3, "here")
        Ridge(*problem(100, 48)).warn_if_critical(0.0, "here")


@pytest.mark.parametrize(
    ("call", "error", "part"),
    [
        (Ridge, DataError, "not one row"),
        (lambda: Ridge(np.zeros((0, 3)), np.zeros((0, 1))), DataError, "not one row"),
        (lambda: Ridge(np.zeros((4, 3)), np.zeros((5, 1))), ShapeError, r"\(4, 3\) and \(5, 1\)"),
        (lambda: Ridge(np.full((4, 3), np.inf), np.zeros((4, 1))), DataError, "NaN"),
        (lambda: Ridge(*problem(9, 3)).readout(-1.0), DataError, "ridge"),
        (lambda: Ridge(*problem(9, 3)).readout(float("nan")), DataError, "ridge"),
        (lambda: Ridge(*problem(9, 3)).leave_one_out(*problem(8, 3), [1.0]), ShapeError, "9 rows, got 8"),
        (lambda: Ridge(pieces=[problem(9, 3), problem(9, 4)]), ShapeError, "columns"),
        (lambda: choose_by_folds([problem(9, 3)], [1.0]), DataError, "2 folds"),
    ],
)
def test_what_cannot_be_is_an_error(call, error, part):
    with pytest.raises(error, match=part):
        call()
