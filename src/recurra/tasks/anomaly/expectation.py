"""What a stream was expected to bring: echo state networks whose readouts learn by recursive least squares as it runs.

Jaeger (2001, 2003); the likelihood of the errors is that of Lavin and Ahmad (2015) on short means of them.
"""

from __future__ import annotations

import numpy as np
from scipy.special import log_ndtr

from recurra.tasks.anomaly.bank import Bank

__all__ = ["ErrorTail", "Expectation"]

LAGS = (1, 2, 3, 6)
_DAILY, _WEEKLY = 3, 2
_DAY_S = 86_400.0
_CLIP = 8.0
_RENEW = 50


class Expectation(Bank):
    """One-step forecasts of standardised values by `members` reservoirs of `units` units each, averaged.

    A readout sees the state of its reservoir, the values 1, 2, 3 and 6 steps back, and harmonics of day and week.
    Values are standardised by the running mean and deviation over about `memory` rows, nothing of what comes later.
    """

    def __init__(
        self, members: int = 4, units: int = 20, *, memory: int = 8000, forgetting: float = 0.9998, seed: int = 0
    ) -> None:
        self.memory, self.forgetting, self.units = memory, forgetting, units
        drawn = [_reservoir(units, np.random.default_rng([seed, member])) for member in range(members)]
        # (M, 1, N, N), so that one stacked product serves any number of streams, each to the same bit.
        self._within = np.stack([one[0].T for one in drawn])
        self._into = np.stack([one[1] for one in drawn])
        self._leak = np.stack([one[2] for one in drawn])
        width = 1 + len(LAGS) + units + 2 * (_DAILY + _WEEKLY)
        self._width = width
        super().__init__(
            mean=0.0,
            variance=0.0,
            count=0,
            past=np.zeros(max(LAGS)),
            units_=np.zeros((members, units)),
            weights=np.zeros((members, width)),
            P=np.broadcast_to(np.eye(width), (members, width, width)),
        )

    def step(self, rows: np.ndarray, x: np.ndarray, clock_s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The error (n,), in deviations of the stream, and what was expected (n,) in its own units."""
        # The first of them in order: views instead of copies.
        at = slice(len(rows)) if (rows == np.arange(len(rows))).all() else rows
        mean, deviation, z = self._standardise(rows, x)
        past = self.past[at]
        f = np.empty((len(x), len(self._within), self._width))
        f[:, :, 0] = 1.0
        for place, lag in enumerate(LAGS):
            f[:, :, 1 + place] = past[:, -lag, None]
        end = 1 + len(LAGS) + self.units
        state = self.units_[at]
        f[:, :, 1 + len(LAGS) : end] = state
        f[:, :, end:] = _calendar(clock_s)[:, None]
        weights, P = self.weights[at], self.P[at]
        said = (weights * f).sum(2)
        error = z[:, None] - said
        along = np.matmul(P, f[..., None])[..., 0]
        gain = along / (self.forgetting + (along * f).sum(2))[..., None]
        weights += gain * error[..., None]
        P -= along[..., None] * gain[..., None, :]
        self._forget(P, self.count[at])
        fed = np.matmul(state[:, :, None], self._within)[:, :, 0] + z[:, None, None] * self._into[..., 0]
        state = (1 - self._leak) * state + self._leak * np.tanh(fed + self._into[..., 1])
        past = np.concatenate([past[:, 1:], z[:, None]], axis=1)
        self.units_[at], self.past[at] = state, past
        if not isinstance(at, slice):
            self.weights[at], self.P[at] = weights, P
        expected = said.mean(1)
        return z - expected, mean + deviation * expected

    def _standardise(self, rows: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        count = self.count[rows] + 1
        first = count == 1
        mean = np.where(first, x, self.mean[rows])
        variance = self.variance[rows]
        deviation = np.sqrt(variance)
        gap = x - mean
        flat = deviation <= 0
        z = np.where(flat, 3.0 * np.sign(gap), gap / np.where(flat, 1.0, deviation)).clip(-_CLIP, _CLIP)
        size = np.minimum(count, self.memory)
        after = mean + gap / size
        self.mean[rows], self.count[rows] = after, count
        self.variance[rows] = np.maximum(variance + (gap * (x - after) - variance) / size, 0.0)
        return mean, deviation, z

    def _forget(self, P: np.ndarray, count: np.ndarray) -> None:
        """Every fifty rows, where P has not grown by directions that nothing excites."""
        due = count % _RENEW == 0
        if not due.any():
            return
        room = np.trace(P, axis1=2, axis2=3) < 10 * self._width
        P[due[:, None] & room] /= self.forgetting**_RENEW


class ErrorTail(Bank):
    """How unlikely the mean size of the last few errors is, under the normal distribution of such means before.

    short: errors in a mean. memory: means that the distribution remembers, about.
    """

    def __init__(self, short: int = 3, memory: int = 8000, settle: int = 50) -> None:
        super().__init__(last=np.zeros(short), mean=0.0, variance=1.0, count=0)
        self.short, self.memory, self.settle = short, memory, settle

    def step(self, rows: np.ndarray, error: np.ndarray) -> np.ndarray:
        """-log10 of the probability (n,) of as large a mean; 0 for the first `settle` errors."""
        count = self.count[rows] + 1
        last = np.concatenate([self.last[rows][:, 1:], np.abs(error)[:, None]], axis=1)
        recent = last.sum(1) / np.minimum(count, self.short)
        mean, variance = self.mean[rows], self.variance[rows]
        z = (recent - mean) / np.sqrt(variance + 1e-12)
        size = np.minimum(np.maximum(count - 1, 1), self.memory)
        gap = recent - mean
        after = mean + gap / size
        self.last[rows], self.count[rows], self.mean[rows] = last, count, after
        self.variance[rows] = np.maximum(variance + (gap * (recent - after) - variance) / size, 0.0)
        return np.where(count > self.settle, np.minimum(-log_ndtr(-z) / np.log(10), 100.0), 0.0)


def _reservoir(units: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights within (N, N) of spectral radius 0.9, into (N, 2), and leaks (N,) from 0.03 to 1."""
    within = generator.normal(size=(units, units))
    within *= 0.9 / np.abs(np.linalg.eigvals(within)).max()
    return within, generator.uniform(-0.5, 0.5, (units, 2)), np.exp(generator.uniform(np.log(0.03), 0.0, units))


def _calendar(clock_s: np.ndarray) -> np.ndarray:
    """Harmonics of the time of day and of the weekday (n, 10); 0 without a clock."""
    known = ~np.isnan(clock_s)
    clock = np.where(known, clock_s, 0.0)
    day = np.floor(clock / _DAY_S)
    phases = [2 * np.pi * k * (clock / _DAY_S - day) for k in range(1, _DAILY + 1)]
    # 1970-01-01 was a Thursday.
    phases += [2 * np.pi * k * ((day + 3) % 7) / 7 for k in range(1, _WEEKLY + 1)]
    waves = np.stack([wave for phase in phases for wave in (np.sin(phase), np.cos(phase))], axis=1)
    return np.where(known[:, None], waves, 0.0)
