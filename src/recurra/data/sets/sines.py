"""Sums of sines whose frequencies have no common period: the multiple superimposed oscillators (MSO) task."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recurra.base.errors import DataError, message

__all__ = ["MSO", "sines"]

# Angular frequencies per step; the first K make the task MSO-K (Jaeger & Haas 2004; Koryakin et al. 2012).
MSO = (0.2, 0.311, 0.42, 0.51, 0.63, 0.74, 0.85, 0.97, 1.08, 1.19, 1.27, 1.32)


def sines(steps: int, frequencies: Sequence[float] | int = 2, *, normalise: bool = False) -> np.ndarray:
    """The sum (T, 1) of sin(f t) over `frequencies`, t = 0, 1, ...; a number K stands for the first K of `MSO`.

    normalise: shift and scale to [-1, 1].

    >>> sines(3, [0.2, 0.311]).round(4).ravel().tolist()
    [0.0, 0.5047, 0.9721]
    """
    if isinstance(frequencies, int):
        if not 1 <= frequencies <= len(MSO):
            raise DataError(message("sines", f"there are {len(MSO)} MSO frequencies, asked for {frequencies}"))
        frequencies = MSO[:frequencies]
    chosen = np.asarray(frequencies, dtype=np.float64)
    if steps < 1 or chosen.ndim != 1 or not chosen.size or not np.isfinite(chosen).all():
        raise DataError(message("sines", f"needs steps >= 1 and finite frequencies, got {steps} and {frequencies!r}"))
    series = np.sin(np.arange(steps)[:, None] * chosen).sum(1, keepdims=True)
    if normalise:
        low, high = series.min(), series.max()
        if not high > low:
            raise DataError(message("sines", "a series of one value cannot be scaled to [-1, 1]"))
        series = 2 * (series - low) / (high - low) - 1
    return series
