"""Detections against the truth: one-to-one within a tolerance, then precision, recall, delay and false alarms.

The rule of heart-beat scoring (ANSI/AAMI EC57; PhysioNet's bxb) and of sound events (Mesaros et al., Metrics for
polyphonic sound event detection, 2016): as many pairs as possible, none used twice.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import maximum_bipartite_matching

__all__ = ["Counts", "Tally", "match", "match_spans"]


def match(truth: np.ndarray, found: np.ndarray, tolerance: float) -> np.ndarray:
    """Pairs (P, 2) of places in two rising lists of times, |truth - found| <= tolerance; no two pairs share one.

    As many as there can be: windows of one width, taken from the left, are never taken wrongly.

    >>> match(np.array([10.0, 20.0]), np.array([11.0, 12.0, 30.0]), 2.0).tolist()
    [[0, 0]]
    """
    pairs, i, j = [], 0, 0
    while i < len(truth) and j < len(found):
        off = found[j] - truth[i]
        if abs(off) <= tolerance:
            pairs.append((i, j))
            i, j = i + 1, j + 1
        elif off < 0:
            j += 1
        else:
            i += 1
    return np.array(pairs, np.int64).reshape(-1, 2)


def match_spans(truth: np.ndarray, found: np.ndarray, tolerance: float) -> np.ndarray:
    """Pairs (P, 2) of spans (N, 2) and (M, 2) whose beginnings are within the tolerance, and whose ends are too.

    An end may be off by half of the true length, where that is more.
    """
    if not len(truth) or not len(found):
        return np.empty((0, 2), np.int64)
    begins = np.abs(truth[:, None, 0] - found[None, :, 0]) <= tolerance
    room = np.maximum(tolerance, 0.5 * (truth[:, 1] - truth[:, 0]))
    ends = np.abs(truth[:, None, 1] - found[None, :, 1]) <= room[:, None]
    chosen = maximum_bipartite_matching(csr_matrix(begins & ends), perm_type="column")
    kept = np.flatnonzero(chosen >= 0)
    return np.stack([kept, chosen[kept]], axis=1).astype(np.int64)


class Counts(NamedTuple):
    """Of one class."""

    true: int
    """Events found."""
    false: int
    """Detections without an event."""
    missed: int
    delays: tuple[float, ...]
    """Seconds from the beginning of each event that was found to when that was known."""
    offs: tuple[float, ...]
    """Seconds by which each of them is placed too late."""

    @property
    def precision(self) -> float:
        """NaN where nothing was found."""
        return self.true / (self.true + self.false) if self.true + self.false else np.nan

    @property
    def recall(self) -> float:
        """NaN where there was nothing to find."""
        return self.true / (self.true + self.missed) if self.true + self.missed else np.nan

    @property
    def f1(self) -> float:
        """NaN where there was nothing, and nothing was found."""
        total = 2 * self.true + self.false + self.missed
        return 2 * self.true / total if total else np.nan

    def __add__(self, other: object) -> Counts:
        """Two stretches together."""
        if not isinstance(other, Counts):
            return NotImplemented
        true, false, missed = (a + b for a, b in zip(self[:3], other[:3], strict=True))
        return Counts(true, false, missed, self.delays + other.delays, self.offs + other.offs)

    def numbers(self, hours: float) -> dict[str, Any]:
        """Plain values for JSON."""
        delays, offs = np.array(self.delays), np.array(self.offs)
        return {
            "events": self.true + self.missed,
            "true": self.true,
            "false": self.false,
            "missed": self.missed,
            "precision": _plain(self.precision),
            "recall": _plain(self.recall),
            "f1": _plain(self.f1),
            "delay_median_s": _plain(np.median(delays)) if len(delays) else None,
            "delay_95_s": _plain(np.quantile(delays, 0.95)) if len(delays) else None,
            "off_median_s": _plain(np.median(np.abs(offs))) if len(offs) else None,
            "false_per_hour": self.false / hours if hours else None,
        }


class Tally(NamedTuple):
    """Of all classes, over some hours of stream."""

    hours: float
    any: Counts
    """Whatever the class."""
    by_class: tuple[Counts, ...]
    confusion: np.ndarray
    """(K + 1, K + 1): rows the class of an event, columns that of the detection; the last ones are none."""

    def numbers(self, classes: tuple[str, ...]) -> dict[str, Any]:
        """Plain values for JSON; macro_f1 over the classes that occur."""
        there = [one.f1 for one in self.by_class if one.true + one.missed]
        whole = self.by_class[0]
        for one in self.by_class[1:]:
            whole += one
        return {
            "hours": self.hours,
            **whole.numbers(self.hours),
            "macro_f1": float(np.mean(there)) if there else None,
            "any_class": self.any.numbers(self.hours),
            "by_class": {name: one.numbers(self.hours) for name, one in zip(classes, self.by_class, strict=True)},
            "confusion": self.confusion.tolist(),
        }


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
