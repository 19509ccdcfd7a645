"""Chaotic maps: Hénon's in the plane and the logistic one on the interval."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recurra.base.errors import DataError, message

__all__ = ["henon", "logistic"]


def henon(
    steps: int, *, a: float = 1.4, b: float = 0.3, start: Sequence[float] = (0.0, 0.0), discard: int = 0
) -> np.ndarray:
    """Points (T, 2) of x' = 1 - a x² + y, y' = b x (Hénon 1976), from `start` on, the first `discard` left out.

    DataError where the orbit runs off to infinity, as it does from starts outside the basin.

    >>> henon(4).round(4).tolist()
    [[0.0, 0.0], [1.0, 0.0], [-0.4, 0.3], [1.076, -0.12]]
    """
    _counts("henon", steps, discard)
    x, y = (float(value) for value in start)
    points = np.empty((steps, 2))
    for index in range(-discard, steps):
        if index >= 0:
            points[index] = x, y
        x, y = 1 - a * x * x + y, b * x
        if not abs(x) < 1e6:
            raise DataError(
                message(
                    "henon", f"the orbit of a = {a}, b = {b} from {list(start)} runs off after {index + discard} steps"
                )
            )
    return points


def logistic(steps: int, *, rate: float = 3.9, start: float = 0.5, discard: int = 0) -> np.ndarray:
    """Points (T, 1) of x' = rate x (1 - x) (May 1976), from `start` on, the first `discard` left out.

    Raises DataError for a rate outside [0, 4] or a start outside [0, 1], where the orbit leaves the interval.

    >>> logistic(3, rate=4.0, start=0.25).ravel().tolist()
    [0.25, 0.75, 0.75]
    """
    _counts("logistic", steps, discard)
    if not 0 <= rate <= 4 or not 0 <= start <= 1:
        raise DataError(message("logistic", f"rate must be in [0, 4] and start in [0, 1], got {rate} and {start}"))
    x = float(start)
    points = np.empty((steps, 1))
    for index in range(-discard, steps):
        if index >= 0:
            points[index] = x
        x = rate * x * (1 - x)
    return points


def _counts(where: str, steps: int, discard: int) -> None:
    if steps < 1 or discard < 0:
        raise DataError(message(where, f"steps must be at least 1 and discard at least 0, got {steps} and {discard}"))
