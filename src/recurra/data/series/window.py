"""Windows over a set of series, made when asked for: memory grows with the batch, never with horizon x windows."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from recurra.base.errors import DataError, message
from recurra.data.series.series_set import SeriesSet

__all__ = ["SeriesWindows", "Window"]


class Window(NamedTuple):
    """B windows of L past and H future steps; what lies outside a series is NaN."""

    series: np.ndarray
    """(B,) which series."""
    origin: np.ndarray
    """(B,) the row, within the whole set, of the first future step."""
    values: np.ndarray
    """(B, L + H, C)."""
    past: np.ndarray
    """(B, L, P)."""
    known: np.ndarray
    """(B, L + H, K)."""


class SeriesWindows:
    """All windows of a set: L steps before an origin and H steps from it on, origins `stride` apart.

    least: a window needs so many rows of its series before the origin; what it lacks of L is NaN in front.
    future: so many rows from the origin on; by default all H, 1 lets windows run over the end (NaN there).
    first, last: origins from this row of each series (counted from its beginning) to before that one; None: all.

    `windows[indices]` gathers a batch; nothing else is ever copied.

    >>> windows = SeriesWindows(SeriesSet.of([np.arange(6.0)]), past=3, horizon=2)
    >>> len(windows), windows[[0, 1]].values[..., 0].tolist()
    (2, [[0.0, 1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0, 5.0]])
    """

    def __init__(
        self,
        series: SeriesSet,
        past: int,
        horizon: int,
        *,
        stride: int = 1,
        least: int | None = None,
        future: int | None = None,
        first: np.ndarray | int | None = None,
        last: np.ndarray | int | None = None,
    ) -> None:
        where = "SeriesWindows"
        least, future = past if least is None else least, horizon if future is None else future
        if min(past, stride) < 1 or horizon < 0 or least < 0 or not 0 <= future <= horizon:
            fact = f"past {past}, horizon {horizon}, stride {stride}, least {least}, future {future} do not fit"
            raise DataError(message(where, fact))
        self.set, self.past, self.horizon, self.stride = series, past, horizon, stride
        lengths = series.lengths
        begin = np.maximum(least, 0 if first is None else np.asarray(first))
        end = lengths - future + 1
        if last is not None:
            end = np.minimum(end, np.asarray(last))
        counts = np.maximum(0, -((np.broadcast_to(begin, lengths.shape) - end) // stride))
        self._begin = series.offsets[:-1] + np.broadcast_to(begin, lengths.shape)
        self._edges = np.concatenate([[0], np.cumsum(counts)])
        self._starts, self._stops = series.offsets[:-1], series.offsets[1:]
        if not self._edges[-1]:
            longest = int(lengths.max(initial=0))
            fact = (
                f"no series has room for a window: {least} steps before and {future} after, the longest has {longest}"
            )
            raise DataError(message(where, fact, hint="a shorter look-back or horizon, or longer series."))

    def __len__(self) -> int:
        return int(self._edges[-1])

    @property
    def counts(self) -> np.ndarray:
        """(S,) windows of each series."""
        return np.diff(self._edges)

    def origins(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Series (B,) and origin rows (B,) of windows."""
        series = np.searchsorted(self._edges, indices, side="right") - 1
        return series, self._begin[series] + (indices - self._edges[series]) * self.stride

    def __getitem__(self, indices: np.ndarray | list[int] | slice) -> Window:
        """A batch of windows."""
        if isinstance(indices, slice):
            indices = np.arange(*indices.indices(len(self)))
        series, origin = self.origins(np.asarray(indices, np.int64))
        return self.at(series, origin)

    def at(self, series: np.ndarray, origin: np.ndarray) -> Window:
        """Windows at these origins (rows within the whole set) of these series, wherever they lie."""
        rows = origin[:, None] + np.arange(-self.past, self.horizon)
        outside = (rows < self._starts[series][:, None]) | (rows >= self._stops[series][:, None])
        ragged = bool(outside.any())
        if ragged:
            rows = np.where(outside, 0, rows)

        def taken(column: np.ndarray, rows: np.ndarray, outside: np.ndarray) -> np.ndarray:
            if not column.shape[1]:
                return np.empty((*rows.shape, 0))
            found = column[rows]
            if ragged:
                found[outside] = np.nan
            return found

        back, behind = rows[:, : self.past], outside[:, : self.past]
        return Window(
            series,
            origin,
            taken(self.set.values, rows, outside),
            taken(self.set.past, back, behind),
            taken(self.set.known, rows, outside),
        )

    def view(self, which: int) -> np.ndarray:
        """Every window of one series (n, L + H, C) as a view of the set's memory: read it, never write it."""
        values = self.set[which].values
        size = self.past + self.horizon
        if len(values) < size:
            return np.empty((0, size, values.shape[1]))
        return np.lib.stride_tricks.sliding_window_view(values, size, axis=0).transpose(0, 2, 1)[:: self.stride]
