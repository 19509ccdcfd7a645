"""Lorenz's ring of 1996: a weather of any number of sites, chaotic in space and time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from recurra.base.errors import DataError, message
from recurra.data.sets.flow import trajectory

__all__ = ["lorenz96"]


def lorenz96(
    steps: int,
    *,
    sites: int = 36,
    forcing: float = 8.0,
    dt: float = 0.05,
    start: Sequence[float] | None = None,
    discard: float = 50.0,
    **solver: Any,
) -> np.ndarray:
    """Points (T, sites) of x_i' = (x_{i+1} - x_{i-2}) x_{i-1} - x_i + forcing, indices around the ring (Lorenz 1996).

    start: (sites,); by default every site at `forcing`, the first 0.01 above. discard: time to reach the attractor.
    solver: as of `flow.trajectory`. One unit of time is about five days; dt = 0.05 is six hours.
    """
    if sites < 4:
        raise DataError(message("lorenz96", f"the ring needs at least 4 sites, got {sites}"))
    if start is None:
        first = np.full(sites, float(forcing))
        first[0] += 0.01
    else:
        first = np.asarray(start, dtype=np.float64)
        if first.shape != (sites,):
            raise DataError(message("lorenz96", f"start must be (sites,) = ({sites},), got {first.shape}"))

    def field(_: float, x: np.ndarray) -> np.ndarray:
        return (np.roll(x, -1) - np.roll(x, 2)) * np.roll(x, 1) - x + forcing

    return trajectory("lorenz96", field, first, steps, dt, discard=discard, **solver)
