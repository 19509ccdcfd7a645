"""How good a reservoir or its forecast is: memory capacity, valid prediction time, NRMSE at a horizon, forgetting."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from recurra.base.errors import DataError, ShapeError, message
from recurra.reservoir.arrays import plain
from recurra.reservoir.compose import AnyReservoir
from recurra.reservoir.ridge import Ridge

__all__ = ["MemoryCurve", "forgetting", "memory_capacity", "nrmse", "nrmse_at", "valid_prediction_time"]


class MemoryCurve(NamedTuple):
    """What is left of an input after `delays` steps: `recalled` (K,), squared correlations in [0, 1]."""

    delays: np.ndarray
    recalled: np.ndarray

    @property
    def capacity(self) -> float:
        """Their sum, in steps."""
        return float(self.recalled.sum())


def memory_capacity(
    reservoir: AnyReservoir,
    *,
    longest: int | None = None,
    steps: int = 0,
    washout: int = 0,
    amplitude: float = 0.8,
    ridge: float = 1e-12,
    seed: int = 0,
) -> MemoryCurve:
    """How much of an independent uniform input can be read from the states k steps later (Jaeger 2001b).

        MC = sum over k of MC_k,   MC_k = correlation²(u(t - k), y_k(t))

    with the best linear readout y_k for each delay k = 1 .. `longest` (2 N unless given), fitted to `steps` steps and
    judged on as many new ones. MC is at most N, for any reservoir; the bias that finite samples add to a squared
    correlation, 1 / steps, is taken off. steps: 20 N + 1,000 unless given; washout: `longest` unless given.
    """
    where = "memory_capacity"
    if reservoir.input_size != 1 or reservoir.feedback_size:
        raise ShapeError(message(where, f"needs one input and no feedback; the input size is {reservoir.input_size}"))
    longest = 2 * reservoir.units if longest is None else longest
    steps = steps or 20 * reservoir.units + 1000
    washout = max(washout, longest)
    if longest < 1 or steps <= reservoir.units + 1:
        fact = f"longest must be at least 1, steps above N + 1 = {reservoir.units + 1}; got {longest} and {steps}"
        raise DataError(message(where, fact))
    u = np.random.default_rng(seed).uniform(-amplitude, amplitude, washout + 2 * steps)
    states = plain(reservoir(u[None, :, None])[0])[0, washout:].astype(np.float64)
    aims = np.lib.stride_tricks.sliding_window_view(u, longest + 1)[washout - longest :, ::-1][:, 1:]
    readout = Ridge(states[:steps], aims[:steps]).readout(ridge)
    said, true = readout(states[steps:]), aims[steps:]
    said, true = said - said.mean(0), true - true.mean(0)
    size = (said**2).sum(0) * (true**2).sum(0)
    squared = np.divide((said * true).sum(0) ** 2, size, out=np.zeros(longest), where=size > 0)
    recalled = np.clip((squared - 1 / steps) / (1 - 1 / steps), 0.0, 1.0)
    return MemoryCurve(np.arange(1, longest + 1), recalled)


def nrmse(predicted: Any, truth: Any, *, variance: float | None = None) -> float:
    """Root of the mean squared error over the deviation of the truth: 1 is what its mean would score.

    variance: of the signal, where it is known better than from these values.
    """
    said, true = _pair("nrmse", predicted, truth)
    spread = float(true.reshape(-1, true.shape[-1]).var(0).mean()) if variance is None else variance
    if not spread > 0:
        raise DataError(message("nrmse", f"the truth's variance must be above 0, got {spread}"))
    return float(np.sqrt(((said - true) ** 2).mean() / spread))


def nrmse_at(predicted: Any, truth: Any, step: int, variance: float) -> float:
    """NRMSE over many forecasts at one horizon: sqrt(mean (y_step - d_step)² / variance), over the rows.

    predicted, truth: (B, T, O); step counts from 1, so NRMSE84 (Jaeger & Haas 2004) has step = 84. variance: of the
    signal.
    """
    said, true = _pair("nrmse_at", predicted, truth)
    if said.ndim != 3 or not 1 <= step <= said.shape[1]:
        raise ShapeError(message("nrmse_at", f"step {step} is not within the (B, T, O) = {said.shape} given"))
    return nrmse(said[:, step - 1 : step], true[:, step - 1 : step], variance=variance)


def valid_prediction_time(
    predicted: Any, truth: Any, *, dt: float, threshold: float = 0.4, lyapunov_time: float = 1.0, spread: Any = None
) -> np.ndarray:
    """For each row (B,), how long a forecast holds, in Lyapunov times: until |error| / `spread` passes `threshold`.

    predicted, truth: (B, T, D), `dt` apart; the first forecast step lies at time dt. |.| is Euclidean over D. spread:
    the signal's own size, sqrt(mean |truth - mean|²), of these rows unless given. A forecast that holds to its end
    gives the time of its end: make it longer. What it measures depends on how the truth was computed: say so.
    """
    said, true = _pair("valid_prediction_time", predicted, truth)
    if said.ndim != 3 or not dt > 0 or not lyapunov_time > 0 or not threshold > 0:
        fact = f"needs (B, T, D) and positive dt, threshold and lyapunov_time; got {said.shape}, {dt}, {threshold}"
        raise ShapeError(message("valid_prediction_time", fact))
    flat = true.reshape(-1, true.shape[2])
    size = float(np.sqrt(((flat - flat.mean(0)) ** 2).sum(1).mean())) if spread is None else float(spread)
    error = np.sqrt(((said - true) ** 2).sum(2)) / size
    # NaN is no forecast: it counts as beyond.
    beyond = ~(error <= threshold)
    held = np.where(beyond.any(1), beyond.argmax(1), said.shape[1])
    return held * dt / lyapunov_time


def forgetting(reservoir: AnyReservoir, x: Any, *, seed: int = 0) -> np.ndarray:
    """Distance (T,) between the states of two runs on the same x (B, T, I) from random starts, over that of the starts.

    With the echo state property it falls to rounding; it is the largest over the rows. (Jaeger 2001, definition 1.)
    """
    given = plain(x)
    generator = np.random.default_rng(seed)
    one, two = (_random_state(reservoir.initial(len(given)), generator) for _ in range(2))
    begin = np.linalg.norm(_flat(one) - _flat(two), axis=1)
    gap = np.linalg.norm(plain(reservoir(given, one)[0]) - plain(reservoir(given, two)[0]), axis=2)
    return (gap / begin[:, None]).max(0)


def _random_state(state: Any, generator: np.random.Generator) -> Any:
    if isinstance(state, np.ndarray):
        return generator.uniform(-1.0, 1.0, state.shape).astype(state.dtype)
    parts = [_random_state(part, generator) for part in state]
    return type(state)(*parts) if hasattr(state, "_fields") else tuple(parts)


def _flat(state: Any) -> np.ndarray:
    return state if isinstance(state, np.ndarray) else np.concatenate([_flat(part) for part in state], axis=1)


def _pair(where: str, predicted: Any, truth: Any) -> tuple[np.ndarray, np.ndarray]:
    said, true = plain(predicted).astype(np.float64), plain(truth).astype(np.float64)
    if said.shape != true.shape or not said.size:
        fact = f"predicted and truth must have one shape with something in it, got {said.shape} and {true.shape}"
        raise ShapeError(message(where, fact))
    return said, true
