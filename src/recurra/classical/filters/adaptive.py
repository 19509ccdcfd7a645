"""What every adaptive filter shares: shapes, the tapped delay line, the state, and the way to the native loop."""

from __future__ import annotations

import ctypes
from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch

from recurra.base.errors import DataError, ShapeError, TrainingError, message
from recurra.kernels.cpu.extension import extension

__all__ = ["AdaptiveFilter", "FilterState", "Filtered", "Sample", "check_positive", "library"]

Array = Any
"""A NumPy array or a torch tensor: results are of the kind that `d` was."""
Memory = tuple[np.ndarray, ...]

SOURCE = Path(__file__).parent / "native" / "adaptive_filter.cpp"


class Filtered(NamedTuple):
    """What comes out: both in the shape of `d`."""

    y: Array
    """The filter's output, w^H u, before the weights moved."""
    e: Array
    """d - y. In a noise canceller, whose d is signal + noise and x a reference of the noise, this is the signal."""
    weights: Array | None
    """(..., T, N): the weights before each step, where they were asked for."""


class FilterState(NamedTuple):
    """All that a filter knows; hand it back to go on. N = taps * channels weights; B = 1 for a single signal."""

    weights: Array
    """(B, N): first those of the newest sample (of all channels), then of the one before."""
    history: Array
    """(B, taps - 1, channels): the last samples of x, oldest first."""
    memory: tuple[Array, ...]
    """What the algorithm keeps besides, each (B, ...)."""


class Sample(NamedTuple):
    """One moment of B filters."""

    u: np.ndarray
    """(B, N): the regressors."""
    d: np.ndarray
    """(B,)"""
    e: np.ndarray
    """(B,)"""


@cache
def library() -> ctypes.CDLL | None:
    """The native loops, with their signatures; None where they cannot be built."""
    found = extension(SOURCE)
    if found is not None:
        count, number, pointer = ctypes.c_int64, ctypes.c_double, ctypes.c_void_p
        front = [count] * 3 + [pointer] * 6
        rest = {
            "gradient": [count, count, number, number, number, number, number],
            "sign_data": [count, count, number, number, number],
            "rls": [pointer, number, number, number],
            "projection": [pointer, pointer, count, number, number],
            "gngd": [pointer, pointer, number, number],
            "variable_step": [pointer, pointer, pointer, count, number, number],
        }
        for name, more in rest.items():
            for kind in ("real", "complex"):
                function = getattr(found, f"{name}_{kind}", None)
                if function is not None:
                    function.argtypes = front + more
                    function.restype = count if name == "rls" else None
    return found


def check_positive(owner: object, **limits: tuple[float, bool]) -> None:
    """Parameter -> (upper limit, whether the limit itself is allowed); all must be finite and above zero."""
    wrong = []
    for name, (most, included) in limits.items():
        value = getattr(owner, name)
        if not (0 < value < most or (included and value == most)):
            end = "" if most == float("inf") else f" and {'at most' if included else 'below'} {most:g}"
            wrong.append(f"{name} must be above 0{end}, got {value!r}")
    if wrong:
        raise DataError(message(type(owner).__name__, "; ".join(wrong)))


