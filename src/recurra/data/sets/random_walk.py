"""A random walk, as of a share's price: each return is drawn anew, so the best forecast of tomorrow's price is today's.

With `memory` the returns depend on the last one, r' = memory r + sqrt(1 - memory^2) noise, and then something can be
predicted: the share memory^2 of their variance, and no more. So a model can be asked both ways.
"""

from __future__ import annotations

import numpy as np

from recurra.base.errors import DataError, message

__all__ = ["returns", "walk"]


def returns(steps: int, *, memory: float = 0.0, volatility: float = 0.01, seed: int = 0) -> np.ndarray:
    """Returns (T, 1): mean 0, standard deviation `volatility`, correlation `memory` with the one before.

    >>> returns(3, seed=1).round(4).ravel().tolist()
    [0.0035, 0.0082, 0.0033]
    """
    if steps < 1 or not -1 < memory < 1 or not volatility > 0:
        fact = f"needs steps >= 1, -1 < memory < 1, volatility > 0, got {steps}, {memory}, {volatility}"
        raise DataError(message("random_walk.returns", fact))
    noise = np.random.default_rng(seed).standard_normal(steps)
    values = np.empty(steps)
    values[0] = noise[0]
    fresh = np.sqrt(1 - memory**2)
    for t in range(1, steps):
        values[t] = memory * values[t - 1] + fresh * noise[t]
    return volatility * values[:, None]


def walk(
    steps: int, *, start: float = 100.0, memory: float = 0.0, volatility: float = 0.01, seed: int = 0
) -> np.ndarray:
    """Prices (T, 1): `start` times the exponential of the summed returns."""
    return start * np.exp(np.cumsum(returns(steps, memory=memory, volatility=volatility, seed=seed), axis=0))
