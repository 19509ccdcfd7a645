"""A fitted detector: streams in, probabilities and events out, and how good they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import reduce
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch

from recurra.base.errors import ConfigError, DataError, message
from recurra.data.series.series_set import SeriesSet
from recurra.data.series.stamps import shown
from recurra.diagnostics.subject import Subject
from recurra.tasks.capability import Event, NoOptions
from recurra.tasks.events.decode import DetectedEvent, Rule, decode, in_steps
from recurra.tasks.events.live import EventLive
from recurra.tasks.events.match import Counts, Tally, match, match_spans
from recurra.tasks.events.network import EventNet, event_probabilities
from recurra.tasks.events.prepare import Preparation
from recurra.tasks.events.settings import EventSettings
from recurra.tasks.events.subject import events_subject
from recurra.tasks.events.truth import Truth, read_stream

__all__ = ["Detector", "EventsPrepared", "tally"]

# Frames that go through the net at once; the state is carried between.
_PIECE = 4096


class EventsPrepared(msgspec.Struct, frozen=True):
    """What is stored beside the weights: events.json."""

    preparation: Preparation
    rule: Rule


class Detector:
    """A net, what was learnt of the streams before it, the rule that makes events of probabilities, the settings."""

    def __init__(self, net: EventNet, preparation: Preparation, rule: Rule, settings: EventSettings) -> None:
        self.net, self.preparation, self.rule, self.settings = net.eval(), preparation, rule, settings
        self.folder: Path | None = None

    @property
    def prepared(self) -> EventsPrepared:
        """Return what is stored beside the weights."""
        return EventsPrepared(self.preparation, self.rule)

    @property
    def classes(self) -> tuple[str, ...]:
        """Of events."""
        return self.preparation.classes

    def probabilities(self, series: SeriesSet) -> list[np.ndarray]:
        """(F, K) of each series, from its beginning on; frame f speaks of `Preparation.middle(f)`."""
        return [self.run(one.values, one.id) for one in series]

    def run(self, values: np.ndarray, where: str = "events") -> np.ndarray:
        """One stream (T, C), NaN where missing -> (F, K)."""
        x = torch.from_numpy(self.preparation.frames(values, where))
        state, found = None, []
        with torch.no_grad():
            for begin in range(0, len(x), _PIECE):
                logits, state = self.net(x[None, begin : begin + _PIECE], state)
                found.append(event_probabilities(logits[0], self.net.overlap).double().numpy())
        return np.concatenate(found) if found else np.empty((0, len(self.classes)))

    def decode(self, probabilities: np.ndarray, rule: Rule | None = None) -> list[DetectedEvent]:
        """The events of one series, in steps."""
        preparation = self.preparation
        found = decode(probabilities, rule or self.rule, preparation.point, self.settings.model.overlap)
        return [in_steps(one, preparation) for one in found]

    def detect(self, series: SeriesSet) -> list[list[DetectedEvent]]:
        """The events of each series."""
        return [self.decode(one) for one in self.probabilities(series)]

    def evaluate(self, series: SeriesSet, truth: Truth, first: Sequence[int] | None = None) -> Tally:
        """Compare with the events that begin from row first[s] of each series (0 by default); all rows are read."""
        return self.compare(self.probabilities(series), series, truth, [0] * len(series) if first is None else first)

    def compare(
        self, probabilities: Sequence[np.ndarray], series: SeriesSet, truth: Truth, first: Sequence[int]
    ) -> Tally:
        """Compare the events of probabilities with the true ones; see `evaluate`."""
        tallies = [
            tally(
                truth.of(index),
                self.decode(rows),
                self.preparation,
                self.settings,
                first[index],
                len(series[index].values),
            )
            for index, rows in enumerate(probabilities)
        ]
        if not tallies:
            raise DataError(message("events", "there is no series"))
        return reduce(_added, tallies)

    def detections(self, data: Any, options: NoOptions) -> Iterator[Event]:
        """Yield the events of each series."""
        del options
        columns = self.columns(data.series)
        for row in zip(*(column.tolist() for column in columns.values()), strict=True):
            yield Event(**dict(zip(columns, row, strict=True)))

    def live(
        self, *, probabilities: bool = False, threshold: float | None = None, low: float | None = None
    ) -> EventLive:
        """Return a live detector.

        Args:
            probabilities: a record of every frame too.
            threshold: the probability at which an event begins, instead of the one selected in training.
            low: the probability below which it ends; by default in the same ratio to the threshold.

        Raises:
            ConfigError: for thresholds that are none.

        """
        high = self.rule.high if threshold is None else float(threshold)
        below = high * (self.rule.low / self.rule.high) if low is None else float(low)
        if not 0 < below <= high < 1:
            fact = f"0 < low <= high < 1 must hold, got low {below:g} and high {high:g}"
            raise ConfigError(message("live", fact))
        detector = Detector(self.net, self.preparation, self.rule._replace(high=high, low=below), self.settings)
        return EventLive(detector, probabilities=probabilities)

    def columns(self, series: SeriesSet) -> dict[str, np.ndarray]:
        """Found events as a table: unique_id, start, end, time, label, probability, decided."""
        rows = [(place, one) for place, part in enumerate(self.detect(series)) for one in part]

        def stamps(name: str) -> np.ndarray:
            texts = [_stamp(series[place].stamps, getattr(one, name)) for place, one in rows]
            return np.array(texts, object)

        return {
            "unique_id": np.array([series.ids[place] for place, _ in rows], object),
            **{name: stamps(name) for name in ("start", "end", "time")},
            "label": np.array([self.classes[one.label] for _, one in rows], object),
            "probability": np.array([one.probability for _, one in rows]),
            "decided": stamps("decided"),
        }

    def subject(self, data: Sequence[Path | str] = (), *, rows: int = 8, steps: int = 512) -> Subject:
        """Return the net with a segment of a stream, for the diagnostics: see `events_subject`."""
        return events_subject(self, data, rows, steps)

    def read(self, source: Any, events: Any = None, *, labelled: bool = True) -> tuple[SeriesSet, Truth | None]:
        """A file or frame in the columns of training, with its events where there are any (a column, or `events`)."""
        data = msgspec.structs.replace(self.settings.data, events="", channels=self.preparation.channels)
        return read_stream(data, source, events, self.classes, labelled=labelled)


def tally(
    truth: Truth, found: list[DetectedEvent], preparation: Preparation, settings: EventSettings, first: int, last: int
) -> Tally:
    """One series, rows first to last. An event and its detection may lie on two sides of the border and still pair."""
    step, room = preparation.step_s, preparation.tolerance_s
    # Half a step more: 0.15 s are 54 steps of 360 Hz, whatever rounding says.
    tolerance = room + 0.5 * step
    times = np.array([one.time if preparation.point else one.start for one in found], np.float64) * step
    spans = np.array([(one.start, one.end) for one in found], np.float64).reshape(-1, 2) * step
    labels = np.array([one.label for one in found], np.int64)
    known = np.array([one.decided for one in found], np.float64) * step
    begins = truth.start * step
    counts = []
    for label in range(len(truth.classes)):
        mine, theirs = truth.label == label, labels == label
        if settings.decode.offset:
            pairs = match_spans(np.stack([truth.start, truth.end], 1)[mine] * step, spans[theirs], tolerance)
        else:
            pairs = match(begins[mine], times[theirs], tolerance)
        counts.append(_counted(begins[mine], times[theirs], known[theirs], pairs, first * step))
    # Whatever the class: sorted, for classes may interleave.
    order = np.argsort(times, kind="stable")
    pairs = match(begins, times[order], tolerance)
    whole = _counted(begins, times[order], known[order], pairs, first * step)
    confusion = _confusion(truth, labels[order], times[order], begins, pairs, first * step)
    return Tally(float((last - first) * step / 3600), whole, tuple(counts), confusion)


def _counted(truth: np.ndarray, found: np.ndarray, known: np.ndarray, pairs: np.ndarray, first: float) -> Counts:
    kept = pairs[truth[pairs[:, 0]] >= first]
    alone = np.setdiff1d(np.arange(len(found)), pairs[:, 1])
    missed = np.setdiff1d(np.flatnonzero(truth >= first), pairs[:, 0])
    delays, offs = known[kept[:, 1]] - truth[kept[:, 0]], found[kept[:, 1]] - truth[kept[:, 0]]
    return Counts(len(kept), int((found[alone] >= first).sum()), len(missed), tuple(delays), tuple(offs))


def _confusion(
    truth: Truth, labels: np.ndarray, found: np.ndarray, begins: np.ndarray, pairs: np.ndarray, first: float
) -> np.ndarray:
    none = len(truth.classes)
    table = np.zeros((none + 1, none + 1), np.int64)
    for i, j in pairs.tolist():
        table[truth.label[i], labels[j]] += begins[i] >= first
    for i in np.setdiff1d(np.flatnonzero(begins >= first), pairs[:, 0]):
        table[truth.label[i], none] += 1
    for j in np.setdiff1d(np.flatnonzero(found >= first), pairs[:, 1]):
        table[none, labels[j]] += 1
    return table


def _added(one: Tally, other: Tally) -> Tally:
    by_class = tuple(a + b for a, b in zip(one.by_class, other.by_class, strict=True))
    return Tally(one.hours + other.hours, one.any + other.any, by_class, one.confusion + other.confusion)


def _stamp(stamps: np.ndarray, row: int) -> str:
    return shown(stamps[min(row, len(stamps) - 1)])
