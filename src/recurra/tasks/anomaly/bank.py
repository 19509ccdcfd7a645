"""Arrays with one row for each stream, which grow as streams are added: the memory of the online detector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from recurra.base.errors import DataError, message

__all__ = ["Bank"]


class Bank:
    """Named arrays (rows, ...); a new row begins as `fresh` says: a number, or an array that each row is a copy of."""

    def __init__(self, **fresh: Any) -> None:
        self._fresh = {name: np.asarray(value) for name, value in fresh.items()}
        self.arrays = {name: np.empty((0, *value.shape), value.dtype) for name, value in self._fresh.items()}
        self._held = dict(self.arrays)
        self.rows = 0

    def __getattr__(self, name: str) -> np.ndarray:
        # Only asked for what is no ordinary attribute: the arrays by their names.
        arrays = self.__dict__.get("arrays", {})
        if name not in arrays:
            raise AttributeError(f"{type(self).__name__} has no array {name!r}")
        return arrays[name]

    def grow(self, rows: int) -> None:
        """Have at least so many rows; those that are there stay as they are."""
        if rows <= self.rows:
            return
        for name, value in self._fresh.items():
            held = self._held[name]
            if rows > len(held):
                # Room for more: one stream after the other must not copy all of them each time.
                wider = np.empty((max(rows, 2 * len(held)), *value.shape), value.dtype)
                wider[: self.rows] = held[: self.rows]
                held = self._held[name] = wider
            held[self.rows : rows] = value
            self.arrays[name] = held[:rows]
        self.rows = rows

    def take(self, order: np.ndarray) -> None:
        """Keep these rows, in this order."""
        self.load_state({name: array[order] for name, array in self.arrays.items()})

    def state(self) -> dict[str, np.ndarray]:
        """The arrays by name."""
        return dict(self.arrays)

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from there. Raises DataError where it is that of other sizes."""
        for name, value in self._fresh.items():
            found = np.asarray(state.get(name))
            if found.ndim < 1 or found.shape[1:] != value.shape:
                fact = (
                    f"array {name!r} must be (rows, ...) = (n, {', '.join(map(str, value.shape))}), got {found.shape}"
                )
                raise DataError(message(type(self).__name__, fact, hint="the state is that of other settings."))
        rows = {len(np.asarray(state[name])) for name in self._fresh}
        if len(rows) > 1:
            raise DataError(message(type(self).__name__, f"the state's arrays have {sorted(rows)} rows"))
        self.rows = 0
        self._held = {name: np.array(state[name], dtype=value.dtype) for name, value in self._fresh.items()}
        self.arrays = dict(self._held)
        self.rows = rows.pop() if rows else 0
