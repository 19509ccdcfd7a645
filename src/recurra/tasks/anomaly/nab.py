"""The rules of the Numenta Anomaly Benchmark, version 1.1 (Lavin and Ahmad 2015; `nab/sweeper.py` in its repository).

A detector gives each row a score from 0 to 1; rows at or above one threshold for the whole corpus are detections. In a
window only the best (mostly the first) detection counts, the more the earlier; outside, every row costs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from recurra.base.errors import DataError, message
from recurra.data.sets.nab import NabFile

__all__ = ["PROFILES", "Profile", "Scored", "best_threshold", "score", "scoreboard"]


class Profile(NamedTuple):
    """What counts how much."""

    hit: float
    false_alarm: float
    miss: float


PROFILES = {
    "standard": Profile(1.0, 0.11, 1.0),
    "reward_low_FP_rate": Profile(1.0, 0.22, 1.0),
    "reward_low_FN_rate": Profile(1.0, 0.11, 2.0),
}
"""The benchmark's three."""


class Scored(NamedTuple):
    """A detector's total under one profile."""

    score: float
    """0: no detections; 100: every window found at its first row and no false alarm."""
    threshold: float


def score(corpus: Sequence[NabFile], scores: Sequence[np.ndarray], profile: Profile, threshold: float) -> float:
    """The total of a corpus, from 0 (no detections) to 100 (perfect), at a given threshold.

    scores: for each file an array (T,). Raises DataError where an array does not fit its file or is no number.
    """
    table = _Table(corpus, scores)
    return table.normed(table.raw(profile, np.array([threshold]))[0], profile)


def best_threshold(corpus: Sequence[NabFile], scores: Sequence[np.ndarray], profile: Profile) -> Scored:
    """The threshold that makes the most of this corpus under `profile`, as the benchmark chooses it.

    It looks at the labels that it is then judged by, as the published totals do; `score` with a threshold that does
    not is the honest figure beside it.
    """
    table = _Table(corpus, scores)
    tried = np.unique(np.concatenate([*table.levels, [1.1]]))
    totals = table.raw(profile, tried)
    # Among equals the highest threshold: fewest alarms.
    at = len(totals) - 1 - int(np.argmax(totals[::-1]))
    return Scored(table.normed(totals[at], profile), float(tried[at]))


def scoreboard(corpus: Sequence[NabFile], scores: Sequence[np.ndarray]) -> dict[str, Scored]:
    """`best_threshold` under each of the three profiles."""
    return {name: best_threshold(corpus, scores, profile) for name, profile in PROFILES.items()}


class _Table:
    """For every threshold at once: rows sorted by score, what each costs, and what each could win in its window."""

    def __init__(self, corpus: Sequence[NabFile], scores: Sequence[np.ndarray]) -> None:
        if len(corpus) != len(scores):
            raise DataError(message("nab", f"there are {len(corpus)} files, but scores for {len(scores)}"))
        costs, self.wins = [], []
        self.levels: list[np.ndarray] = []
        for file, found in zip(corpus, scores, strict=True):
            values = np.asarray(found, dtype=np.float64)
            if values.shape != file.value.shape or not np.isfinite(values).all():
                fact = f"scores must be {file.value.shape} finite numbers, got {values.shape}"
                raise DataError(message(f"nab: {file.name}", fact))
            gain, window = _places(file)
            outside = window < 0
            outside[: file.probation] = False
            costs.append((values[outside], gain[outside]))
            for index in range(len(file.windows)):
                inside = np.flatnonzero(window == index)
                inside = inside[inside >= file.probation]
                self.wins.append((values[inside], gain[inside]))
            self.levels.append(np.unique(values[file.probation :]))
        self.cost_levels = np.concatenate([level for level, _ in costs])
        order = np.argsort(self.cost_levels, kind="stable")
        self.cost_levels = self.cost_levels[order]
        # What all rows from this level up cost together.
        cost = np.concatenate([gain for _, gain in costs])[order]
        self.cost = np.append(np.cumsum(cost[::-1])[::-1], 0.0)

    def raw(self, profile: Profile, thresholds: np.ndarray) -> np.ndarray:
        """The sums over the corpus, not yet normed."""
        total = profile.false_alarm * self.cost[np.searchsorted(self.cost_levels, thresholds, side="left")]
        for levels, gain in self.wins:
            order = np.argsort(levels, kind="stable")
            # The best gain among the rows from each level up; none: a miss.
            best = np.append(np.maximum.accumulate(gain[order][::-1])[::-1] * profile.hit, -profile.miss)
            total = total + best[np.searchsorted(levels[order], thresholds, side="left")]
        return total

    def normed(self, raw: float, profile: Profile) -> float:
        """From 0 (nothing detected) to 100 (perfect)."""
        null, perfect = -profile.miss * len(self.wins), profile.hit * len(self.wins)
        return float(100 * (raw - null) / (perfect - null))


def _places(file: NabFile) -> tuple[np.ndarray, np.ndarray]:
    """For each row what a detection there is worth, for weights of 1, and its window (-1: none)."""
    rows = len(file.value)
    window, place = np.full(rows, -1), np.full(rows, -np.inf)
    for index, (left, right) in enumerate(file.windows):
        width = right - left + 1
        inside = np.arange(left, right + 1)
        window[inside] = index
        place[inside] = -(right - inside + 1) / width
        after = file.windows[index + 1][0] if index + 1 < len(file.windows) else rows
        behind = np.arange(right + 1, after)
        # A window of one row has no length to measure by.
        place[behind] = (behind - right) / max(width - 1, 1)
    worth = np.where(window >= 0, sigmoid(place) / sigmoid(np.array(-1.0)), sigmoid(place))
    # Before the first window of a file.
    worth[np.isneginf(place)] = -1.0
    return worth, window


def sigmoid(place: np.ndarray) -> np.ndarray:
    """2 / (1 + e^(5 place)) - 1; a detection more than three windows late is as bad as any."""
    with np.errstate(over="ignore"):
        value = 2 / (1 + np.exp(5 * np.where(np.isneginf(place), 0.0, place))) - 1
    return np.where(place > 3, -1.0, value)
