"""From numbers to spikes: trains that carry rates, and trains that carry changes."""

from __future__ import annotations

from typing import Any

import numpy as np

from recurra.base.errors import ConfigError, DataError, message
from recurra.reservoir.arrays import Array, like, plain

__all__ = ["integrate_and_fire", "poisson", "send_on_delta"]


def poisson(rates_hz: Array, *, dt_ms: float = 1.0, seed: int = 0) -> Any:
    """Independent spike counts (B, T, I) whose expected number per step is rates_hz (B, T, I) dt_ms / 1000."""
    rates = _rates("poisson", rates_hz, dt_ms)
    return like(np.random.default_rng(seed).poisson(rates * dt_ms / 1000).astype(np.float64), rates_hz)


def integrate_and_fire(rates_hz: Array, *, dt_ms: float = 1.0) -> Any:
    """The most regular spike counts (B, T, I) with these rates: after t steps, floor of the rates' integral spikes.

    Deterministic: what a current-driven integrate-and-fire neuron without leak sends.

    >>> integrate_and_fire(np.full((1, 6, 1), 400.0)).ravel().tolist()
    [0.0, 0.0, 1.0, 0.0, 1.0, 0.0]
    """
    rates = _rates("integrate_and_fire", rates_hz, dt_ms)
    # A whole number that rounding left just short of it is one.
    total = np.floor(np.cumsum(rates, axis=1) * (dt_ms / 1000) + 1e-9)
    return like(np.diff(total, axis=1, prepend=0.0), rates_hz)


def send_on_delta(x: Array, *, step: float) -> Any:
    """Spikes (B, T, 2 I) when a signal x (B, T, I) has moved by `step` since its last spike: rises first, then falls.

    The receiver knows x to within `step`: adding rises and taking off falls, times step, follows it. Several spikes a
    step where it jumps.
    """
    given = plain(x).astype(np.float64)
    if given.ndim != 3 or not np.isfinite(given).all():
        raise DataError(message("send_on_delta", f"x must be (B, T, I) and finite, got shape {given.shape}"))
    if not step > 0:
        raise ConfigError(message("send_on_delta", f"step must be above 0, got {step}"))
    spikes = np.zeros((*given.shape[:2], 2 * given.shape[2]))
    if not given.shape[1]:
        return like(spikes, x)
    known = given[:, 0].copy()
    for t in range(1, given.shape[1]):
        moved = np.trunc((given[:, t] - known) / step)
        known += moved * step
        spikes[:, t] = np.concatenate([np.maximum(moved, 0), np.maximum(-moved, 0)], axis=1)
    return like(spikes, x)


def _rates(where: str, rates_hz: Array, dt_ms: float) -> np.ndarray:
    rates = plain(rates_hz).astype(np.float64)
    if rates.ndim != 3 or not np.isfinite(rates).all() or rates.min(initial=0.0) < 0:
        fact = f"rates_hz must be (B, T, I), finite and at least 0, got shape {rates.shape}"
        raise DataError(message(where, fact))
    if not dt_ms > 0:
        raise ConfigError(message(where, f"dt_ms must be above 0, got {dt_ms}"))
    return rates
