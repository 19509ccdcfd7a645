"""The Numenta Anomaly Benchmark, version 1.1: 58 streams and the windows in which their anomalies lie (Lavin and
Ahmad 2015, https://arxiv.org/abs/1510.03336; https://github.com/numenta/NAB).
"""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

from recurra.base.errors import DataError, message

__all__ = ["NabFile", "files", "read"]


class NabFile(NamedTuple):
    """One stream."""

    name: str
    """Its folder and file, as the labels name it."""
    time: np.ndarray
    """(T,) datetime64[s]; stamps repeat where clocks were put back."""
    value: np.ndarray
    """(T,) float64."""
    windows: tuple[tuple[int, int], ...]
    """First and last row of each window, in order; rows are found by equal stamps, as the benchmark does."""

    @property
    def probation(self) -> int:
        """How many rows at the start are for learning and are not scored: 15 %, at most 750."""
        return min(int(0.15 * len(self.value)), 750)


def files(folder: str | Path) -> list[str]:
    """The names of the streams in the benchmark's folder, in the order of its labels.

    Raises DataError where the labels are missing or damaged.
    """
    return list(_windows(Path(folder)))


def read(folder: str | Path) -> list[NabFile]:
    """All streams of the benchmark's folder (which holds data/ and labels/).

    Raises DataError where a file is missing, cut short, or has no timestamp and value.
    """
    folder = Path(folder)
    return [_file(folder, name, windows) for name, windows in _windows(folder).items()]


def _windows(folder: Path) -> dict[str, list[list[str]]]:
    path = folder / "labels" / "combined_windows.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(message(str(path), f"could not be read: {error}", hint="give the folder of NAB")) from error
    return {name: found[name] for name in sorted(found)}


def _file(folder: Path, name: str, windows: list[list[str]]) -> NabFile:
    path = folder / "data" / name
    try:
        with path.open(encoding="utf-8", newline="") as text:
            rows = list(csv.DictReader(text))
        time = np.array([row["timestamp"] for row in rows], dtype="datetime64[s]")
        value = np.array([float(row["value"]) for row in rows])
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise DataError(message(str(path), f"is no stream of NAB: {error!r}")) from error
    found = []
    for first, last in windows:
        inside = (time >= np.datetime64(first[:19], "s")) & (time <= np.datetime64(last[:19], "s"))
        if not inside.any():
            raise DataError(message(str(path), f"has no row from {first} to {last}, as its label says"))
        rows_inside = np.flatnonzero(inside)
        found.append((int(rows_inside[0]), int(rows_inside[-1])))
    return NabFile(name, time, value, tuple(found))
