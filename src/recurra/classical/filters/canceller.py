"""Noise cancelling: what a signal and a reference of its noise have in common is taken away (Widrow et al. 1975)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from recurra.base.errors import DataError, ShapeError, message
from recurra.classical.filters.adaptive import AdaptiveFilter, FilterState

__all__ = ["Cancelled", "cancel", "delayed", "sine_pair", "snr_db"]


class Cancelled(NamedTuple):
    """A signal, parted."""

    signal: np.ndarray
    """(T,): what the reference does not explain, the cleaned signal (e)."""
    noise: np.ndarray
    """(T,): what it explains (y)."""
    state: FilterState


def cancel(
    primary: Any,
    reference: Any,
    algorithm: AdaptiveFilter,
    state: FilterState | None = None,
    *,
    chunk: int = 65_536,
    progress: Callable[[int, int], None] | None = None,
) -> Cancelled:
    """Take from primary (T,) = signal + noise what follows from reference (T,) or (T, C), which has the noise only.

    The reference may be the noise in another shape: other gain, phase, delays and echoes of up to `taps` samples, as
    long as it comes no later than the noise itself. Whatever of the signal leaks into it is taken away too.
    progress: called with the samples done and their number after each `chunk`.

    >>> hum = np.sin(0.3 * np.arange(4000))
    >>> beats = (np.arange(4000) % 100 == 0) * 1.0
    >>> from recurra.classical.filters import NLMS
    >>> found = cancel(beats + np.roll(hum, 3), hum, NLMS(taps=8, step=0.02))
    >>> snr_db(beats[2000:], (beats + np.roll(hum, 3))[2000:]) < -16, snr_db(beats[2000:], found.signal[2000:]) > 15
    (True, True)
    """
    x, d = np.asarray(reference), np.asarray(primary)
    if d.ndim != 1 or not d.size or len(x) != len(d):
        raise ShapeError(message("cancel", f"primary must be (T,), reference (T,) or (T, C); got {d.shape}, {x.shape}"))
    parts = []
    for at in range(0, len(d), chunk):
        out, state = algorithm(x[at : at + chunk], d[at : at + chunk], state)
        parts.append(out)
        if progress:
            progress(min(at + chunk, len(d)), len(d))
    signal, noise = (np.concatenate([getattr(part, name) for part in parts]) for name in ("e", "y"))
    return Cancelled(signal, noise, state)  # pyright: ignore[reportArgumentType]


def sine_pair(frequencies_hz: float | list[float], rate_hz: float, steps: int) -> np.ndarray:
    """(T, 2 F): cosine and sine of each frequency, the reference for a hum that no sensor hears."""
    frequencies = np.atleast_1d(np.asarray(frequencies_hz, dtype=float))
    if not ((frequencies > 0) & (frequencies < rate_hz / 2)).all():
        fact = f"frequencies must lie between 0 and half the rate of {rate_hz:g} Hz, got {frequencies.tolist()}"
        raise DataError(message("sine_pair", fact))
    angle = 2 * np.pi / rate_hz * np.arange(steps)[:, None] * frequencies
    return np.stack([np.cos(angle), np.sin(angle)], axis=2).reshape(steps, -1)


def delayed(signal: Any, samples: int) -> np.ndarray:
    """The signal `samples` later, zeros first: as reference it finds what repeats (the adaptive line enhancer)."""
    values = np.asarray(signal, dtype=float)
    if not 0 < samples < len(values):
        raise DataError(message("delayed", f"samples must be from 1 to {len(values) - 1}, got {samples}"))
    return np.concatenate([np.zeros((samples, *values.shape[1:])), values[:-samples]])


def snr_db(clean: Any, found: Any) -> float:
    """10 log10 of the power of clean over that of found - clean."""
    a, b = np.asarray(clean, dtype=float), np.asarray(found, dtype=float)
    if a.shape != b.shape or not a.size:
        raise ShapeError(message("snr_db", f"both must have one shape and not be empty, got {a.shape} and {b.shape}"))
    with np.errstate(divide="ignore"):
        return float(10 * np.log10((a**2).sum() / ((b - a) ** 2).sum()))
