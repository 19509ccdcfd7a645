"""NARMA: a system with memory and products, driven by noise; the model sees the noise and must say the output."""

from __future__ import annotations

import numpy as np

from recurra.base.errors import DataError, message

__all__ = ["narma", "narma_response"]

# Atiya & Parlos 2000: a, b, c, d by order. Order 20 and above is squashed by tanh, or it would diverge.
COEFFICIENTS = {10: (0.3, 0.05, 1.5, 0.1), 20: (0.3, 0.05, 1.5, 0.01), 30: (0.2, 0.04, 1.5, 0.001)}
# The outputs of a bounded run stay below 1 (order 10: mean 0.4); past this they never come back.
BOUND = 2.0
ATTEMPTS = 100


def narma_response(u: np.ndarray, order: int = 10) -> np.ndarray:
    """The output y (T,) of the system of `order` for the input u (T,), which stays in [0, 0.5]; y is 0 before time 0.

        y_{t+1} = a y_t + b y_t (y_t + ... + y_{t-n+1}) + c u_{t-n+1} u_t + d

    with n = order; y[t] is what the inputs up to u[t-1] decide (Atiya & Parlos 2000). Order 20 takes tanh of the right
    side. The result holds infinities where the system runs away; `narma` draws again instead.
    """
    if order not in COEFFICIENTS:
        raise DataError(message("narma_response", f"order must be one of {sorted(COEFFICIENTS)}, got {order}"))
    given = np.asarray(u, dtype=np.float64)
    if given.ndim != 1 or not given.size or not np.isfinite(given).all():
        raise DataError(
            message("narma_response", f"u must be a vector (T,) of finite numbers, got shape {given.shape}")
        )
    a, b, c, d = COEFFICIENTS[order]
    squash = np.tanh if order == 20 else float
    # n values before time 0, so that no step is a special one.
    y = np.zeros(order + len(given))
    past = np.concatenate([np.zeros(order - 1), given])
    for t in range(len(given) - 1):
        at = t + order
        value = a * y[at] + b * y[at] * y[at - order + 1 : at + 1].sum() + c * past[t] * given[t] + d
        y[at + 1] = squash(value)
        if not y[at + 1] < BOUND:
            y[at + 1 :] = np.inf
            break
    return y[order:]


def narma(steps: int, *, order: int = 10, discard: int = 200, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Input u (T, 1), uniform on [0, 0.5], and output y (T, 1) of the NARMA system of `order` (10, 20 or 30).

    The system of order 10 runs away on some two of a hundred inputs of 4,000 steps: such a draw is seen and made anew,
    so what comes back is always bounded. discard: steps before the first, while the zeros before time 0 still show.

    >>> u, y = narma(1000)
    >>> u.shape, round(float(y.mean()), 2)
    ((1000, 1), 0.39)
    """
    if steps < 1 or discard < 0:
        raise DataError(message("narma", f"steps must be at least 1 and discard at least 0, got {steps} and {discard}"))
    generator = np.random.default_rng(seed)
    for _ in range(ATTEMPTS):
        u = generator.uniform(0.0, 0.5, steps + discard)
        y = narma_response(u, order)
        if np.isfinite(y).all():
            return u[discard:, None], y[discard:, None]
    raise DataError(
        message(
            "narma",
            f"{ATTEMPTS} draws of {steps + discard} steps all ran away",
            hint="order 10 seldom stays bounded for so long; make several shorter series.",
        )
    )
