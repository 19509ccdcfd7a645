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
    """(n,) from 0 to 1; NaN where the value is missing."""
    alarm: np.ndarray
    """(n,) bool."""
    part: np.ndarray
    """(n,) place in `PARTS` of the part that was surprised most."""
    expected: np.ndarray
    """(n,) the forecast of the value, in its own units."""


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
    """Any number of streams of one channel each; a row of numbers in, a score for each out.

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
        if not (margin > 0 and 0 < tail < 1 and 0 < threshold <= 1):
            fact = f"margin must be above 0, tail in (0, 1), threshold in (0, 1], got {margin}, {tail}, {threshold}"
            raise ConfigError(message(where, fact))
        if min(quiet, settle) < 0 or min(members, units) < 1 or memory < 2:
            fact = f"quiet {quiet} and settle {settle} from 0, members {members} and units {units} from 1, "
            raise ConfigError(message(where, f"{fact}memory {memory} from 2"))
        self.margin, self.tail, self.threshold, self.settle = margin, tail, threshold, settle
        self.expectation = Expectation(members, units, memory=memory, seed=seed)
        self.error_tail = ErrorTail(memory=memory)
        self.level, self.daily = RunningLevel(10), DailyEnvelope()
        self.ranges = [RunningRange() for _ in range(3)]
        self.peaks = Peaks(quiet)
        self._seen = Bank(count=0)

    @property
    def streams(self) -> int:
        """How many there are."""
        return self._seen.rows

    def grow(self, streams: int) -> None:
        """Have at least so many streams."""
        for bank in self._banks().values():
            bank.grow(streams)

    def step(self, rows: np.ndarray, x: np.ndarray, clock_s: np.ndarray | None = None) -> Found:
        """The next values x (n,) of the streams `rows` (n,), each at most once; new numbers begin new streams.

        clock_s: (n,) seconds since midnight of some Thursday (such as 1970-01-01), local time; NaN or None: no clock.
        A missing value (NaN) is scored NaN, and nothing is learnt from it. Raises DataError for infinities.
        """
        x = np.asarray(x, np.float64)
        rows = np.asarray(rows, np.int64)
        if np.isinf(x).any():
            raise DataError(message("OnlineDetector.step", f"{int(np.isinf(x).sum())} of {x.size} values are infinite"))
        clock = np.full(len(x), np.nan) if clock_s is None else np.asarray(clock_s, np.float64)
        if len(rows):
            self.grow(int(rows.max()) + 1)
        here = ~np.isnan(x)
        if here.all():
            return self._step(rows, x, clock)
        blank = np.full(len(x), np.nan)
        found = Found(blank.copy(), np.zeros(len(x), bool), np.zeros(len(x), np.int64), blank)
        if here.any():
            part = self._step(rows[here], x[here], clock[here])
            for whole, one in zip(found, part, strict=True):
                whole[here] = one
        return found

    def _step(self, rows: np.ndarray, x: np.ndarray, clock_s: np.ndarray) -> Found:
        error, expected = self.expectation.step(rows, x, clock_s)
        level = self.level.step(rows, x)
        outside = self.daily.step(rows, x, clock_s)
        shown = [bank.step(rows, part) for bank, part in zip(self.ranges, (x, level, outside), strict=True)]
        odd = [0.5 + 0.5 * margin / self.margin for margin in shown]
        odd.append(self.error_tail.step(rows, error) / -np.log10(self.tail))
        oddness = np.stack(odd).clip(0.0, 2.0)
        score = oddness.max(0) / 2
        count = self._seen.count[rows] + 1
        self._seen.count[rows] = count
        alarm = self.peaks.step(rows, score) & (score >= self.threshold) & (count > self.settle)
        return Found(score, alarm, oddness.argmax(0), expected)

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
