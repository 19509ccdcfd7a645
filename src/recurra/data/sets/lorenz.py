"""The Lorenz attractor of 1963: three equations of convection, the standard chaotic flow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from recurra.data.sets.flow import trajectory

__all__ = ["LYAPUNOV_EXPONENT", "LYAPUNOV_TIME", "lorenz"]

# Largest exponent of the standard parameters, per unit of time (Sprott 2003, appendix A).
LYAPUNOV_EXPONENT = 0.9056
LYAPUNOV_TIME = 1 / LYAPUNOV_EXPONENT


def lorenz(
    steps: int,
    *,
    sigma: float = 10.0,
    rho: float = 28.0,
    beta: float = 8 / 3,
    dt: float = 0.02,
    start: Sequence[float] = (1.0, 1.0, 1.0),
    discard: float = 40.0,
    **solver: Any,
) -> np.ndarray:
    """Points (T, 3) of x' = sigma (y - x), y' = x (rho - z) - y, z' = x y - beta z (Lorenz 1963), `dt` apart.

    discard: time to reach the attractor before the first point. solver: `method`, `rtol`, `atol` of `flow.trajectory`;
    DOP853 at 1e-12 unless told otherwise.

    >>> lorenz(3, dt=0.1, discard=0.0).round(6).tolist()[1]
    [2.133108, 4.47142, 1.113899]
    """

    def field(_: float, state: np.ndarray) -> list[float]:
        x, y, z = state.tolist()
        return [sigma * (y - x), x * (rho - z) - y, x * y - beta * z]

    return trajectory("lorenz", field, np.asarray(start), steps, dt, discard=discard, **solver)
