"""The Mackey-Glass equation: a production of blood cells that answers late, chaotic for delays above 16.8."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from recurra.base.errors import DataError, message

__all__ = ["from_jaeger", "mackey_glass", "to_jaeger"]

Number = Any  # a float, or an array (B,) of them: the loop is the same for both


def mackey_glass(
    steps: int,
    *,
    tau: float = 17.0,
    beta: float = 0.2,
    gamma: float = 0.1,
    power: float = 10.0,
    dt: float = 0.1,
    sample: float = 1.0,
    start: float | np.ndarray | Callable[[float], Number] = 1.2,
    discard: float = 1000.0,
    method: Literal["rk4", "euler"] = "rk4",
) -> np.ndarray:
    """Points (T, 1), `sample` apart in time, of x'(t) = beta x(t - tau) / (1 + x(t - tau)^power) - gamma x(t).

    (Mackey & Glass 1977; tau = 17 is mildly chaotic, 30 wildly.)

    dt: the solver's step; tau and sample must be whole multiples of it. The error falls as dt⁴.
    start: x for all t <= 0. A number, an array (B,) for B series at once, which gives (B, T, 1), or a function of t.
    discard: time before the first point. method: "rk4", the classical Runge-Kutta method whose half steps read the
    delayed x from the cubic Hermite polynomial of its grid (the interpolation is of the method's own order), or
    "euler", Jaeger's (2001) discretisation, whose step is part of the series' definition.

    >>> mackey_glass(3).ravel().round(4).tolist()
    [0.9472, 0.9009, 0.8578]
    """
    where = "mackey_glass"
    delay, stride = _whole(where, "tau", tau, dt), _whole(where, "sample", sample, dt)
    if steps < 1 or not discard >= 0:
        raise DataError(message(where, f"steps must be at least 1 and discard at least 0, got {steps} and {discard}"))
    if method not in ("rk4", "euler"):
        raise DataError(message(where, f"method must be 'rk4' or 'euler', got {method!r}"))
    past = start if callable(start) else (lambda _: first)
    first = past(0.0) if callable(start) else _start(where, start)

    def slope(now: Number, late: Number) -> Number:
        return beta * late / (1.0 + late**power) - gamma * now

    before = round(discard / dt)
    count = before + (steps - 1) * stride
    grid = [past((index - delay) * dt) for index in range(delay)] + [first]
    # The delayed x at the middle of each step; within the given past it is given too.
    middle = [past((index - delay + 0.5) * dt) for index in range(delay)]
    x = first
    if method == "euler":
        for at in range(count):
            x = x + dt * slope(x, grid[at])
            grid.append(x)
    else:
        k1 = slope(x, grid[0])
        for at in range(count):
            half, end = middle[at], grid[at + 1]
            k2 = slope(x + (0.5 * dt) * k1, half)
            k3 = slope(x + (0.5 * dt) * k2, half)
            k4 = slope(x + dt * k3, end)
            after = x + (dt / 6.0) * (k1 + 2.0 * (k2 + k3) + k4)
            # The slope at the right end is the next step's first.
            onward = slope(after, end)
            middle.append(0.5 * (x + after) + (dt / 8.0) * (k1 - onward))
            grid.append(after)
            x, k1 = after, onward
    points = np.asarray(grid[delay + before :: stride], dtype=np.float64)
    if not np.isfinite(points).all():
        raise DataError(message(where, f"the series leaves every bound with dt = {dt}", hint="make dt smaller."))
    return points.T[..., None] if points.ndim == 2 else points[:, None]


def to_jaeger(series: np.ndarray) -> np.ndarray:
    """tanh(x - 1): the range that Jaeger's (2001) networks learn and give."""
    return np.tanh(series - 1.0)


def from_jaeger(series: np.ndarray) -> np.ndarray:
    """The inverse of `to_jaeger`; values at or beyond ±1 have none and give ±inf or NaN."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.arctanh(series) + 1.0


def _whole(where: str, name: str, value: float, dt: float) -> int:
    if not dt > 0 or not value > 0:
        raise DataError(message(where, f"dt and {name} must be above 0, got {dt} and {value}"))
    count = round(value / dt)
    if count < 1 or abs(count * dt - value) > 1e-9 * value:
        raise DataError(
            message(
                where,
                f"{name} must be a whole multiple of dt, got {name} = {value} and dt = {dt}",
                f"{value} / {dt} = {value / dt:.9g}",
                hint="so the delayed values are the solver's own, not a guess between them.",
            )
        )
    return count


def _start(where: str, start: float | np.ndarray) -> Number:
    value = np.asarray(start, dtype=np.float64)
    if value.ndim > 1 or not value.size or not np.isfinite(value).all():
        raise DataError(message(where, f"start must be a finite number or an array (B,) of them, got {start!r}"))
    return value if value.ndim else float(value)
