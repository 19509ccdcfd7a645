"""Random weights of a reservoir and the numbers that say how strongly it recurs."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import scipy.sparse
import scipy.sparse.linalg

from recurra.base.errors import ConfigError, message

__all__ = [
    "Distribution",
    "Scaling",
    "effective_spectral_radius",
    "operator_norm",
    "random_weights",
    "rescaled",
    "spectral_radius",
]

Distribution = Literal["uniform", "normal", "signs"]
Scaling = Literal["spectral", "effective", "operator", "none"]
# SciPy does not type its sparse arrays.
Matrix = Any
# Up to here all eigenvalues at once take less time than the largest one by Arnoldi iteration.
DENSE_UNITS = 400


def random_weights(
    rows: int, columns: int, density: float, distribution: Distribution, generator: np.random.Generator
) -> Matrix:
    """(rows, columns) with `density` of its entries not zero, drawn from `distribution` at scale 1.

    "uniform" on [-1, 1], "normal" with deviation 1, "signs" -1 or 1. Every row has the same number of entries, rounded
    at random, so that no unit is left out of a thin reservoir.
    """
    if not 0 <= density <= 1:
        raise ConfigError(message("random_weights", f"density must be in [0, 1], got {density}"))
    wanted = density * columns
    counts = np.floor(wanted).astype(int) + (generator.random(rows) < wanted % 1)
    if density == 1:
        chosen = np.tile(np.arange(columns, dtype=np.int32), rows)
    else:
        chosen = np.concatenate(
            [np.sort(generator.choice(columns, count, replace=False, shuffle=False)) for count in counts]
            or [np.zeros(0)]
        ).astype(np.int32)
    total = int(counts.sum())
    if distribution == "uniform":
        values = generator.uniform(-1.0, 1.0, total)
    elif distribution == "normal":
        values = generator.standard_normal(total)
    elif distribution == "signs":
        values = generator.choice([-1.0, 1.0], total)
    else:
        fact = f"distribution must be 'uniform', 'normal' or 'signs', got {distribution!r}"
        raise ConfigError(message("random_weights", fact))
    starts = np.concatenate([[0], np.cumsum(counts)])
    return scipy.sparse.csr_array((values, chosen, starts), shape=(rows, columns))


def spectral_radius(matrix: Matrix) -> float:
    """The largest modulus of an eigenvalue of a square matrix, dense or sparse.

    >>> round(spectral_radius(np.array([[0.0, 2.0], [-2.0, 0.0]])), 12)
    2.0
    """
    size = matrix.shape[0]
    if size > DENSE_UNITS:
        try:
            # The outermost eigenvalues of a random matrix lie close together, often as conjugate pairs: asked for one,
            # in a small Krylov space, ARPACK is slower and may return one further in.
            options: dict[str, Any] = {"v0": np.ones(size), "maxiter": 40 * size, "tol": 1e-9, "ncv": min(size, 200)}
            found = scipy.sparse.linalg.eigs(matrix, k=4, which="LM", return_eigenvectors=False, **options)
            return float(np.abs(found).max())
        except scipy.sparse.linalg.ArpackError:
            # Nilpotent or nearly so: the direct way below knows what to do.
            pass
    return float(np.abs(np.linalg.eigvals(_dense(matrix))).max()) if size else 0.0


def operator_norm(matrix: Matrix) -> float:
    """The largest singular value: below 1, with tanh units and no feedback, states are forgotten for every input."""
    return float(np.linalg.norm(_dense(matrix), 2)) if matrix.shape[0] else 0.0


def effective_spectral_radius(matrix: Matrix, leak: float = 1.0, gain: float | None = None) -> float:
    """Spectral radius of (1 - leak) I + gain W, what a leaky reservoir is near the zero state (Jaeger et al. 2007).

    gain: `leak` unless given. At or above 1 a reservoir of tanh units without bias keeps a memory of its start when
    the input is zero.
    """
    gain = leak if gain is None else gain
    return spectral_radius(
        (1.0 - leak) * scipy.sparse.eye_array(matrix.shape[0]) + gain * scipy.sparse.csr_array(matrix)
    )


def rescaled(matrix: Matrix, scaling: Scaling, target: float, leak: float, gain: float) -> Matrix:
    """`matrix` times the factor that gives it `target` as its spectral radius, effective spectral radius or norm."""
    where = "reservoir weights"
    if scaling == "none":
        return matrix
    if not (target >= 0 and np.isfinite(target)):
        raise ConfigError(message(where, f"the radius to scale to must be at least 0, got {target}"))
    if scaling == "effective":
        return scipy.sparse.csr_array(matrix * _effective_factor(_dense(matrix), target, leak, gain))
    if scaling not in ("spectral", "operator"):
        fact = f"scaling must be 'spectral', 'effective', 'operator' or 'none', got {scaling!r}"
        raise ConfigError(message(where, fact))
    size = spectral_radius(matrix) if scaling == "spectral" else operator_norm(matrix)
    # A matrix of very few entries may hold no cycle, and then has no radius to scale.
    if size < 1e-8 * (np.abs(matrix.data).max() if matrix.nnz else 1.0):
        if target == 0 or scaling == "operator":
            return matrix
        raise ConfigError(
            message(
                where,
                f"{matrix.nnz} connections among {matrix.shape[0]} units form no cycle, so their spectral radius is 0",
                hint="a larger density, another seed, or scaling='operator'.",
            )
        )
    return scipy.sparse.csr_array(matrix * (target / size))


def _effective_factor(matrix: np.ndarray, target: float, leak: float, gain: float) -> float:
    """The least c > 0 for which max |1 - leak + gain c λ| = target: for each eigenvalue λ a quadratic equation in c."""
    own = 1.0 - leak
    if target <= abs(own):
        raise ConfigError(
            message(
                "reservoir weights",
                f"an effective radius of {target} is below 1 - leak = {own:g}, what the units keep by themselves",
            )
        )
    roots = gain * np.linalg.eigvals(matrix)
    a, b, c = np.abs(roots) ** 2, 2 * own * roots.real, own**2 - target**2
    kept = a > 1e-16
    a, b = a[kept], b[kept]
    if not a.size:
        raise ConfigError(message("reservoir weights", "the connections form no cycle; their spectral radius is 0"))
    # c < 0, so that each has exactly one positive root.
    return float((2 * -c / (b + np.sqrt(b * b - 4 * a * c))).min())


def _dense(matrix: Matrix) -> np.ndarray:
    return matrix if isinstance(matrix, np.ndarray) else np.asarray(matrix.todense())
