"""The attractor of Rössler 1976: one quadratic term, a folded band."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from recurra.data.sets.flow import trajectory

__all__ = ["rossler"]


def rossler(
    steps: int,
    *,
    a: float = 0.2,
    b: float = 0.2,
    c: float = 5.7,
    dt: float = 0.1,
    start: Sequence[float] = (0.1, 0.0, 0.0),
    discard: float = 200.0,
    **solver: Any,
) -> np.ndarray:
    """Points (T, 3) of x' = -y - z, y' = x + a y, z' = b + z (x - c) (Rössler 1976), `dt` apart.

    discard: time to reach the attractor. solver: as of `flow.trajectory`. Largest Lyapunov exponent 0.0714.
    """

    def field(_: float, state: np.ndarray) -> list[float]:
        x, y, z = state.tolist()
        return [-y - z, x + a * y, b + z * (x - c)]

    return trajectory("rossler", field, np.asarray(start), steps, dt, discard=discard, **solver)
