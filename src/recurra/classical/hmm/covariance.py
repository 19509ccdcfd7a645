"""Gaussians by the shape of their covariance: densities, scatter, and the least variance that is let be."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import scipy.linalg

from recurra.base.errors import DataError, ShapeError, message
from recurra.classical.hmm.recursion import library

__all__ = ["KINDS", "checked_covariance", "estimated", "expanded", "factors", "gaussian_log_density", "scatter"]

KINDS = ("diag", "full", "spherical", "tied")
"""A variance per feature; a matrix per Gaussian; one variance per Gaussian; one matrix for all Gaussians of a model."""


def checked_covariance(name: str, value: Any, kind: str, lead: tuple[int, ...], features: int) -> np.ndarray:
    """Covariances for Gaussians `lead` (K,) or (K, M): (*lead, D), (*lead, D, D), (*lead,) or (D, D)."""
    shapes = {
        "diag": (*lead, features),
        "full": (*lead, features, features),
        "spherical": lead,
        "tied": (features, features),
    }
    array = np.array(value, dtype=np.float64)
    if array.shape != shapes[kind]:
        fact = f"covariances of kind {kind} must be {shapes[kind]}, got {array.shape}"
        raise ShapeError(message(name, fact))
    if kind in ("diag", "spherical"):
        if not (np.isfinite(array) & (array > 0)).all():
            raise DataError(message(name, "variances must be finite and above 0"))
        return array
    matrices = array.reshape(-1, features, features)
    for place, matrix in enumerate(matrices):
        if not np.isfinite(matrix).all() or not np.allclose(matrix, matrix.T, rtol=1e-8, atol=1e-12):
            raise DataError(message(name, f"covariance {place} must be finite and symmetric"))
        if np.linalg.eigvalsh(matrix)[0] <= 0:
            least = float(np.linalg.eigvalsh(matrix)[0])
            raise DataError(
                message(name, f"covariance {place} must be positive definite, its least eigenvalue is {least:.3g}")
            )
    return array


def expanded(covariances: np.ndarray, kind: str, count: int, features: int) -> np.ndarray:
    """Variances (count, D) for the kinds diag and spherical, matrices (count, D, D) for full and tied."""
    if kind == "diag":
        return covariances.reshape(count, features)
    if kind == "spherical":
        return np.repeat(covariances.reshape(count, 1), features, axis=1)
    if kind == "full":
        return covariances.reshape(count, features, features)
    return np.broadcast_to(covariances, (count, features, features))


def factors(covariances: np.ndarray) -> np.ndarray:
    """Standard deviations of variances (C, D), or lower Cholesky factors of matrices (C, D, D)."""
    return np.sqrt(covariances) if covariances.ndim == 2 else np.linalg.cholesky(covariances)


def gaussian_log_density(data: np.ndarray, means: np.ndarray, covariances: np.ndarray) -> np.ndarray:
    """(N, C) log densities of data (N, D) under means (C, D) and variances (C, D) or covariances (C, D, D)."""
    count, features = means.shape
    parts = np.ascontiguousarray(factors(covariances))
    diagonal = parts.ndim == 2
    deviations = parts if diagonal else parts.diagonal(axis1=1, axis2=2)
    constants = -0.5 * features * math.log(2 * math.pi) - np.log(deviations).sum(axis=1)
    native = library()
    if native is not None:
        out = np.empty((len(data), count))
        means = np.ascontiguousarray(means)
        places = [part.ctypes.data for part in (data, means, parts, constants, out)]
        native.gaussian_density(len(data), features, count, int(diagonal), *places)
        return out
    if diagonal:
        scaled = (data[:, None] - means) / parts
    else:
        solved = [
            scipy.linalg.solve_triangular(p, (data - m).T, lower=True).T for p, m in zip(parts, means, strict=True)
        ]
        scaled = np.stack(solved, axis=1)
    return constants - 0.5 * (scaled**2).sum(-1)


def scatter(data: np.ndarray, means: np.ndarray, weights: np.ndarray, *, diagonal: bool) -> np.ndarray:
    """Sum over steps of weights (N, C) times (x - mean)(x - mean)': (C, D, D), or its diagonals (C, D)."""
    count, features = means.shape
    native = library()
    if native is not None:
        out = np.zeros((count, features) if diagonal else (count, features, features))
        means, weights = np.ascontiguousarray(means), np.ascontiguousarray(weights)
        places = [part.ctypes.data for part in (data, means, weights, out)]
        native.gaussian_scatter(len(data), features, count, int(diagonal), *places)
        return out
    parts = []
    for mean, weight in zip(means, weights.T, strict=True):
        centred = data - mean
        parts.append((weight[:, None] * centred**2).sum(0) if diagonal else (weight[:, None] * centred).T @ centred)
    return np.stack(parts)


def estimated(
    kind: str, sums: np.ndarray, counts: np.ndarray, prior: tuple[float, float], least: np.ndarray
) -> np.ndarray:
    """Covariances from scatter (C, D) or (C, D, D) and counts (C,), in the shape of `kind` for C Gaussians.

    prior: (scale, count), added to the scatter (its diagonal) and to the counts. least (D,): the least variance of
    each feature; a matrix is bounded by its eigenvalues in those units. Both are the constrained maximum.
    """
    scale, extra = prior
    features = sums.shape[1]
    if kind == "diag":
        return np.maximum((sums + scale) / _safe(counts + extra)[:, None], least)
    if kind == "spherical":
        # The mean over features; its bound is the mean bound.
        return np.maximum((sums + scale).mean(axis=1) / _safe(counts + extra), least.mean())
    added = scale * np.eye(features)
    if kind == "tied":
        return _bounded((sums.sum(axis=0) + added) / (counts.sum() + extra), least)
    return np.stack([_bounded((s + added) / c, least) for s, c in zip(sums, _safe(counts + extra), strict=True)])


def _safe(counts: np.ndarray) -> np.ndarray:
    return np.where(counts > 0, counts, 1.0)


def _bounded(matrix: np.ndarray, least: np.ndarray) -> np.ndarray:
    unit = np.sqrt(least)
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2 / np.outer(unit, unit))
    if values[0] >= 1:
        return (matrix + matrix.T) / 2
    return (vectors * np.maximum(values, 1.0)) @ vectors.T * np.outer(unit, unit)
