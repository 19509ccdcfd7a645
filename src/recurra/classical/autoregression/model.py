"""A fitted autoregression: predictions on a stream, forecasts with their error, roots, criteria."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from recurra.base.errors import DataError, ShapeError, message
from recurra.classical.autoregression.series import checked, deterministic

__all__ = ["Autoregression", "AutoregressionState", "Forecast"]


class Forecast(NamedTuple):
    """What the model expects, and how far off it expects to be (the parameters taken as known)."""

    mean: np.ndarray
    """(steps,) or (steps, K)"""
    deviation: np.ndarray
    """The standard deviation of the forecast's error, in the same shape."""


class AutoregressionState(NamedTuple):
    """The end of what was read."""

    last: np.ndarray
    """(longest lag, K), oldest first."""
    time: int
    """How many values were read: the place on the trend."""


@dataclass(frozen=True, kw_only=True)
class Autoregression:
    """x_t = intercept + slope t + sum over lags A_l x_{t-l} + B z_t + noise, of K series with M exogenous inputs z.

    Shapes are given for K series (T, K); for a single series (T,) the axes K are absent from all of them.
    """

    lags: tuple[int, ...]
    coefficients: np.ndarray
    """(L, K, K): of x_{t-lag}, one matrix per lag."""
    intercept: np.ndarray
    """(K,); 0 where the trend has no constant."""
    slope: np.ndarray
    """(K,), per step; time is 1 at the first value that was fitted."""
    exogenous: np.ndarray
    """(K, M)"""
    noise: np.ndarray
    """(K, K): covariance of the noise, by maximum likelihood (divided by the number of steps)."""
    standard_errors: dict[str, np.ndarray] = field(repr=False)
    """Of coefficients, intercept, slope, exogenous (least squares; empty for the other methods)."""
    state: AutoregressionState = field(repr=False)
    """Where the fitted series ended."""
    steps: int
    """How many values were predicted in fitting; the criteria refer to them."""
    parameters: int
    """How many numbers were estimated, with those of the noise's covariance."""
    single: bool
    """Whether the series was (T,)."""
    method: str
    trend: str

    @property
    def _blocks(self) -> np.ndarray:
        return self.coefficients.reshape(len(self.lags), *(np.atleast_2d(self.noise).shape))

    @property
    def _order(self) -> int:
        return max(self.lags, default=0)

    @property
    def log_likelihood(self) -> float:
        """Gaussian, of the fitted steps given those before them, in nats."""
        covariance = np.atleast_2d(self.noise)
        size = len(covariance)
        _, log_determinant = np.linalg.slogdet(covariance)
        return -self.steps / 2 * (size * math.log(2 * math.pi) + log_determinant + size)

    @property
    def aic(self) -> float:
        """Akaike's criterion."""
        return -2 * self.log_likelihood + 2 * self.parameters

    @property
    def bic(self) -> float:
        """Schwarz's criterion."""
        return -2 * self.log_likelihood + math.log(self.steps) * self.parameters

    @property
    def hqic(self) -> float:
        """Hannan and Quinn's criterion."""
        return -2 * self.log_likelihood + 2 * math.log(math.log(self.steps)) * self.parameters

    @property
    def companion(self) -> np.ndarray:
        """(K p, K p): the matrix whose powers carry the series on."""
        size, order = len(np.atleast_2d(self.noise)), self._order
        matrix = np.zeros((size * order, size * order))
        for lag, block in zip(self.lags, self._blocks, strict=True):
            matrix[:size, (lag - 1) * size : lag * size] = block
        matrix[size:, : size * (order - 1)] = np.eye(size * (order - 1)) if order else 0
        return matrix

    @property
    def roots(self) -> np.ndarray:
        """Of the lag polynomial, det(I - sum A_l z^l) = 0, smallest modulus first; stable where all lie beyond 1."""
        eigenvalues = np.linalg.eigvals(self.companion)
        kept = eigenvalues[np.abs(eigenvalues) > 0]
        return 1 / kept[np.argsort(-np.abs(kept), kind="stable")]

    @property
    def is_stable(self) -> bool:
        """Whether what happened is forgotten."""
        return bool((np.abs(self.roots) > 1).all())

    def initial(self) -> AutoregressionState:
        """The state that has read nothing: zeros before the beginning."""
        return AutoregressionState(np.zeros((self._order, len(np.atleast_2d(self.noise)))), 0)

    def __call__(
        self, x: Any, state: AutoregressionState | None = None, *, exogenous: Any = None
    ) -> tuple[np.ndarray, AutoregressionState]:
        """Read x (T,) or (T, K); y[t] is the prediction of the value after x[t]. `state` None: nothing was read before.

        exogenous: (T, M), the inputs at the steps that are predicted, one step after those of x.
        """
        where = "Autoregression"
        series = self._series(where, x)
        begin = self.initial() if state is None else state
        whole = np.concatenate([begin.last, series])
        steps = len(series)
        z = self._inputs(where, exogenous, steps)
        y = self._drift(begin.time + 1, steps) + z @ self.exogenous.reshape(series.shape[1], -1).T
        for lag, block in zip(self.lags, self._blocks, strict=True):
            end = len(whole) - lag + 1
            y += whole[end - steps : end] @ block.T
        after = AutoregressionState(whole[len(whole) - self._order :].copy(), begin.time + steps)
        return (y[:, 0] if self.single else y), after

    def residuals(self, x: Any, *, exogenous: Any = None) -> np.ndarray:
        """(T - p,) or (T - p, K): x less its prediction, from the step on that has p values before it.

        exogenous: (T, M), as for `fit`.
        """
        series = self._series("Autoregression.residuals", x)
        if len(series) <= self._order:
            fact = f"x has {len(series)} values, at least {self._order + 1} are needed"
            raise DataError(message("Autoregression.residuals", fact))
        z = None if exogenous is None else np.asarray(exogenous, dtype=np.float64).reshape(len(series), -1)
        state = AutoregressionState(np.zeros((self._order, series.shape[1])), -1)
        # The value before the first is a zero: then row t of the prediction is that of x[t].
        shifted = np.concatenate([np.zeros((1, series.shape[1])), series[:-1]])
        y, _ = self(shifted[:, 0] if self.single else shifted, state, exogenous=z)
        return ((series[:, 0] if self.single else series) - y)[self._order :]

    def forecast(self, steps: int, state: AutoregressionState | None = None, *, exogenous: Any = None) -> Forecast:
        """The next `steps` values after `state` (default: after the fitted series), each from those before it."""
        where = "Autoregression.forecast"
        if steps < 1:
            raise DataError(message(where, f"steps must be at least 1, got {steps}"))
        begin = self.state if state is None else state
        size, order = len(np.atleast_2d(self.noise)), self._order
        whole = np.concatenate([begin.last, np.zeros((steps, size))])
        rest = self._inputs(where, exogenous, steps) @ self.exogenous.reshape(size, -1).T
        rest = rest + self._drift(begin.time, steps)
        # psi_k: what a shock of k steps ago is worth now.
        psi = np.zeros((steps, size, size))
        psi[0] = np.eye(size)
        for t in range(steps):
            whole[order + t] = rest[t]
            for lag, block in zip(self.lags, self._blocks, strict=True):
                whole[order + t] += block @ whole[order + t - lag]
                if t >= lag:
                    psi[t] += block @ psi[t - lag]
        spread = np.cumsum(psi @ np.atleast_2d(self.noise) @ psi.swapaxes(1, 2), axis=0)
        deviation = np.sqrt(spread.diagonal(axis1=1, axis2=2))
        mean = whole[order:]
        return Forecast(mean[:, 0], deviation[:, 0]) if self.single else Forecast(mean, deviation)

    def sample(self, steps: int, seed: int, state: AutoregressionState | None = None) -> np.ndarray:
        """(steps,) or (steps, K): one course the series may take after `state`; models without exogenous inputs."""
        if steps < 1:
            raise DataError(message("Autoregression.sample", f"steps must be at least 1, got {steps}"))
        self._inputs("Autoregression.sample", None, steps)
        begin = self.state if state is None else state
        covariance = np.atleast_2d(self.noise)
        noise = np.random.default_rng(seed).multivariate_normal(np.zeros(len(covariance)), covariance, size=steps)
        whole = np.concatenate([begin.last, noise + self._drift(begin.time, steps)])
        for t in range(self._order, len(whole)):
            for lag, block in zip(self.lags, self._blocks, strict=True):
                whole[t] += block @ whole[t - lag]
        return whole[self._order :, 0] if self.single else whole[self._order :]

    def _drift(self, read: int, steps: int) -> np.ndarray:
        """(steps, K): intercept and slope for the steps after `read` values."""
        parts = deterministic("ct", read, steps)
        return parts @ np.stack([np.atleast_1d(self.intercept), np.atleast_1d(self.slope)])

    def _series(self, where: str, x: Any) -> np.ndarray:
        series = checked(where, x)
        size = len(np.atleast_2d(self.noise))
        if series.shape[1] != size or (np.ndim(x) == 1) != self.single:
            raise ShapeError(
                message(where, f"x must be {'(T,)' if self.single else f'(T, {size})'}, got {np.shape(x)}")
            )
        return series

    def _inputs(self, where: str, exogenous: Any, steps: int) -> np.ndarray:
        count = self.exogenous.shape[-1]
        if exogenous is None and not count:
            return np.empty((steps, 0))
        if exogenous is None:
            raise DataError(
                message(where, f"the model has {count} exogenous inputs: exogenous must be ({steps}, {count})")
            )
        z = checked(where, exogenous, "exogenous")
        if z.shape != (steps, count):
            raise ShapeError(message(where, f"exogenous must be ({steps}, {count}), got {np.shape(exogenous)}"))
        return z
