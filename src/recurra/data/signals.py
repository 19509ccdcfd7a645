"""Signals in files: WAV, or CSV with one column per channel; read as numbers with a rate, written back alike."""

from __future__ import annotations

import csv
import io
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy.io.wavfile

from recurra.base.errors import DataError, message
from recurra.base.files import replacing, write_text
from recurra.base.numbers import is_number

__all__ = ["Signal", "read_signal", "write_signal"]


class Signal(NamedTuple):
    """A signal and its rate."""

    values: np.ndarray
    """(T, C) float64; of a WAV file between -1 and 1."""
    rate_hz: float | None
    """None where the file does not say (CSV)."""
    names: tuple[str, ...]
    """Of the channels: the column heads of a CSV, else 0, 1 ..."""


def read_signal(path: str | Path) -> Signal:
    """Read a .wav (8 to 32 bits or float) or a .csv file; DataError says what is wrong and where."""
    path = Path(path)
    if not path.exists():
        raise DataError(message(str(path), "no such file"))
    if path.is_dir():
        raise DataError(message(str(path), "is a folder, a .wav or .csv file was expected"))
    signal = _wav(path) if path.suffix.lower() == ".wav" else _csv(path)
    if not signal.values.size:
        raise DataError(message(str(path), "holds no samples"))
    wrong = ~np.isfinite(signal.values).all(axis=1)
    if wrong.any():
        raise DataError(message(str(path), f"sample {int(wrong.argmax())} is no finite number"))
    return signal


def write_signal(path: str | Path, values: np.ndarray, rate_hz: float | None) -> None:
    """Write (T,) or (T, C): .wav as 32-bit float (needs a whole rate_hz), .csv as one column per channel."""
    path = Path(path)
    if path.suffix.lower() == ".wav":
        if not rate_hz or rate_hz != int(rate_hz):
            raise DataError(message(str(path), f"a WAV file needs a whole number of samples a second, got {rate_hz}"))
        with replacing(path) as temporary, temporary.open("wb") as file:
            scipy.io.wavfile.write(file, int(rate_hz), np.asarray(values, dtype=np.float32))
        return
    rows = np.asarray(values, dtype=np.float64)
    rows = rows[:, None] if rows.ndim == 1 else rows
    write_text(path, "\n".join(",".join(f"{value:.9g}" for value in row) for row in rows.tolist()) + "\n")


def _wav(path: Path) -> Signal:
    try:
        with warnings.catch_warnings():
            # Chunks that are no sound (tags) are skipped with a warning.
            warnings.simplefilter("ignore", scipy.io.wavfile.WavFileWarning)
            rate, raw = scipy.io.wavfile.read(path)
    except (ValueError, OSError, EOFError) as error:
        raise DataError(message(str(path), f"cannot be read as WAV: {error}")) from error
    values = raw[:, None] if raw.ndim == 1 else raw
    if raw.dtype == np.uint8:
        scaled = (values.astype(np.float64) - 128) / 128
    elif raw.dtype.kind == "i":
        scaled = values.astype(np.float64) / -float(np.iinfo(raw.dtype).min)
    else:
        scaled = values.astype(np.float64)
    return Signal(scaled, float(rate), tuple(map(str, range(scaled.shape[-1]))))


def _csv(path: Path) -> Signal:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (UnicodeDecodeError, OSError) as error:
        raise DataError(message(str(path), f"cannot be read as text: {error}")) from error
    rows = [row for row in csv.reader(io.StringIO(text)) if row]
    names = None
    if rows and not is_number(rows[0][0]):
        names = tuple(name.strip() for name in rows[0])
        rows = rows[1:]
    if not rows:
        raise DataError(message(str(path), "holds no samples"))
    width = len(rows[0])
    values = np.empty((len(rows), width))
    first = 1 if names is None else 2
    for at, row in enumerate(rows):
        try:
            # With other than `width` cells a row would be spread over the columns, or be refused in other words.
            values[at] = [float(cell) for cell, _ in zip(row, range(width), strict=True)]
        except ValueError as error:
            fact = f"line {at + first}: {width} numbers were expected, got {','.join(row)[:60]}"
            raise DataError(message(str(path), fact)) from error
    return Signal(values, None, names or tuple(map(str, range(width))))
