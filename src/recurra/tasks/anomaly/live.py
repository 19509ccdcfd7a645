"""Scores of many streams as they come, row by row, in constant memory; they are those of the whole series at once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from recurra.base.errors import DataError, message
from recurra.data.clock import moment
from recurra.tasks.anomaly.bank import Bank
from recurra.tasks.anomaly.online import PARTS, Peaks

__all__ = ["AnomalyLive", "NetLive", "OnlineLive"]


class AnomalyLive:
    """What both kinds have: the numbers of the streams, and the record of a row.

    A record is {"score": 0.731, "alarm": true}; of the online detector also "part" (see `PARTS`), "expected", and
    "column" where there are several. A row without a value has the score null.
    """

    def __init__(self, columns: tuple[str, ...], threshold: float) -> None:
        self.columns, self.threshold = columns, threshold
        self._place: dict[str, int] = {}

    def step(self, ids: Sequence[str], stamps: Sequence[str | None], values: np.ndarray) -> list[list[dict[str, Any]]]:
        """The next row (B, C) of B streams, NaN where a value is missing -> the record of each.

        An id that was not there before begins a stream. Raises DataError for another shape, infinities, an id that
        stands twice, and a stamp that is none; then nothing has changed.
        """
        values = np.asarray(values, np.float64)
        where = f"{type(self).__name__}.step"
        if values.shape != (len(ids), len(self.columns)) or len(stamps) != len(ids):
            fact = f"values must be ({len(ids)}, {len(self.columns)}) for {len(ids)} ids and stamps, got {values.shape}"
            raise DataError(message(where, fact, f"Columns: {', '.join(self.columns)}."))
        if len(set(ids)) < len(ids):
            raise DataError(message(where, "an id stands twice in one step"))
        if np.isinf(values).any():
            raise DataError(message(where, f"{int(np.isinf(values).sum())} values are infinite"))
        if not len(ids):
            return []
        clock = np.array([self._clock(stamp) for stamp in stamps])
        places = self._place
        rows = np.array([places.setdefault(one, len(places)) for one in ids], np.int64)
        return self._records(ids, rows, clock, values)

    def _clock(self, stamp: str | None) -> float:
        raise NotImplementedError

    def _records(
        self, ids: Sequence[str], rows: np.ndarray, clock_s: np.ndarray, values: np.ndarray
    ) -> list[list[dict[str, Any]]]:
        raise NotImplementedError

    def state(self) -> dict[str, Any]:
        """Everything that `load_state` needs: plain values and arrays."""
        raise NotImplementedError

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from there. Raises DataError where it is that of another detector."""
        raise NotImplementedError


class OnlineLive(AnomalyLive):
    """The online detector; `warm` goes on where the training data ended."""

    def __init__(self, run: Any, *, threshold: float | None = None, warm: bool = True) -> None:
        super().__init__(run.channels, run.threshold if threshold is None else threshold)
        self.detector = run.fresh(self.threshold)
        self.zone = run.settings.data.zone or None
        if warm and run.state:
            self.load_state(run.state)

    def _clock(self, stamp: str | None) -> float:
        if stamp is None:
            return math.nan
        value, date = moment(stamp, self.zone)
        return value if date else math.nan

    def _records(
        self, ids: Sequence[str], rows: np.ndarray, clock_s: np.ndarray, values: np.ndarray
    ) -> list[list[dict[str, Any]]]:
        found = self.detector.step(rows, values, clock_s)
        records: list[list[dict[str, Any]]] = []
        for place in range(len(ids)):
            channel, score = int(found.channel[place]), float(found.score[place])
            record: dict[str, Any] = {"score": _plain(score), "alarm": bool(found.alarm[place])}
            if score == score:
                record["part"] = PARTS[int(found.part[place])]
                if len(self.columns) > 1:
                    record["column"] = self.columns[channel]
                record["expected"] = _plain(float(found.expected[place, channel]))
            records.append([record])
        return records

    def state(self) -> dict[str, Any]:
        """See `AnomalyLive`."""
        return {"ids": list(self._place), **self.detector.state()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """See `AnomalyLive`."""
        self.detector.load_state({name: part for name, part in state.items() if name != "ids"})
        self._place = {str(one): place for place, one in enumerate(state["ids"])}


class NetLive(AnomalyLive):
    """A trained net, its state or window carried for each stream."""

    def __init__(self, run: Any, *, threshold: float | None = None) -> None:
        super().__init__(run.channels, run.threshold if threshold is None else threshold)
        self.run = run
        self._bank, self._peaks = Bank(**run.net.fresh), Peaks(run.settings.quiet)

    def _clock(self, stamp: str | None) -> float:
        del stamp
        return math.nan

    def _records(
        self, ids: Sequence[str], rows: np.ndarray, clock_s: np.ndarray, values: np.ndarray
    ) -> list[list[dict[str, Any]]]:
        del clock_s
        self._bank.grow(len(self._place))
        self._peaks.grow(len(self._place))
        scales = [self.run.scale(one) for one in ids]
        mean, deviation = (np.stack(part) for part in zip(*scales, strict=True))
        kept = {name: array[rows] for name, array in self._bank.arrays.items()}
        errors, kept = self.run.net.push((values - mean) / deviation, kept)
        for name, array in kept.items():
            self._bank.arrays[name][rows] = array
        scores = self.run.net.scores(errors)
        alarms = np.zeros(len(rows), bool)
        there = np.flatnonzero(~np.isnan(scores))
        alarms[there] = self._peaks.step(rows[there], scores[there]) & (scores[there] >= self.threshold)
        return [
            [{"score": _plain(score), "alarm": bool(alarm)}]
            for score, alarm in zip(scores.tolist(), alarms, strict=True)
        ]

    def state(self) -> dict[str, Any]:
        """See `AnomalyLive`."""
        return {"ids": list(self._place), "net": self._bank.state(), "peaks": self._peaks.state()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """See `AnomalyLive`."""
        if not {"ids", "net", "peaks"} <= set(state):
            raise DataError(message("NetLive.load_state", "the state is that of another detector"))
        self._bank.load_state(state["net"])
        self._peaks.load_state(state["peaks"])
        self._place = {str(one): place for place, one in enumerate(state["ids"])}


def _plain(value: float) -> float | None:
    """Seven digits, which no grouping of rows changes; None for NaN, which JSON has not."""
    return float(f"{value:.7g}") if value == value else None
