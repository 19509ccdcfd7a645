"""A reservoir: a large, random, fixed recurrent net whose states echo its input (Jaeger 2001)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import scipy.sparse

from recurra.base.errors import ConfigError, DataError, ShapeError, message
from recurra.reservoir import loop
from recurra.reservoir.arrays import Array, lengths_of, like, plain, series
from recurra.reservoir.matrix import Distribution, Scaling, random_weights, rescaled

__all__ = ["Reservoir", "ReservoirState"]


class ReservoirState(NamedTuple):
    """What a reservoir remembers: h (B, N), the activations after the last step."""

    h: Any


class Reservoir:
    """N leaky units with sparse random connections; only its states are of interest, nothing in it is trained.

        h_t = (1 - leak) h_{t-1} + gain f(W h_{t-1} + W_in x_t + W_fb y_{t-1} + b)

    (Jaeger 2001; leaky form of Jaeger et al. 2007, where gain = leak.)

    units, input_size: N and I; I may be 0. feedback_size: width of y, 0 for no feedback.
    spectral_radius: what W is scaled to, by `scaling`: "spectral" (largest |eigenvalue| of W), "effective" (of
    (1 - leak) I + gain W), "operator" (largest singular value: below 1, every start is forgotten) or "none".
    density: share of connections that exist; ten per unit unless given.
    leak: in (0, 1], a number or (N,); gain: the same, `leak` unless given.
    input_scaling, feedback_scaling: a number, or one per input; input_density, feedback_density as density.
    bias: b is uniform on [-bias, bias]. activation: "tanh", "sigmoid", "relu" or "identity".
    distribution: of the entries of W: "uniform", "normal" or "signs"; those of W_in and W_fb are uniform.
    dtype: float64, or float32 for half the memory and twice the speed in a batch.

    >>> reservoir = Reservoir(50, 1, seed=0)
    >>> states, state = reservoir(np.ones((4, 20, 1)))
    >>> states.shape, state.h.shape
    ((4, 20, 50), (4, 50))
    """

    def __init__(
        self,
        units: int,
        input_size: int,
        *,
        feedback_size: int = 0,
        spectral_radius: float = 0.9,
        scaling: Scaling = "spectral",
        density: float | None = None,
        leak: float | Array = 1.0,
        gain: float | Array | None = None,
        input_scaling: float | Array = 1.0,
        input_density: float = 1.0,
        feedback_scaling: float | Array = 1.0,
        feedback_density: float = 1.0,
        bias: float = 0.0,
        activation: str = "tanh",
        distribution: Distribution = "uniform",
        dtype: Any = np.float64,
        seed: int = 0,
    ) -> None:
        if units < 1 or input_size < 0 or feedback_size < 0:
            fact = f"units must be at least 1, the sizes at least 0, got {units}, {input_size} and {feedback_size}"
            raise ConfigError(message("Reservoir", fact))
        drawn = [np.random.default_rng(part) for part in np.random.SeedSequence(seed).spawn(4)]
        density = min(1.0, 10 / units) if density is None else density
        rate = float(np.mean(plain(leak)))
        weights = rescaled(
            random_weights(units, units, density, distribution, drawn[0]),
            scaling,
            spectral_radius,
            rate,
            rate if gain is None else float(np.mean(plain(gain))),
        )
        entering = random_weights(units, input_size, input_density, "uniform", drawn[1])
        returning = random_weights(units, feedback_size, feedback_density, "uniform", drawn[2])
        self._set(
            weights,
            _columns_scaled("input_scaling", entering, input_scaling),
            _columns_scaled("feedback_scaling", returning, feedback_scaling),
            drawn[3].uniform(-bias, bias, units) if bias else np.zeros(units),
            leak,
            gain,
            activation,
            dtype,
        )

    @classmethod
    def from_weights(
        cls,
        W: Any,
        W_in: Any,
        *,
        W_fb: Any = None,
        bias: Any = 0.0,
        leak: float | Array = 1.0,
        gain: float | Array | None = None,
        activation: str = "tanh",
        dtype: Any = np.float64,
    ) -> Reservoir:
        """A reservoir of given weights W (N, N), W_in (N, I), W_fb (N, O), dense or sparse; bias a number or (N,)."""
        given = cls.__new__(cls)
        recurrent, entering = _sparse("W", W), _sparse("W_in", W_in)
        units = recurrent.shape[0]
        returning = _sparse("W_fb", np.zeros((units, 0)) if W_fb is None else W_fb)
        if recurrent.shape[1] != units or entering.shape[0] != units or returning.shape[0] != units:
            shapes = ", ".join(f"{n} {m.shape}" for n, m in (("W", recurrent), ("W_in", entering), ("W_fb", returning)))
            raise ShapeError(
                message("Reservoir.from_weights", f"W must be (N, N), W_in (N, I), W_fb (N, O); got {shapes}")
            )
        given._set(recurrent, entering, returning, bias, leak, gain, activation, dtype)
        return given

    def _set(
        self,
        recurrent: Any,
        entering: Any,
        returning: Any,
        bias: Any,
        leak: Any,
        gain: Any,
        activation: str,
        dtype: Any,
    ) -> None:
        self.dtype = np.dtype(dtype)
        if self.dtype not in (np.float64, np.float32):
            raise ConfigError(message("Reservoir", f"dtype must be float64 or float32, got {self.dtype}"))
        if activation not in loop.ACTIVATIONS:
            known = ", ".join(loop.ACTIVATIONS)
            raise ConfigError(message("Reservoir", f"activation must be one of {known}; got {activation!r}"))
        self.units, self.input_size, self.feedback_size = recurrent.shape[0], entering.shape[1], returning.shape[1]
        rates = self._vector("leak", leak)
        gains = rates if gain is None else self._vector("gain", gain)
        if not ((rates > 0) & (rates <= 1)).all() or not (gains > 0).all():
            raise ConfigError(message("Reservoir", f"leak must be in (0, 1] and gain above 0, got {leak} and {gain}"))
        offset = self._vector("bias", bias)
        matrix = scipy.sparse.csr_array(
            scipy.sparse.hstack([recurrent, entering, returning, offset[:, None]], format="csr"), dtype=self.dtype
        )
        matrix.sum_duplicates()
        if not np.isfinite(matrix.data).all():
            raise DataError(message("Reservoir", "the weights hold NaN or infinity"))
        self._weights = loop.Weights(
            matrix,
            matrix.indptr.astype(np.int64),
            matrix.indices.astype(np.int32),
            rates.astype(self.dtype),
            gains.astype(self.dtype),
            activation,
        )

    def _vector(self, name: str, value: Any) -> np.ndarray:
        given = np.asarray(plain(value), dtype=np.float64)
        if (given.ndim and given.shape != (self.units,)) or not np.isfinite(given).all():
            fact = f"{name} must be a finite number or (N,) = ({self.units},) of them, got shape {given.shape}"
            raise ShapeError(message("Reservoir", fact))
        return np.full(self.units, float(given)) if given.ndim == 0 else given

    @property
    def recurrent_weights(self) -> Any:
        """The recurrent weights (N, N)."""
        return self._weights.matrix[:, : self.units]

    @property
    def input_weights(self) -> np.ndarray:
        """The input weights (N, I)."""
        return self._weights.matrix[:, self.units : self.units + self.input_size].toarray()

    @property
    def feedback_weights(self) -> np.ndarray:
        """The feedback weights (N, O)."""
        return self._weights.matrix[:, self.units + self.input_size : -1].toarray()

    @property
    def bias(self) -> np.ndarray:
        """The bias (N,)."""
        return self._weights.matrix[:, [-1]].toarray()[:, 0]

    @property
    def leak(self) -> np.ndarray:
        """The leak of each unit (N,)."""
        return self._weights.leak

    @property
    def gain(self) -> np.ndarray:
        """The gain of each unit (N,)."""
        return self._weights.gain

    @property
    def activation(self) -> str:
        """The name of f."""
        return self._weights.activation

    def initial(self, batch: int = 1) -> ReservoirState:
        """All units at rest, as arrays."""
        return ReservoirState(np.zeros((batch, self.units), self.dtype))

    def __call__(
        self,
        x: Array,
        state: ReservoirState | None = None,
        *,
        lengths: Array | None = None,
        feedback: Array | None = None,
        noise: np.ndarray | None = None,
    ) -> tuple[Any, ReservoirState]:
        """States (B, T, N) for x (B, T, I), and the state after each row's last valid step.

        Arrays give arrays, tensors tensors (cut from the graph), of the reservoir's dtype. Chunks with the state handed
        on give what the whole gives. lengths: (B,); states beyond are 0. feedback: (B, T, O), the y_{t-1} that step t
        reads; 0 unless given. noise: (B, T, N), added inside f.
        """
        where = "Reservoir"
        steps, batch = (x.shape[1], x.shape[0]) if getattr(x, "ndim", 0) == 3 else (0, 0)
        rows = lengths_of(where, lengths, batch, steps)
        inputs = series(where, "x", x, self.input_size, self.dtype, rows)
        if self.feedback_size:
            given = np.zeros((batch, steps, self.feedback_size), self.dtype) if feedback is None else feedback
            back = series(where, "feedback", given, self.feedback_size, self.dtype, rows)
            if back.shape[:2] != inputs.shape[:2]:
                raise ShapeError(
                    message(where, f"feedback is {back.shape}, x is {inputs.shape}: B and T must be equal")
                )
            inputs = np.concatenate([inputs, back], axis=2)
        elif feedback is not None:
            raise ShapeError(message(where, "feedback was given, but feedback_size is 0"))
        if noise is not None and noise.shape != (batch, steps, self.units):
            raise ShapeError(
                message(where, f"noise must be (B, T, N) = {(batch, steps, self.units)}, got {noise.shape}")
            )
        start = self.initial(batch).h if state is None else self._start(where, state, batch)
        states, after = loop.run(self._weights, inputs, start, rows, noise)
        return like(states, x), ReservoirState(like(after, x))

    def _start(self, where: str, state: ReservoirState, batch: int) -> np.ndarray:
        h = np.ascontiguousarray(plain(state[0]), dtype=self.dtype)
        if h.shape != (batch, self.units):
            raise ShapeError(
                message(
                    where,
                    f"state.h must be (B, N) = ({batch}, {self.units}), got {h.shape}",
                    hint=f"reservoir.initial({batch}) makes a fresh one.",
                )
            )
        return h

    def __repr__(self) -> str:
        sizes = f"{self.units}, {self.input_size}" + (
            f", feedback_size={self.feedback_size}" * (self.feedback_size > 0)
        )
        return f"Reservoir({sizes}, connections={self.recurrent_weights.nnz}, dtype={self.dtype.name})"


def _columns_scaled(name: str, weights: Any, scaling: Any) -> Any:
    factor = np.asarray(plain(scaling), dtype=np.float64)
    if (factor.ndim and factor.shape != (weights.shape[1],)) or not np.isfinite(factor).all():
        fact = f"{name} must be a finite number or ({weights.shape[1]},) of them, got {scaling!r}"
        raise ConfigError(message("Reservoir", fact))
    scaled = weights.copy()
    scaled.data = weights.data * (factor[weights.indices] if factor.ndim else float(factor))
    return scaled


def _sparse(name: str, matrix: Any) -> Any:
    given = matrix if scipy.sparse.issparse(matrix) else plain(matrix)
    if given.ndim != 2:
        raise ShapeError(message("Reservoir.from_weights", f"{name} must be a matrix, got shape {given.shape}"))
    return scipy.sparse.csr_array(given)
