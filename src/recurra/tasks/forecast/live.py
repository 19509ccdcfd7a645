"""Forecasts of many series as their rows come: after every row the same as for a table that ends with it.

Kept of each series are the values of one look-back window; nothing grows with the length of a stream.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from recurra.base.errors import ConfigError, DataError, message
from recurra.data.series.frequency import Frequency
from recurra.data.series.series_set import SeriesSet
from recurra.data.series.stamps import is_dates, parse_stamps, to_utc
from recurra.tasks.forecast.prepare import frequency_of

__all__ = ["ForecastLive", "targets_of"]


class _Window:
    """The newest rows of one stream on the grid of its stamps; the last of them at `place`."""

    def __init__(self, look_back: int, width: int) -> None:
        self.values = np.full((look_back, width), np.nan)
        self.first: np.datetime64 | np.int64 | None = None
        """The stamp at place 0."""
        self.place = -1
        self.rows = 0
        """Places that have been, up to the look-back."""

    def push(self, values: np.ndarray, place: int) -> None:
        """One row, after places without one where there is a gap."""
        ahead = min(place - self.place, len(self.values))
        self.values = np.roll(self.values, -ahead, axis=0)
        self.values[-ahead:] = np.nan
        self.values[-1] = values
        self.rows = min(self.rows + (place - self.place), len(self.values))
        self.place = place


class ForecastLive:
    """See the head of this module. columns: the targets, then the covariates that are known up to now.

    A record is {"from": first stamp, "forecast": [...], "q0.1": [...]}, with "column" where there are several targets,
    one each; or {"error": ...} where a row's stamp lies between two places of the grid, or nothing is known yet.
    """

    def __init__(self, forecaster: Any, targets: Sequence[str]) -> None:
        preparation, data = forecaster.preparation, forecaster.settings.data
        own = [name for name in preparation.past if not name.startswith("calendar.")]
        known = [name for name in preparation.known if not name.startswith("calendar.")]
        unfit = [*known, *preparation.static, *preparation.category_names, *(set(own) - set(data.past))]
        if unfit:
            fact = f"the run needs {', '.join(unfit)}, which a stream of single rows does not bring"
            hint = "only covariates that are numbers and known up to now (--past) can be streamed."
            raise ConfigError(message("forecast", fact, hint=hint))
        self.forecaster, self.targets, self.past = forecaster, tuple(targets), tuple(own)
        self.columns: tuple[str, ...] = (*self.targets, *self.past)
        self.frequency = frequency_of(preparation) or Frequency(1, "")
        self.dated = bool(self.frequency.unit)
        self.zone = data.zone or None
        self._windows: dict[str, _Window] = {}
        self._names: dict[tuple[str, str], str] = {}

    def step(self, ids: Sequence[str], stamps: Sequence[str | None], values: np.ndarray) -> list[list[dict[str, Any]]]:
        """One row (B, C) of B streams, NaN where missing -> the forecasts from there.

        An id that was not there before begins a stream. Raises DataError for another shape, infinities, and an id that
        stands twice; then nothing has changed.
        """
        values = np.asarray(values, np.float64)
        where = "ForecastLive.step"
        if values.shape != (len(ids), len(self.columns)) or len(stamps) != len(ids):
            fact = f"values must be ({len(ids)}, {len(self.columns)}) for {len(ids)} ids and stamps, got {values.shape}"
            raise DataError(message(where, fact, f"Columns: {', '.join(self.columns)}."))
        if len(set(ids)) < len(ids):
            raise DataError(message(where, "an id stands twice in one step"))
        if np.isinf(values).any():
            raise DataError(message(where, f"{int(np.isinf(values).sum())} values are infinite"))
        records: list[list[dict[str, Any]]] = [[] for _ in ids]
        asked: list[tuple[int, int]] = []
        for row, (one, stamp) in enumerate(zip(ids, stamps, strict=True)):
            try:
                window = self._push(one, stamp, values[row])
            except DataError as error:
                records[row].append({"error": str(error).split("\n", 1)[0].rstrip(".")})
                continue
            for channel in range(len(self.targets)):
                if np.isnan(window.values[:, channel]).all():
                    records[row].append({"error": f"no value of {self.targets[channel]} is known yet"})
                else:
                    asked.append((row, channel))
        if asked:
            said = self.forecaster.forecast(self._series(ids, asked))
            median = said.levels.index(0.5)
            quantiles = np.moveaxis(_rounded(said.quantiles), -1, 1).tolist()
            for place, (row, channel) in enumerate(asked):
                record: dict[str, Any] = {"column": self.targets[channel]} if len(self.targets) > 1 else {}
                record |= {"from": _when(said.stamps[place, 0]), "forecast": list(quantiles[place][median])}
                record |= {f"q{level:g}": quantiles[place][at] for at, level in enumerate(said.levels)}
                records[row].append(record)
        return records

    def _push(self, one: str, stamp: str | None, values: np.ndarray) -> _Window:
        window = self._windows.get(one)
        fresh = window is None
        if window is None:
            window = _Window(self.forecaster.preparation.look_back, len(self.columns))
        if stamp is None or not stamp.strip():
            if self.dated:
                raise DataError(message("forecast", f"the run has steps of {self.frequency}, and a row came undated"))
            place = window.place + 1
            window.first = np.int64(0) if window.first is None else window.first
        else:
            when = self._stamp(stamp)
            if window.first is None:
                window.first = when
            place = int(self.frequency.places(np.array([when]), window.first)[0])
            if place <= window.place:
                raise DataError(message("forecast", f"the stamp {stamp} does not lie after the one before"))
        window.push(values, place)
        if fresh:
            self._windows[one] = window
        return window

    def _stamp(self, stamp: str) -> Any:
        found, aware = parse_stamps([stamp], "forecast")
        if is_dates(found) != self.dated:
            kinds = "dates" if self.dated else "numbers"
            raise DataError(message("forecast", f"the run's stamps are {kinds}, got {stamp}"))
        if self.zone and self.dated and not aware:
            found = to_utc(found, self.zone, "forecast")
        return found[0]

    def _series(self, ids: Sequence[str], asked: Sequence[tuple[int, int]]) -> SeriesSet:
        """What is kept of the channels asked for, as a set of series."""
        names, values, past, stamps, lengths = [], [], [], [], []
        for row, channel in asked:
            window = self._windows[ids[row]]
            kept = window.values[len(window.values) - window.rows :]
            places = np.arange(window.place - window.rows + 1, window.place + 1)
            names.append(self._name(ids[row], self.targets[channel]))
            values.append(kept[:, [channel]])
            past.append(kept[:, len(self.targets) :])
            stamps.append(self.frequency.stamps(window.first, places))
            lengths.append(len(kept))
        return SeriesSet(
            ids=tuple(names),
            offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            values=np.concatenate(values),
            stamps=np.concatenate(stamps),
            past=np.concatenate(past),
            past_names=self.past,
            frequency=self.frequency,
            zone=self.zone,
        )

    def _name(self, one: str, target: str) -> str:
        """What the series was called in training."""
        if (one, target) not in self._names:
            known = self.forecaster.preparation.ids
            # As `SeriesSet.univariate` names channels.
            usual = one if len(self.targets) == 1 else f"{one}/{target}"
            alone = len(self.targets) > 1 or len(known) == 1
            self._names[one, target] = target if usual not in known and target in known and alone else usual
        return self._names[one, target]

    def state(self) -> dict[str, Any]:
        """Everything that `load_state` needs: plain values, and the windows as one array."""
        windows = list(self._windows.values())
        firsts = [None if one.first is None else _told(one.first) for one in windows]
        shape = (0, self.forecaster.preparation.look_back, len(self.columns))
        return {
            "ids": list(self._windows),
            "first": firsts,
            "place": [one.place for one in windows],
            "rows": [one.rows for one in windows],
            "values": np.stack([one.values for one in windows]) if windows else np.empty(shape),
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from there. Raises DataError where it is that of another run."""
        values = np.asarray(state["values"], np.float64)
        size = (self.forecaster.preparation.look_back, len(self.columns))
        if values.shape[1:] != size:
            fact = f"windows must be (S, L, C) = (S, {size[0]}, {size[1]}), got {values.shape}"
            raise DataError(message("ForecastLive.load_state", fact))
        self._windows = {}
        for place, one in enumerate(state["ids"]):
            window = self._windows[str(one)] = _Window(*size)
            first = state["first"][place]
            if first is not None:
                window.first = np.datetime64(int(first), "us") if self.dated else np.int64(first)
            window.place, window.rows = int(state["place"][place]), int(state["rows"][place])
            window.values = np.array(values[place])


