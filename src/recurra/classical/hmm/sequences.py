"""Sequences as users have them (one, padded, one after the other, a list), laid end to end; and results back again."""

from __future__ import annotations

from typing import Any

import numpy as np

from recurra.base.errors import DataError, ShapeError, message

__all__ = ["Sequences", "laid"]


class Sequences:
    """B sequences end to end: rows offsets[b] ... offsets[b + 1] of `data`."""

    def __init__(self, data: np.ndarray, lengths: np.ndarray, form: str, width: int) -> None:
        self.data = np.ascontiguousarray(data)
        self.lengths = lengths
        self.offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        self._form, self._width = form, width

    def __len__(self) -> int:
        return len(self.lengths)

    def back(self, rows: np.ndarray, padding: float = 0) -> Any:
        """Values per row (N, ...) in the form that came in: (T, ...), (B, T, ...) with `padding`, or a list."""
        if self._form == "joined":
            return rows
        parts = np.split(rows, self.offsets[1:-1])
        if self._form == "list":
            return parts
        whole = np.full((len(self), self._width, *rows.shape[1:]), padding, dtype=rows.dtype)
        for row, part in zip(whole, parts, strict=True):
            row[: len(part)] = part
        return whole


def laid(where: str, x: Any, lengths: Any, *, discrete: bool) -> Sequences:
    """Read x: discrete symbols (T,), (B, T) or a list of (T,); else (T, F), (B, T, F) or a list of (T, F).

    With `lengths`, (B, T, ...) is padded and counts lengths[b] steps of row b; (N, ...) is B sequences one after the
    other, whose lengths sum to N. What stands on the padding is never looked at.
    """
    plain = 1 if discrete else 2
    names = ["(T,)", "(B, T)"] if discrete else ["(T, F)", "(B, T, F)"]
    if isinstance(x, (list, tuple)) and len(x) and all(np.ndim(part) == plain for part in x):
        parts = [np.asarray(part) for part in x]
        if lengths is not None:
            raise ShapeError(message(where, "a list of sequences has its lengths already, lengths was given too"))
        if len({part.shape[1:] for part in parts}) > 1:
            raise ShapeError(message(where, f"the sequences have different widths: {[p.shape for p in parts][:4]}"))
        found = Sequences(np.concatenate(parts), np.array([len(part) for part in parts]), "list", 0)
    else:
        array = np.asarray(x)
        if array.ndim not in (plain, plain + 1):
            raise ShapeError(
                message(where, f"x must be {names[0]}, {names[1]} or a list of {names[0]}; got {array.shape}")
            )
        counts = None if lengths is None else _whole(where, lengths)
        if array.ndim == plain:
            counts = np.array([len(array)]) if counts is None else counts
            if counts.sum() != len(array):
                fact = f"lengths sum to {counts.sum()}, x has {len(array)} steps"
                raise ShapeError(message(where, fact))
            found = Sequences(array, counts, "joined", 0)
        else:
            width = array.shape[1]
            counts = np.full(len(array), width) if counts is None else counts
            if len(counts) != len(array) or (counts > width).any():
                fact = f"lengths must be {len(array)} numbers up to {width}, got {counts.tolist()[:8]}"
                raise ShapeError(message(where, fact))
            valid = np.arange(width) < counts[:, None]
            found = Sequences(array[valid], counts, "padded", width)
    if not len(found) or (found.lengths < 1).any():
        at = int((found.lengths < 1).argmax()) if len(found) else 0
        raise DataError(message(where, f"sequence {at} is empty" if len(found) else "there are no sequences"))
    _check(where, found, discrete)
    return found


def _whole(where: str, lengths: Any) -> np.ndarray:
    counts = np.atleast_1d(np.asarray(lengths))
    if counts.ndim != 1 or counts.dtype.kind not in "iu":
        raise ShapeError(message(where, f"lengths must be (B,) whole numbers, got {counts.dtype} {counts.shape}"))
    return counts.astype(np.int64)


def _check(where: str, found: Sequences, discrete: bool) -> None:
    data = found.data
    if discrete:
        if data.dtype.kind not in "iu":
            raise DataError(message(where, f"symbols must be whole numbers, got dtype {data.dtype}"))
        if data.min() < 0:
            raise DataError(message(where, f"symbols count from 0, got {data.min()} at step {int(data.argmin())}"))
        found.data = data.astype(np.int64)
        return
    if data.dtype.kind not in "biuf" or not data.shape[1]:
        raise DataError(
            message(where, f"x must be real numbers with at least one feature, got {data.dtype} {data.shape}")
        )
    finite = np.isfinite(data).all(axis=1)
    if not finite.all():
        row = int((~finite).argmax())
        owner = int(np.searchsorted(found.offsets, row, side="right")) - 1
        fact = f"x is not finite at step {row - found.offsets[owner]} of sequence {owner}: {data[row]}"
        raise DataError(message(where, fact))
    found.data = np.ascontiguousarray(data, dtype=np.float64)