@dataclass(frozen=True, kw_only=True)
class AdaptiveFilter(ABC):
    """An adaptive transversal filter: y = w^H u, e = d - y, then the algorithm moves w.

    taps: how many samples of x stand in u. With 1 and x (T, N) the rows of x are the regressors themselves.
    """

    taps: int = 1
    takes_complex: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not isinstance(self.taps, int) or self.taps < 1:
            raise DataError(message(type(self).__name__, f"taps must be a whole number from 1 on, got {self.taps!r}"))

    def initial(self, batch: int = 1, channels: int = 1, *, weights: Array = 0.0, dtype: Any = float) -> FilterState:
        """The state before the first sample; `weights` (N,) or (B, N) instead of zeros."""
        width = self.taps * channels
        try:
            start = np.broadcast_to(np.asarray(weights, dtype=dtype), (batch, width)).copy()
        except ValueError:
            raise ShapeError(
                message(
                    f"{type(self).__name__}.initial",
                    f"weights must be ({width},) or ({batch}, {width}), got {np.shape(weights)}",
                    f"{width} = {self.taps} taps x {channels} channels",
                )
            ) from None
        history = np.zeros((batch, self.taps - 1, channels), dtype=dtype)
        return FilterState(start, history, self._start(batch, width, np.dtype(dtype)))

    def __call__(
        self, x: Array, d: Array, state: FilterState | None = None, *, weights: bool = False
    ) -> tuple[Filtered, FilterState]:
        """Filter `x` towards `d`.

        d: (T,) or (B, T), B filters that know nothing of each other. x: like d, or with one more axis of channels.
        state: from the call before; chunks of any sizes then give what the whole signal gives.
        weights: also give the weights before each step (T x N numbers).

        Raises ShapeError, DataError (empty, NaN, complex where the algorithm is real), TrainingError (it diverged).
        """
        name = type(self).__name__
        xs, ds, channels = self._signals(name, x, d)
        batch, steps = ds.shape
        dtype = np.result_type(xs, ds, np.float64)
        if dtype.kind == "c" and not self.takes_complex:
            raise DataError(
                message(name, "is for real signals, got complex ones", hint="LMS, NLMS, RLS and AP do both.")
            )
        old = self._state(name, state, batch, channels, dtype)
        w = old.weights.copy()
        memory = tuple(part.copy() for part in old.memory)
        # Large arrays are copied only where they must be: fresh memory costs more than the filtering.
        whole = np.concatenate([old.history, xs], axis=1) if self.taps > 1 else xs
        whole = whole.astype(dtype, copy=False)
        history = whole[:, steps:].copy() if self.taps > 1 else old.history
        width = self.taps * channels
        y, e = np.empty((batch, steps), dtype), np.empty((batch, steps), dtype)
        kept = np.empty((batch, steps, width), dtype) if weights else None
        run = self._run_native if library() is not None else self._run_numpy
        # Overflow ends as what is not finite, and that is an error below.
        with np.errstate(all="ignore"):
            memory = run(whole, np.ascontiguousarray(ds, dtype), w, y, e, kept, memory)
        if not (np.isfinite(w).all() and np.isfinite(e).all()):
            row, at = np.argwhere(~np.isfinite(e))[0] if not np.isfinite(e).all() else (0, steps - 1)
            where = f"at sample {at}" + (f" of row {row}" if batch > 1 else "")
            raise TrainingError(
                message(
                    name, f"the weights ran away {where}", hint="take a smaller step; step_bounds(x, taps) says which."
                )
            )
        one = np.ndim(d) == 1
        out = Filtered(*(None if part is None else _like(part[0] if one else part, d) for part in (y, e, kept)))
        after = FilterState(_kind(w, d), _kind(history, d), tuple(_kind(part, d) for part in memory))
        return out, after

    @abstractmethod
    def _start(self, batch: int, width: int, dtype: np.dtype) -> Memory:
        """The algorithm's own memory before the first sample, each (B, ...)."""

    @abstractmethod
    def _step(self, at: Sample, w: np.ndarray, memory: Memory) -> tuple[np.ndarray, Memory]:
        """The weights (B, N) and the memory after a sample. This is the definition."""

    @abstractmethod
    def _call(self, kind: str, front: list[Any], memory: list[int]) -> None:
        """Run the native loop over one row; `memory` are the addresses of the row's memory."""

    def _run_numpy(
        self,
        whole: np.ndarray,
        d: np.ndarray,
        w: np.ndarray,
        y: np.ndarray,
        e: np.ndarray,
        kept: np.ndarray | None,
        memory: Memory,
    ) -> Memory:
        """Step after step, all rows at once."""
        for t in range(d.shape[1]):
            u = whole[:, t : t + self.taps][:, ::-1].reshape(len(w), -1)
            if kept is not None:
                kept[:, t] = w
            y[:, t] = (w.conj() * u).sum(-1)
            e[:, t] = d[:, t] - y[:, t]
            w[:], memory = self._step(Sample(u, d[:, t], e[:, t]), w, memory)
        return memory

    def _run_native(
        self,
        whole: np.ndarray,
        d: np.ndarray,
        w: np.ndarray,
        y: np.ndarray,
        e: np.ndarray,
        kept: np.ndarray | None,
        memory: Memory,
    ) -> Memory:
        """Row after row, each in one call."""
        batch, steps = d.shape
        channels = whole.shape[2]
        size = whole.itemsize
        if self.taps == 1:
            data, first, hop = np.ascontiguousarray(whole), 0, channels
        else:
            # Backwards in time the newest sample comes first, and a regressor is a slice.
            data, first, hop = np.ascontiguousarray(whole[:, ::-1]), (steps - 1) * channels * size, -channels
        kind = "complex" if whole.dtype.kind == "c" else "real"
        for row in range(batch):
            parts = [data[row].ctypes.data + first, *(part[row].ctypes.data for part in (d, w, y, e))]
            front = [steps, w.shape[1], hop, *parts, None if kept is None else kept[row].ctypes.data]
            self._call(kind, front, [part[row : row + 1].ctypes.data for part in memory])
        return memory

    def _signals(self, name: str, x: Array, d: Array) -> tuple[np.ndarray, np.ndarray, int]:
        """x as (B, T, C) and d as (B, T), checked."""
        xs, ds = _numbers(name, "x", x), _numbers(name, "d", d)
        if ds.ndim not in (1, 2) or xs.ndim not in (ds.ndim, ds.ndim + 1) or xs.shape[: ds.ndim] != ds.shape:
            raise ShapeError(
                message(
                    name,
                    f"d must be (T,) or (B, T), x the same or with an axis of channels; got d {ds.shape}, x {xs.shape}",
                )
            )
        if not xs.size or not ds.size:
            raise DataError(message(name, f"there are no samples: d {ds.shape}, x {xs.shape}"))
        if xs.ndim == ds.ndim:
            xs = xs[..., None]
        if ds.ndim == 1:
            xs, ds = xs[None], ds[None]
        return xs, ds, xs.shape[-1]

    def _state(self, name: str, state: FilterState | None, batch: int, channels: int, dtype: np.dtype) -> FilterState:
        """The state to begin with, in NumPy and in the dtype of the signals."""
        fresh = self.initial(batch, channels, dtype=dtype)
        if state is None:
            return fresh
        given = FilterState(
            np.asarray(state.weights), np.asarray(state.history), tuple(np.asarray(part) for part in state.memory)
        )
        pairs = [("weights", given.weights, fresh.weights), ("history", given.history, fresh.history)]
        pairs += [(f"memory[{i}]", a, b) for i, (a, b) in enumerate(zip(given.memory, fresh.memory, strict=False))]
        if len(given.memory) != len(fresh.memory):
            hint = "a state goes back to the algorithm it came from."
            raise ShapeError(message(name, f"the state is of another algorithm: {len(given.memory)} arrays", hint=hint))
        for what, have, want in pairs:
            if have.shape != want.shape:
                raise ShapeError(
                    message(
                        name,
                        f"state.{what} must be {want.shape}, got {have.shape}",
                        f"B = {batch}, taps = {self.taps}, channels = {channels}",
                        hint=f"{name}(...).initial(batch={batch}, channels={channels}) makes a fresh one.",
                    )
                )
        cast = [np.array(have, dtype=np.result_type(want.dtype, have.dtype), order="C") for _, have, want in pairs]
        if any(part.dtype.kind == "c" for part in cast) and dtype.kind != "c":
            raise DataError(message(name, "the state is complex, the signals are real", hint="make x or d complex."))
        return FilterState(cast[0], cast[1], tuple(cast[2:]))

    def __str__(self) -> str:
        """The algorithm and its settings."""
        return f"{type(self).__name__}({', '.join(f'{f.name}={getattr(self, f.name)!r}' for f in fields(self))})"


