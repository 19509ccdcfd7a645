"""An anomaly detector that learns while the stream runs: no training, no look-ahead, constant memory for each stream.

Four parts watch a stream; a row is as odd as the part that it surprises most finds it:

    range      the value lies outside the range of all before it
    level      so does the mean of about the last ten values
    daily      it lies outside what this time of day has shown in a week, by more than ever before
    forecast   the last three errors of an online echo state network are too large for those before them

An alarm is a row at or above the threshold that is odder than every one of the `quiet` rows before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from recurra.base.errors import ConfigError, DataError, message
from recurra.tasks.anomaly.bank import Bank
from recurra.tasks.anomaly.expectation import ErrorTail, Expectation
from recurra.tasks.anomaly.novelty import DailyEnvelope, RunningLevel, RunningRange

__all__ = ["PARTS", "Found", "OnlineDetector", "Peaks"]

PARTS = ("range", "level", "daily", "forecast")


class Found(NamedTuple):
    """What is said of one row of n streams."""

    score: np.ndarray
    """(n,) from 0 to 1; NaN where every value is missing."""
    alarm: np.ndarray
    """(n,) bool."""
    channel: np.ndarray
    """(n,) the channel that surprised most."""
    part: np.ndarray
    """(n,) place in `PARTS` of the part of it that was surprised most."""
    expected: np.ndarray
    """(n, C) the forecasts of the values, in their own units; NaN where the value is missing."""


class Peaks(Bank):
    """Which rows are odder than every one of the `quiet` rows before them."""

    def __init__(self, quiet: int) -> None:
        super().__init__(last=np.full(max(quiet, 1), -np.inf), at=0)
        self.quiet = quiet

    def step(self, rows: np.ndarray, score: np.ndarray) -> np.ndarray:
        """(n,) bool."""
        if not self.quiet:
            return np.ones(len(rows), bool)
        peak = score > self.last[rows].max(1)
        at = self.at[rows]
        self.last[rows, at] = score
        self.at[rows] = (at + 1) % self.quiet
        return peak


class OnlineDetector:
    """Any number of streams of C channels each; a row of numbers in, a score for each stream out.

    margin: how far outside, as a share of the range, counts as 1/2. tail: the probability of such errors that does.
    threshold: scores from which on a row is an alarm. quiet: see the head of this module. settle: rows at the start
    without alarms. members, units, memory, seed: see `Expectation`.

    >>> detector = OnlineDetector(settle=50)
    >>> t = np.arange(300.0)
    >>> values = np.sin(t / 5) + 0.05 * np.random.default_rng(0).normal(size=300)
    >>> values[200] += 3
    >>> np.flatnonzero([detector.step(np.array([0]), values[[i]]).alarm[0] for i in range(300)]).tolist()
    [200]
    """

    def __init__(
        self,
        channels: int = 1,
        *,
        margin: float = 0.03,
        tail: float = 1e-8,
        threshold: float = 0.5,
        quiet: int = 30,
        settle: int = 100,
        members: int = 4,
        units: int = 20,
        memory: int = 8000,
        seed: int = 0,
    ) -> None:
        where = "OnlineDetector"
        if not (margin > 0 and 0 < tail < 1 and threshold > 0):
            fact = f"margin and threshold must be above 0, tail in (0, 1), got {margin}, {threshold} and {tail}"
            raise ConfigError(message(where, fact))
        if min(quiet, settle) < 0 or min(channels, members, units) < 1 or memory < 2:
            fact = f"quiet {quiet} and settle {settle} from 0, channels {channels}, members {members} and units {units}"
            raise ConfigError(message(where, f"{fact} from 1, memory {memory} from 2"))
        self.channels = channels
        self.margin, self.tail, self.threshold, self.settle = margin, tail, threshold, settle
        self.expectation = Expectation(members, units, memory=memory, seed=seed)
        self.error_tail = ErrorTail(memory=memory)
        self.level, self.daily = RunningLevel(10), DailyEnvelope()
        self.ranges = [RunningRange() for _ in range(3)]
        self.peaks, self._seen = Peaks(quiet), Bank(count=0)

    @property
    def streams(self) -> int:
        """How many there are."""
        return self._seen.rows

    def grow(self, streams: int) -> None:
        """Have at least so many streams."""
        for name, bank in self._banks().items():
            bank.grow(streams if name in ("seen", "peaks") else streams * self.channels)

    def step(self, rows: np.ndarray, x: np.ndarray, clock_s: np.ndarray | None = None) -> Found:
        """The next values x (n, C), or (n,) of one channel, of the streams `rows` (n,), each at most once.

        New numbers begin new streams. clock_s: (n,) seconds since some midnight before a Thursday (such as
        1970-01-01), local time; NaN or None: no clock. A missing value (NaN) is looked at by nobody, and nothing is
        learnt from it. Raises DataError for infinities and other shapes.
        """
        rows = np.asarray(rows, np.int64)
        x = np.asarray(x, np.float64).reshape(len(rows), -1)
        if x.shape[1] != self.channels:
            fact = f"x must be (n, C) = ({len(rows)}, {self.channels}), got {x.shape}"
            raise DataError(message("OnlineDetector.step", fact))
        if np.isinf(x).any():
            raise DataError(message("OnlineDetector.step", f"{int(np.isinf(x).sum())} of {x.size} values are infinite"))
        clock = np.full(len(x), np.nan) if clock_s is None else np.asarray(clock_s, np.float64)
        if len(rows):
            self.grow(int(rows.max()) + 1)
        oddness, expected = self._oddness(rows, x, clock)
        largest = oddness.max(-1)
        channel = largest.argmax(1)
        place = np.arange(len(rows))
        score = largest[place, channel] / 2
        part = oddness[place, channel].argmax(-1)
        alarm = np.zeros(len(rows), bool)
        there = np.flatnonzero(score >= 0)
        if len(there):
            own = rows[there]
            count = self._seen.count[own] + 1
            self._seen.count[own] = count
            alarm[there] = self.peaks.step(own, score[there]) & (score[there] >= self.threshold) & (count > self.settle)
        return Found(np.where(score >= 0, score, np.nan), alarm, channel, part, expected)

    def _oddness(self, rows: np.ndarray, x: np.ndarray, clock_s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(n, C, parts) from 0 to 2, below 0 where nothing was seen; and the forecasts (n, C)."""
        every = (rows[:, None] * self.channels + np.arange(self.channels)).ravel()
        flat, clock = x.ravel(), np.repeat(clock_s, self.channels)
        here = ~np.isnan(flat)
        oddness, expected = np.full((flat.size, len(PARTS)), -1.0), np.full(flat.size, np.nan)
        if here.any():
            own, flat, clock = (every, flat, clock) if here.all() else (every[here], flat[here], clock[here])
            error, expected[here] = self.expectation.step(own, flat, clock)
            seen = (flat, self.level.step(own, flat), self.daily.step(own, flat, clock))
            shown = [bank.step(own, part) for bank, part in zip(self.ranges, seen, strict=True)]
            odd = [0.5 + 0.5 * margin / self.margin for margin in shown]
            odd.append(self.error_tail.step(own, error) / -np.log10(self.tail))
            oddness[here] = np.stack(odd, axis=1).clip(0.0, 2.0)
        shape = (len(rows), self.channels)
        return oddness.reshape(*shape, -1), expected.reshape(shape)

    def reorder(self, streams: np.ndarray) -> None:
        """Stream i is what stream streams[i] was."""
        each = (streams[:, None] * self.channels + np.arange(self.channels)).ravel()
        for name, bank in self._banks().items():
            bank.take(streams if name in ("seen", "peaks") else each)

    def state(self) -> dict[str, dict[str, np.ndarray]]:
        """Arrays by part; `load_state` goes on from there."""
        return {name: bank.state() for name, bank in self._banks().items()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state. Raises DataError where it is that of other settings."""
        banks = self._banks()
        if set(state) != set(banks):
            raise DataError(message("OnlineDetector.load_state", f"the parts must be {', '.join(banks)}"))
        for name, bank in banks.items():
            bank.load_state(state[name])

    def _banks(self) -> dict[str, Bank]:
        ranges = dict(zip(("range", "level_range", "daily_range"), self.ranges, strict=True))
        return {
            "seen": self._seen,
            "expectation": self.expectation,
            "error_tail": self.error_tail,
            "level": self.level,
            "daily": self.daily,
            "peaks": self.peaks,
            **ranges,
        }
