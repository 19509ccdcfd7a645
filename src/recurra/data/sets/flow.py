"""Trajectories of ordinary differential equations, sampled at equal steps to a stated tolerance."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy.integrate import solve_ivp

from recurra.base.errors import DataError, message

__all__ = ["trajectory"]

Array = np.ndarray


def trajectory(
    where: str,
    field: Callable[[float, Array], Array | Sequence[float]],
    start: Array,
    steps: int,
    dt: float,
    *,
    discard: float = 0.0,
    method: str = "DOP853",
    rtol: float = 1e-12,
    atol: float = 1e-12,
) -> Array:
    """`steps` points (T, D), `dt` apart in time, of the solution of y' = field(t, y) that starts at `start` (D,).

    discard: time that passes before the first point is taken, in the field's units; 0 makes `start` the first point.
    method, rtol, atol: as `scipy.integrate.solve_ivp` has them. DOP853 is the explicit Runge-Kutta method of order 8 of
    Dormand and Prince (Hairer, Norsett & Wanner 1993) with dense output of order 7.
    where: the name that errors carry.

    A chaotic solution is exact only for a while: an error grows by exp(t / Lyapunov time), so 1e-12 is one after about
    28 Lyapunov times, whatever the solver. Beyond that the points follow the same attractor on some other trajectory.
    """
    start = np.asarray(start, dtype=np.float64)
    faults = []
    if start.ndim != 1 or not np.isfinite(start).all():
        faults.append(f"start must be a vector of finite numbers, got {start!r}")
    if int(steps) != steps or steps < 1:
        faults.append(f"steps must be a whole number of at least 1, got {steps!r}")
    if not dt > 0:
        faults.append(f"dt must be above 0, got {dt!r}")
    if not discard >= 0:
        faults.append(f"discard must be a time of at least 0, got {discard!r}")
    if faults:
        raise DataError(message(where, faults[0], *faults[1:]))
    times = discard + dt * np.arange(int(steps))
    # A field that blows up does so by overflowing; the check below tells the user.
    with np.errstate(over="ignore", invalid="ignore"):
        solved = solve_ivp(
            field, (0.0, float(times[-1]) or dt), start, method=method, t_eval=times, rtol=rtol, atol=atol
        )
    if not solved.success or not np.isfinite(solved.y).all():
        raise DataError(
            message(
                where, f"the solution from start = {start.tolist()} leaves every bound", f"{method}: {solved.message}"
            )
        )
    return np.ascontiguousarray(solved.y.T)
