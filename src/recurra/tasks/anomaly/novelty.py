"""What a stream has never shown before: values beyond all earlier ones, and beyond those of this time on earlier days.

Of exchangeable numbers the n-th is a record with probability 1/n, whatever their distribution: alarms at records become
rarer by themselves, and nothing about the numbers has to be assumed.
"""

from __future__ import annotations

import numpy as np

from recurra.tasks.anomaly.bank import Bank

__all__ = ["DAYS", "SLOTS", "DailyEnvelope", "RunningLevel", "RunningRange"]

DAYS, SLOTS = 7, 288
"""Days that the envelope remembers, and parts of a day at most (five minutes each)."""

_DAY_S = 86_400.0
_SPACINGS = 8


class RunningRange(Bank):
    """The least and the greatest value so far."""

    def __init__(self) -> None:
        super().__init__(low=np.inf, high=-np.inf)

    def step(self, rows: np.ndarray, x: np.ndarray) -> np.ndarray:
        """How far x (n,) lies outside the range of what came before, in units of that range; negative inside.

        The first value lies inside (-1); the first other one after a constant is 1 outside.
        """
        low, high = self.low[rows], self.high[rows]
        with np.errstate(invalid="ignore"):
            beyond = np.maximum(x - high, low - x)
            width = high - low
        wide = width > 0
        margin = np.where(wide, beyond / np.where(wide, width, 1.0), np.where(beyond > 0, 1.0, -1.0))
        first = low > high
        self.low[rows], self.high[rows] = np.minimum(low, x), np.maximum(high, x)
        return np.where(first, -1.0, margin)


class RunningLevel(Bank):
    """An exponential mean over about `steps` values; at first the plain mean."""

    def __init__(self, steps: float) -> None:
        super().__init__(level=0.0, count=0)
        self.steps = steps

    def step(self, rows: np.ndarray, x: np.ndarray) -> np.ndarray:
        """The level (n,) with x in it."""
        count = self.count[rows] + 1
        share = np.maximum(1.0 / self.steps, 1.0 / count)
        level = self.level[rows]
        level = level + share * (x - level)
        self.level[rows], self.count[rows] = level, count
        return level


class DailyEnvelope(Bank):
    """The lowest and highest values at each time of day on the last seven days, one part of the day either way.

    The day has as many parts as it has rows, 288 at most; how many is known after nine stamps. Streams without a clock,
    or with fewer than two rows a day, have no envelope.
    """

    def __init__(self) -> None:
        ring = (DAYS + 1) * SLOTS
        super().__init__(
            low=np.zeros(ring),
            high=np.zeros(ring),
            slot=np.full(ring, np.iinfo(np.int64).min),
            clock=np.nan,
            spacing=np.zeros(_SPACINGS),
            seen=0,
            parts=-1,
        )
        back = np.arange(1, DAYS + 1)
        self._days = np.repeat(back, 3)
        self._beside = np.tile([-1, 0, 1], DAYS)

    def step(self, rows: np.ndarray, x: np.ndarray, clock_s: np.ndarray) -> np.ndarray:
        """How far x (n,) lies above (positive) or below the envelope; 0 inside, and where there is none yet.

        clock_s: (n,) seconds of the day and of the days before it; NaN without a clock.
        """
        outside = np.zeros(len(x))
        self._measure(rows, clock_s)
        parts = self.parts[rows]
        on = (parts > 1) & ~np.isnan(clock_s)
        if not on.any():
            return outside
        if not on.all():
            outside[on] = self._compare(rows[on], x[on], clock_s[on], parts[on])
            return outside
        return self._compare(rows, x, clock_s, parts)

    def _compare(self, rows: np.ndarray, x: np.ndarray, clock_s: np.ndarray, parts: np.ndarray) -> np.ndarray:
        now = np.floor(clock_s * parts / _DAY_S).astype(np.int64)
        ring = (DAYS + 1) * parts
        then = now[:, None] - self._days * parts[:, None] + self._beside
        at = then % ring[:, None]
        row = rows[:, None]
        known = self.slot[row, at] == then
        high = np.where(known, self.high[row, at], -np.inf).max(1)
        low = np.where(known, self.low[row, at], np.inf).min(1)
        outside = np.where(x > high, x - high, np.where(x < low, x - low, 0.0))
        outside[~known.any(1)] = 0.0
        place = now % ring
        again = self.slot[rows, place] == now
        self.low[rows, place] = np.where(again, np.minimum(self.low[rows, place], x), x)
        self.high[rows, place] = np.where(again, np.maximum(self.high[rows, place], x), x)
        self.slot[rows, place] = now
        return outside

    def _measure(self, rows: np.ndarray, clock_s: np.ndarray) -> None:
        """How many rows a day has: from the middle one of the first spacings."""
        open_ = self.parts[rows] < 0
        if not open_.any():
            return
        late, clock_s = rows[open_], clock_s[open_]
        step = clock_s - self.clock[late]
        counts = ~np.isnan(step) & (step > 0)
        self.clock[late] = np.where(np.isnan(clock_s), self.clock[late], clock_s)
        late, step = late[counts], step[counts]
        self.spacing[late, self.seen[late]] = step
        self.seen[late] += 1
        full = late[self.seen[late] == _SPACINGS]
        if len(full):
            usual = np.median(self.spacing[full], axis=1)
            parts = np.clip(np.round(_DAY_S / usual), 0, SLOTS).astype(np.int64)
            self.parts[full] = np.where(parts < 2, 0, parts)
