"""Ridge regression by orthogonal factors: one factorisation, then every ridge value for the price of a product.

States of a reservoir are nearly collinear (condition numbers of 1e12 are common), and the normal equations square that:
their error sets the forecast's, and small ridge values fail altogether. With QR and SVD they do not.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import scipy.linalg

from recurra.base.errors import DataError, ShapeError, message

__all__ = ["Readout", "Ridge", "Selection", "choose_by_folds"]


class Readout(NamedTuple):
    """Linear map: features @ weights + intercept; weights (p, O), intercept (O,)."""

    weights: np.ndarray
    intercept: np.ndarray

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Outputs (..., O) of features (..., p)."""
        return features @ self.weights + self.intercept


class Selection(NamedTuple):
    """A ridge value that was chosen: its readout, and the mean squared error each candidate had on held-out rows."""

    ridge: float
    readout: Readout
    ridges: np.ndarray
    errors: np.ndarray


class Ridge:
    """All solutions of min |features w + c - targets|² + ridge |w|² over ridge; the intercept c is not shrunk.

    features (n, p), targets (n, O): any float dtype; the solution is in float64 whatever they are. intercept: whether
    there is a c. Rows may come in pieces, `Ridge(pieces=[(features, targets), ...])`: only a triangle is kept of each,
    so memory is p² whatever n is.

    One QR factorisation of [1, features, targets], one SVD of its p x p triangle (Golub & Van Loan 2013).

    >>> x = np.arange(4.0)[:, None]
    >>> Ridge(x, 2 * x + 1).readout(0.0).intercept.round(12)
    array([1.])
    """

    def __init__(
        self,
        features: np.ndarray | None = None,
        targets: np.ndarray | None = None,
        *,
        pieces: Iterable[tuple[np.ndarray, np.ndarray]] = (),
        intercept: bool = True,
    ) -> None:
        if features is not None and targets is not None:
            pieces = [(features, targets), *pieces]
        triangle: np.ndarray | None = None
        rows = width = 0
        for part, aim in pieces:
            checked = _joined(part, aim, intercept)
            if triangle is not None and checked.shape[1] != triangle.shape[1]:
                raise ShapeError(message("Ridge", f"pieces of {triangle.shape[1]} and of {checked.shape[1]} columns"))
            rows, width = rows + len(checked), part.shape[1]
            triangle = _triangle(checked if triangle is None else np.concatenate([triangle, checked]))
        if triangle is None:
            raise DataError(message("Ridge", "there is not one row to learn from"))
        self._solve(triangle, rows, width, intercept)

    def _solve(self, triangle: np.ndarray, rows: int, width: int, intercept: bool) -> None:
        self.rows, self.width, self.intercept = rows, width, intercept
        self.triangle = triangle
        first = int(intercept)
        self._top = triangle[:first]
        below = triangle[first:]
        inner = below[: min(width, len(below))]
        left, self.singular_values, self._right = scipy.linalg.svd(
            inner[:, first : first + width], full_matrices=False, check_finite=False
        )
        self._aims = left.T @ inner[:, first + width :]
        rest = below[width:, first + width :]
        outside = inner[:, first + width :] - left @ self._aims
        # What no weights can reach, per output.
        self._residual = (rest**2).sum(0) + (outside**2).sum(0)

    def readout(self, ridge: float) -> Readout:
        """The solution for one ridge value, at least 0; at 0 the one of least norm."""
        return self._readout(self._right.T @ (self._filter(ridge)[:, None] * self._aims))

    def _readout(self, weights: np.ndarray) -> Readout:
        if not self.intercept:
            return Readout(weights, np.zeros(weights.shape[1]))
        top = self._top[0]
        return Readout(weights, (top[1 + self.width :] - top[1 : 1 + self.width] @ weights) / top[0])

    def path(self, ridges: Sequence[float]) -> list[Readout]:
        """The solutions for many ridge values."""
        return [self.readout(ridge) for ridge in ridges]

    def training_error(self, ridge: float) -> np.ndarray:
        """Mean squared error (O,) of that solution on the rows it was fitted to; the rows are not needed for it."""
        values = self.singular_values
        missed = (1 - values * self._filter(ridge))[:, None] * self._aims
        return (self._residual + (missed**2).sum(0)) / self.rows

    def freedom(self, ridge: float) -> float:
        """Effective degrees of freedom: the trace of the map from targets to fitted values."""
        return float((self.singular_values * self._filter(ridge)).sum()) + self.intercept

    def leave_one_out(self, features: np.ndarray, targets: np.ndarray, ridges: Sequence[float]) -> Selection:
        """The ridge value whose error on each row, fitted without it, is least; exact, without fitting again.

        features, targets: the rows this was fitted to (Allen's 1974 PRESS statistic).
        """
        rows = np.asarray(features, dtype=np.float64)
        aims = np.asarray(targets, dtype=np.float64)
        if len(rows) != self.rows:
            raise ShapeError(message("Ridge.leave_one_out", f"fitted to {self.rows} rows, got {len(rows)}"))
        if self.intercept:
            rows, aims = rows - rows.mean(0), aims - aims.mean(0)
        along = rows @ self._right.T
        own = 1 / len(rows) if self.intercept else 0.0
        errors = []
        for ridge in ridges:
            shrink = self._filter(ridge)
            # d / (d² + ridge) is the filter; divided by d it weighs the squares.
            share = np.divide(shrink, self.singular_values, out=np.zeros_like(shrink), where=self.singular_values > 0)
            left = 1 - own - along**2 @ share
            missed = (aims - along @ (shrink[:, None] * self._aims)) / np.maximum(left, 1e-12)[:, None]
            errors.append((missed**2).mean())
        return self._chosen(ridges, np.array(errors))

    def _chosen(self, ridges: Sequence[float], errors: np.ndarray) -> Selection:
        best = float(ridges[int(np.argmin(errors))])
        return Selection(best, self.readout(best), np.asarray(ridges, dtype=np.float64), errors)

    def _filter(self, ridge: float) -> np.ndarray:
        if not (ridge >= 0 and np.isfinite(ridge)):
            raise DataError(message("Ridge", f"ridge must be a finite number of at least 0, got {ridge}"))
        values = self.singular_values
        # Below this, a singular value is rounding; without a ridge it must not be divided by.
        least = values.max(initial=0.0) * max(self.rows, self.width) * np.finfo(np.float64).eps if ridge == 0 else 0.0
        return np.divide(values, values**2 + ridge, out=np.zeros_like(values), where=values > least)

    def warn_if_critical(self, ridge: float, where: str) -> None:
        """A warning where parameters are about as many as rows and nothing holds them: the peak of double descent."""
        ratio = self.width / self.rows
        if 0.8 < ratio < 1.25 and self.freedom(ridge) > 0.9 * min(self.rows, self.width):
            warnings.warn(
                message(
                    where,
                    f"{self.width} readout weights per output are fitted to {self.rows} rows with ridge {ridge:g}",
                    "close to as many parameters as rows, forecasts are at their worst (double descent)",
                    hint="a larger ridge, more rows, or clearly fewer (or more) units.",
                ),
                stacklevel=3,
            )