def targets_of(forecaster: Any) -> tuple[str, ...]:
    """Return the columns of values: named, or all series of a wide table, or y."""
    data, known = forecaster.settings.data, forecaster.preparation.ids
    if data.target:
        return data.target
    try:
        with Path(data.file).open(encoding="utf-8-sig", newline="") as file:
            line = file.readline()
        head = next(csv.reader([line], delimiter=max(",;\t", key=line.count)))
    except (OSError, UnicodeDecodeError, StopIteration):
        return ("y",)
    wide = tuple(name.strip() for name in head if name.strip() in known)
    return wide if len(wide) == len(known) and len(wide) > 1 else ("y",)


def _told(stamp: Any) -> int:
    return int(stamp.astype("datetime64[us]").astype(np.int64)) if isinstance(stamp, np.datetime64) else int(stamp)


def _when(stamp: Any) -> str:
    """A date with its time, whatever time that is; or a number."""
    return str(stamp.astype("datetime64[s]")).replace("T", " ") if isinstance(stamp, np.datetime64) else str(int(stamp))


def _rounded(values: np.ndarray) -> np.ndarray:
    """Seven significant digits: a whole number over a power of ten is the double nearest to that decimal."""
    size = np.abs(values)
    known = np.isfinite(values) & (size > 1e-300)
    shift = np.zeros(values.shape)
    shift[known] = 6 - np.floor(np.log10(size[known]))
    up, down = 10.0 ** np.clip(shift, 0, 22), 10.0 ** np.clip(-shift, 0, 22)
    return np.rint(values * up / down) / up * down
