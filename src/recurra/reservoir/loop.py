"""The time loop of a reservoir: compiled C++ where it can be had, and the same in SciPy, which defines it."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy.sparse
import scipy.special
import torch

from recurra.kernels.cpu.extension import extension

__all__ = ["ACTIVATIONS", "Weights", "run"]

ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "tanh": np.tanh,
    "sigmoid": scipy.special.expit,
    "relu": lambda v: np.maximum(v, 0),
    "identity": lambda v: v,
}
SOURCE = Path(__file__).parent / "native" / "reservoir.cpp"


class Weights(NamedTuple):
    """What a step needs: s' = (1 - leak) s + gain f(matrix [s; x; 1]).

    matrix (N, N + I + 1), leak and gain (N,), all of one dtype; starts int64 and columns int32 are the matrix's own.
    """

    matrix: scipy.sparse.csr_array
    starts: np.ndarray
    columns: np.ndarray
    leak: np.ndarray
    gain: np.ndarray
    activation: str


def run(
    weights: Weights,
    x: np.ndarray,
    state: np.ndarray,
    lengths: np.ndarray | None,
    noise: np.ndarray | None,
    native: bool | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """States (B, T, N) for x (B, T, I) from `state` (B, N), and the last; all of the weights' dtype.

    noise: (B, T, N), added inside the activation, or None. native: None takes C++ where it is there.
    """
    if native is not False and _library() is not None:
        return _native(weights, x, state, lengths, noise)
    return _scipy(weights, x, state, lengths, noise)


def _scipy(
    weights: Weights, x: np.ndarray, state: np.ndarray, lengths: np.ndarray | None, noise: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    units, (batch, steps, width) = len(weights.leak), x.shape
    activate = ACTIVATIONS[weights.activation]
    recurrent, entering = weights.matrix[:, :units], weights.matrix[:, units : units + width]
    bias = weights.matrix[:, [units + width]].todense().ravel()
    drive = (entering @ x.reshape(batch * steps, width).T).T.reshape(batch, steps, units) + bias
    if noise is not None:
        drive = drive + noise
    states = np.empty((batch, steps, units), x.dtype)
    now = np.ascontiguousarray(state.T)
    keep, gain = (1 - weights.leak)[:, None], weights.gain[:, None]
    for t in range(steps):
        after = keep * now + gain * activate(recurrent @ now + drive[:, t].T)
        if lengths is not None:
            after = np.where(t < lengths, after, now)
        now = after
        states[:, t] = now.T
    if lengths is not None:
        states[np.arange(steps) >= lengths[:, None]] = 0
    return states, np.ascontiguousarray(now.T)


def _native(
    weights: Weights, x: np.ndarray, state: np.ndarray, lengths: np.ndarray | None, noise: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    units, (batch, steps, width) = len(weights.leak), x.shape
    after = np.array(state, order="C")
    states = np.empty((batch, steps, units), x.dtype) if noise is None else np.array(noise, x.dtype, order="C")
    function = _function(f"reservoir_{x.dtype.name}")
    failed = function(
        units,
        width,
        batch,
        steps,
        weights.starts.ctypes.data,
        weights.columns.ctypes.data,
        weights.matrix.data.ctypes.data,
        weights.leak.ctypes.data,
        weights.gain.ctypes.data,
        x.ctypes.data,
        None if lengths is None else lengths.ctypes.data,
        after.ctypes.data,
        states.ctypes.data,
        noise is not None,
        list(ACTIVATIONS).index(weights.activation),
        torch.get_num_threads(),
    )
    if failed:
        raise MemoryError(f"reservoir: no memory for the states of {batch} series of {units} units")
    return states, after


@cache
def _library() -> ctypes.CDLL | None:
    return extension(SOURCE)


@cache
def _function(name: str) -> Callable[..., int]:
    function = getattr(_library(), name)
    function.argtypes = [ctypes.c_int64] * 4 + [ctypes.c_void_p] * 9 + [ctypes.c_int] * 3
    function.restype = ctypes.c_int
    return function