def _numbers(name: str, what: str, value: Array) -> np.ndarray:
    array = value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
    if array.dtype.kind not in "biufc":
        raise DataError(message(name, f"{what} must be numbers, got dtype {array.dtype}"))
    # The sum is finite where all is, unless it overflows: then each is looked at.
    with np.errstate(all="ignore"):
        suspect = not np.isfinite(array.sum())
    finite = np.isfinite(array) if suspect else None
    if finite is not None and not finite.all():
        at = np.argwhere(~finite)[0]
        raise DataError(message(name, f"{what}[{', '.join(map(str, at))}] is {array[tuple(at)]}"))
    return array.astype(np.complex128 if array.dtype.kind == "c" else np.float64, copy=False)


def _like(array: np.ndarray, d: Array) -> Array:
    """In the kind and precision of d: a torch tensor stays one, float32 stays float32."""
    if isinstance(d, torch.Tensor):
        wide = torch.from_numpy(np.ascontiguousarray(array)).to(d.device)
        if not (d.is_floating_point() or d.is_complex()):
            return wide
        return wide.to(d.dtype if d.is_complex() or not wide.is_complex() else wide.dtype)
    return array.astype(np.float32) if np.asarray(d).dtype == np.float32 and array.dtype.kind == "f" else array


def _kind(array: np.ndarray, d: Array) -> Array:
    """A part of the state: always in double precision."""
    return torch.from_numpy(array) if isinstance(d, torch.Tensor) else array