def choose_by_folds(folds: Sequence[tuple[np.ndarray, np.ndarray]], ridges: Sequence[float]) -> tuple[Selection, Ridge]:
    """The ridge value that is best on average when each fold (features, targets) is predicted from the others.

    Each fold is factorised once: the others' triangles are stacked, not their rows. Folds of a series should be
    contiguous, or a row's neighbours give it away. Returns the choice and the fit to all rows.
    """
    if len(folds) < 2:
        raise DataError(message("choose_by_folds", f"needs at least 2 folds, got {len(folds)}"))
    parts = [Ridge(*fold) for fold in folds]
    total = np.zeros(len(ridges))
    for held, (features, targets) in enumerate(folds):
        others = _merged([part for index, part in enumerate(parts) if index != held])
        for index, ridge in enumerate(ridges):
            total[index] += ((others.readout(ridge)(features) - targets) ** 2).sum()
    whole = _merged(parts)
    return whole._chosen(ridges, total / sum(np.size(targets) for _, targets in folds)), whole


def _merged(parts: Sequence[Ridge]) -> Ridge:
    first = parts[0]
    merged = Ridge.__new__(Ridge)
    triangle = _triangle(np.concatenate([part.triangle for part in parts]))
    merged._solve(triangle, sum(part.rows for part in parts), first.width, first.intercept)
    return merged


def _triangle(rows: np.ndarray) -> np.ndarray:
    """R of rows = QR."""
    return np.asarray(np.linalg.qr(rows, mode="r"))


def _joined(features: np.ndarray, targets: np.ndarray, intercept: bool) -> np.ndarray:
    if features.ndim != 2 or targets.ndim != 2 or len(features) != len(targets):
        fact = f"features must be (n, p) and targets (n, O), got {features.shape} and {targets.shape}"
        raise ShapeError(message("Ridge", fact))
    if not len(features):
        raise DataError(message("Ridge", "there is not one row to learn from"))
    ones = [np.ones((len(features), 1))] if intercept else []
    rows = np.concatenate([*ones, features, targets], axis=1, dtype=np.float64)
    if not np.isfinite(rows).all():
        raise DataError(message("Ridge", "features or targets hold NaN or infinity"))
    return rows
