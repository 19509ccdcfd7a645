"""Several reservoirs as one: side by side on the same input, or each on the states of the one before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from recurra.base.errors import ConfigError, ShapeError, message
from recurra.reservoir.arrays import Array, lengths_of, like, plain, series
from recurra.reservoir.reservoir import Reservoir, ReservoirState

__all__ = ["AnyReservoir", "DeepReservoir", "ParallelReservoir"]


class AnyReservoir(Protocol):
    """What an echo state network needs of a reservoir."""

    units: int
    input_size: int
    feedback_size: int
    dtype: Any

    def initial(self, batch: int = 1) -> Any:
        """All units at rest."""
        ...

    def __call__(
        self,
        x: Array,
        state: Any = None,
        *,
        lengths: Array | None = None,
        feedback: Array | None = None,
        noise: np.ndarray | None = None,
    ) -> tuple[Any, Any]:
        """States (B, T, N) and the last state."""
        ...


class _Several:
    """What both kinds share: parts, their states as a tuple, and the width of all states together."""

    def __init__(self, parts: Sequence[Reservoir]) -> None:
        self.parts = tuple(parts)
        where = type(self).__name__
        if not self.parts:
            raise ConfigError(message(where, "needs at least one reservoir"))
        if len({part.dtype for part in self.parts}) > 1 or len({part.feedback_size for part in self.parts} - {0}) > 1:
            raise ConfigError(message(where, "all must have one dtype, and one feedback_size where they have any"))
        self.units = sum(part.units for part in self.parts)
        self.input_size = self.parts[0].input_size
        self.feedback_size = max(part.feedback_size for part in self.parts)
        self.dtype = self.parts[0].dtype

    def initial(self, batch: int = 1) -> tuple[ReservoirState, ...]:
        """All units at rest."""
        return tuple(part.initial(batch) for part in self.parts)

    def _run(
        self,
        x: Array,
        state: Any,
        lengths: Array | None,
        feedback: Array | None,
        noise: np.ndarray | None,
        *,
        deep: bool,
    ) -> tuple[Any, Any]:
        where = type(self).__name__
        batch, steps = (x.shape[0], x.shape[1]) if getattr(x, "ndim", 0) == 3 else (0, 0)
        rows = lengths_of(where, lengths, batch, steps)
        given = series(where, "x", x, self.input_size, self.dtype, rows)
        before = (None,) * len(self.parts) if state is None else tuple(state)
        if len(before) != len(self.parts):
            raise ShapeError(message(where, f"the state must be of {len(self.parts)} parts, got {len(before)}"))
        outputs, after, at = [], [], 0
        for part, start in zip(self.parts, before, strict=True):
            added = None if noise is None else noise[:, :, at : at + part.units]
            back = feedback if part.feedback_size else None
            start = None if start is None else ReservoirState(plain(start[0]))
            states, last = part(given, start, lengths=rows, feedback=back, noise=added)
            outputs.append(states)
            after.append(ReservoirState(like(last.h, x)))
            given = states if deep else given
            at += part.units
        return like(np.concatenate(outputs, axis=2), x), tuple(after)


class ParallelReservoir(_Several):
    """Reservoirs side by side: the same input, states joined. Time scales or sizes may differ.

    >>> both = ParallelReservoir([Reservoir(20, 1, leak=1.0, seed=0), Reservoir(30, 1, leak=0.1, seed=1)])
    >>> both(np.ones((1, 5, 1)))[0].shape
    (1, 5, 50)
    """

    def __init__(self, parts: Sequence[Reservoir]) -> None:
        super().__init__(parts)
        if len({part.input_size for part in self.parts}) > 1:
            sizes = [part.input_size for part in self.parts]
            raise ConfigError(message("ParallelReservoir", f"all must read the same x; their input sizes are {sizes}"))

    def __call__(
        self,
        x: Array,
        state: Any = None,
        *,
        lengths: Array | None = None,
        feedback: Array | None = None,
        noise: np.ndarray | None = None,
    ) -> tuple[Any, Any]:
        """States (B, T, N of all) and one state per reservoir; arguments as of `Reservoir`."""
        return self._run(x, state, lengths, feedback, noise, deep=False)


class DeepReservoir(_Several):
    """Reservoirs in a row, each reading the states of the one before at the same step.

    (DeepESN, Gallicchio et al. 2017.) The states of all layers are joined; `input_size` of a layer is `units` of the
    one before.

    >>> deep = DeepReservoir([Reservoir(20, 1, seed=0), Reservoir(30, 20, seed=1)])
    >>> deep(np.ones((1, 5, 1)))[0].shape
    (1, 5, 50)
    """

    def __init__(self, parts: Sequence[Reservoir]) -> None:
        super().__init__(parts)
        for index, (lower, upper) in enumerate(zip(self.parts, self.parts[1:], strict=False)):
            if upper.input_size != lower.units:
                fact = f"layer {index + 1} reads {upper.input_size} inputs, layer {index} has {lower.units} units"
                raise ConfigError(message("DeepReservoir", fact))

    def __call__(
        self,
        x: Array,
        state: Any = None,
        *,
        lengths: Array | None = None,
        feedback: Array | None = None,
        noise: np.ndarray | None = None,
    ) -> tuple[Any, Any]:
        """States (B, T, N of all) and one state per layer; arguments as of `Reservoir`."""
        return self._run(x, state, lengths, feedback, noise, deep=True)
