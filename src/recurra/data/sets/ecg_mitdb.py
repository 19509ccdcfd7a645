"""Electrocardiograms of the MIT-BIH arrhythmia database (Moody and Mark 2001), as PhysioNet keeps them.

A record is a header (NAME.hea) and samples of 12 bits, two in three bytes (format 212), whose checksums the header has.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from recurra.base.errors import DataError, message

__all__ = ["Record", "record", "unpacked_212"]


class Record(NamedTuple):
    """One recording."""

    signals: np.ndarray
    """(T, C) in millivolts (the header's physical unit)."""
    rate_hz: float
    leads: tuple[str, ...]
    """What each channel is, such as MLII."""


class _Channel(NamedTuple):
    file: str
    gain: float
    zero: int
    first: int
    checksum: int
    lead: str


def record(folder: str | Path, name: str = "100") -> Record:
    """Read the record `name` in `folder`; DataError where it is not there, cut short or damaged.

    The first values and the checksums of the header are compared.
    """
    header = Path(folder) / f"{name}.hea"
    rate, steps, channels = _header(header)
    files = {channel.file for channel in channels}
    if len(files) != 1:
        raise DataError(message(str(header), f"channels lie in {len(files)} files, one was expected"))
    data = header.parent / channels[0].file
    try:
        samples = unpacked_212(data.read_bytes())
    except OSError as error:
        raise DataError(message(str(data), f"could not be read: {error.strerror or error}")) from error
    if len(samples) < steps * len(channels):
        fact = f"has {len(samples) // len(channels)} samples a channel, the header says {steps}"
        raise DataError(message(str(data), fact, hint="was it copied whole?"))
    units = samples[: steps * len(channels)].reshape(steps, len(channels)).astype(np.int64)
    for place, channel in enumerate(channels):
        # The header's checksum is the sum as a signed number of 16 bits.
        found = (int(units[:, place].sum()) + 32768) % 65536 - 32768
        if int(units[0, place]) != channel.first or found != channel.checksum:
            fact = f"channel {place} begins with {units[0, place]} and sums to {found}"
            raise DataError(message(str(data), f"{fact}; the header says {channel.first} and {channel.checksum}"))
    zero, gain = (np.array([getattr(channel, what) for channel in channels]) for what in ("zero", "gain"))
    return Record((units - zero) / gain, rate, tuple(channel.lead for channel in channels))


def unpacked_212(raw: bytes) -> np.ndarray:
    """Samples int16 (N,) from pairs of 12 bits, two's complement: the low bytes of both around their high halves.

    >>> unpacked_212(bytes([0x01, 0xF0, 0xFF])).tolist()
    [1, -1]
    """
    whole = np.frombuffer(raw[: len(raw) // 3 * 3], dtype=np.uint8).reshape(-1, 3).astype(np.int16)
    pairs = np.stack([whole[:, 0] | (whole[:, 1] & 0x0F) << 8, whole[:, 2] | (whole[:, 1] & 0xF0) << 4], axis=1)
    return np.where(pairs >= 2048, pairs - 4096, pairs).astype(np.int16).reshape(-1)


def _header(path: Path) -> tuple[float, int, list[_Channel]]:
    try:
        lines = path.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError as error:
        raise DataError(message(str(path), f"could not be read: {error.strerror or error}")) from error
    rows = [line.split() for line in lines if line.strip() and not line.startswith("#")]
    try:
        _, count, rate, steps, *_ = rows[0]
        channels = [_channel(row) for row in rows[1 : 1 + int(count)]]
        # The rate may carry a counter: 360/12(0).
        found = float(rate.split("/")[0]), int(steps), channels
    except (ValueError, IndexError) as error:
        raise DataError(message(str(path), "is no header of a record in format 212")) from error
    if len(channels) != int(count) or not channels:
        raise DataError(message(str(path), f"describes {len(channels)} of {count} channels"))
    return found


def _channel(row: list[str]) -> _Channel:
    file, form, gain, _, zero, first, checksum, _, *lead = row
    if form != "212":
        raise ValueError(form)
    return _Channel(file, float(gain.split("(")[0].split("/")[0]), int(zero), int(first), int(checksum), " ".join(lead))
