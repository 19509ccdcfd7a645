"""What theory says of an adaptive filter before it runs: the largest step, how fast, how much worse than the best.

All formulas are for w += step e u and hold under the independence assumption (regressors independent of each other);
those marked Gaussian also need Gaussian regressors (Feuer and Weinstein 1985; Haykin, Adaptive Filter Theory, 2014).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from recurra.base.errors import DataError, message

__all__ = [
    "StepBounds",
    "autocorrelation_matrix",
    "lms_misadjustment",
    "lms_time_constants",
    "nlms_misadjustment",
    "notch",
    "rls_misadjustment",
    "step_bounds",
]


class StepBounds(NamedTuple):
    """Steps below which LMS converges."""

    mean: float
    """In the mean: 2 / the largest eigenvalue."""
    mean_square: float
    """In the mean square, Gaussian: the step at which the misadjustment becomes infinite."""
    safe: float
    """2 / (3 trace): a bound that needs no eigenvalues."""


def autocorrelation_matrix(x: Any, taps: int = 1) -> np.ndarray:
    """R = E[u u^H] (N, N) of the regressors of x (T,) or (T, C), by averaging over the signal (zeros before it)."""
    signal = np.asarray(x)
    signal = signal[:, None] if signal.ndim == 1 else signal
    if signal.ndim != 2 or not signal.size:
        raise DataError(
            message("autocorrelation_matrix", f"x must be (T,) or (T, C) and not empty, got {signal.shape}")
        )
    if not np.isfinite(signal).all():
        raise DataError(message("autocorrelation_matrix", "x has samples that are not finite"))
    if taps < 1:
        raise DataError(message("autocorrelation_matrix", f"taps must be at least 1, got {taps}"))
    padded = np.concatenate([np.zeros((taps - 1, signal.shape[1]), signal.dtype), signal])
    rows = [padded[taps - 1 - lag : len(padded) - lag] for lag in range(taps)]
    u = np.concatenate(rows, axis=1)
    return u.T @ u.conj() / len(u)


def step_bounds(x: Any, taps: int = 1) -> StepBounds:
    """The largest steps of LMS for the signal x, from its autocorrelation.

    >>> x = np.random.default_rng(0).normal(size=100_000)
    >>> bounds = step_bounds(x, taps=16)
    >>> round(bounds.mean_square, 2), round(2 / 18, 2)   # white: 2 / ((N + 2) s²)
    (0.11, 0.11)
    """
    eigenvalues = np.linalg.eigvalsh(autocorrelation_matrix(x, taps))
    largest, trace = float(eigenvalues[-1]), float(eigenvalues.sum())
    if not largest > 0:
        raise DataError(message("step_bounds", "x is zero throughout: any step is stable, and none learns"))
    # eta(step) = sum step l / (2 (1 - step l)) rises from 0 to infinity on (0, 1 / largest); stable where below 1.
    low, high = 0.0, 1 / largest
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if _eta(middle, eigenvalues) < 1 else (low, middle)
    return StepBounds(mean=2 / largest, mean_square=low, safe=2 / (3 * trace))


def _eta(step: float, eigenvalues: np.ndarray) -> float:
    left = 1 - step * eigenvalues
    return math.inf if (left <= 0).any() else float((step * eigenvalues / (2 * left)).sum())


def lms_misadjustment(step: float, eigenvalues: Any) -> float:
    """(J - Jmin) / Jmin in the steady state of LMS, Gaussian: eta / (1 - eta); infinite where it is not stable.

    White regressors of variance s²: step N s² / (2 - step (N + 2) s²).

    >>> round(lms_misadjustment(0.02, [1.0] * 16), 4)
    0.1951
    """
    eta = _eta(step, np.asarray(eigenvalues, dtype=float))
    return math.inf if eta >= 1 else eta / (1 - eta)


def lms_time_constants(step: float, eigenvalues: Any) -> np.ndarray:
    """Samples in which each mode's share of the squared error falls by a factor of e: 1 / (2 step eigenvalue)."""
    return 1 / (2 * step * np.asarray(eigenvalues, dtype=float))


def nlms_misadjustment(step: float, size: int) -> float:
    """The same for NLMS with white Gaussian regressors of N = size > 2: step / (2 - step) * N / (N - 2)."""
    if size <= 2 or not 0 < step < 2:
        raise DataError(message("nlms_misadjustment", f"needs size > 2 and 0 < step < 2, got {size} and {step}"))
    return step / (2 - step) * size / (size - 2)


def rls_misadjustment(forgetting: float, size: int) -> float:
    """The same for RLS: about N (1 - forgetting) / (1 + forgetting), for N (1 - forgetting) well below 1."""
    return size * (1 - forgetting) / (1 + forgetting)


def notch(frequency_hz: float, rate_hz: float, step: float, amplitude: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Numerator and denominator of the notch filter that LMS *is* with the references amplitude cos, sin (Glover 1977).

    From d to e, exactly; the -3 dB width is step amplitude² rate / (2 pi) Hz.
    """
    turn, gain = 2 * math.cos(2 * math.pi * frequency_hz / rate_hz), step * amplitude**2
    return np.array([1.0, -turn, 1.0]), np.array([1.0, -(1 - gain / 2) * turn, 1 - gain])
