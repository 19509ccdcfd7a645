"""How good alarms are: by event, never point-adjusted; scores by row; how late, and how often for nothing.

Point adjustment counts all rows of an event as found once one is, which random scores do well by (Kim et al. 2022).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from recurra.base.errors import DataError, message
from recurra.tasks.anomaly.table import windows_of

__all__ = ["Events", "average_precision", "events_of"]


class Events(NamedTuple):
    """Alarms against the anomalies of one series or of many."""

    windows: int
    """Anomalies: runs of labelled rows."""
    found: int
    """Those with an alarm in them, or within `tolerance` rows of them."""
    alarms: int
    false_alarms: int
    delays: tuple[int, ...]
    """Rows from the beginning of each found anomaly to its first alarm; negative: before it."""

    @property
    def precision(self) -> float:
        """The share of alarms that are near an anomaly; NaN without alarms."""
        return 1 - self.false_alarms / self.alarms if self.alarms else float("nan")

    @property
    def recall(self) -> float:
        """The share of anomalies that were found; NaN without any."""
        return self.found / self.windows if self.windows else float("nan")

    @property
    def f1(self) -> float:
        """Harmonic mean of both; 0 where there is an anomaly and none was found, NaN where there is nothing."""
        if not self.windows:
            return float("nan")
        precision = self.precision if self.alarms else 0.0
        both = precision + self.recall
        return 2 * precision * self.recall / both if both > 0 else 0.0

    @classmethod
    def sum(cls, parts: Sequence[Events]) -> Events:
        """Of all series together."""
        return cls(
            sum(part.windows for part in parts),
            sum(part.found for part in parts),
            sum(part.alarms for part in parts),
            sum(part.false_alarms for part in parts),
            tuple(delay for part in parts for delay in part.delays),
        )


def events_of(alarms: np.ndarray, labels: np.ndarray, tolerance: int = 0) -> Events:
    """Alarms (T,) against labels (T,), both bool.

    tolerance: an alarm so many rows before or after an anomaly is one of it. Alarms within one anomaly count once.

    >>> events_of(np.array([0, 1, 0, 0, 1, 1], bool), np.array([0, 0, 1, 0, 1, 1], bool))
    Events(windows=2, found=1, alarms=2, false_alarms=1, delays=(0,))
    """
    if alarms.shape != labels.shape or tolerance < 0:
        fact = f"alarms {alarms.shape} and labels {labels.shape} must be alike, tolerance {tolerance} from 0"
        raise DataError(message("events_of", fact))
    rows, windows = np.flatnonzero(alarms), windows_of(labels)
    near = np.zeros(len(rows), bool)
    delays = []
    for first, last in windows:
        inside = (rows >= first - tolerance) & (rows <= last + tolerance)
        near |= inside
        if inside.any():
            delays.append(int(rows[inside][0]) - first)
    false_alarms = int((~near).sum())
    return Events(len(windows), len(delays), len(delays) + false_alarms, false_alarms, tuple(delays))


def average_precision(scores: np.ndarray, labels: np.ndarray) -> float:
    """The area under precision by recall over rows (n,): sum of (R_k - R_k-1) P_k down the scores; NaN without labels.

    Rows without a score (NaN) count as the least odd.
    """
    labels = np.asarray(labels, bool)
    if not labels.any():
        return float("nan")
    scores = np.where(np.isnan(scores), -np.inf, scores)
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(labels[order])
    # Rows of one score come together.
    last = np.append(scores[order][1:] != scores[order][:-1], True)
    hits, seen = hits[last], (np.flatnonzero(last) + 1)
    gained = np.diff(np.concatenate([[0], hits]))
    return float((gained * hits / seen).sum() / labels.sum())
