"""Events of many streams at once, step by step, in constant memory; the answers are those of the whole stream.

    columns: tuple[str, ...]
    step(ids, stamps, values) -> for each row the records that are due
    state() -> JSON-able values and arrays; load_state(state) goes on from there

A record of an event that has no duration comes once, when it is known:

    {"kind": "event", "label", "step", "stamp", "start", "end", "probability", "decided"}

One that lasts has a record when it begins to count and one when it is over:

    {"kind": "begin", "label", "start", "stamp", "probability", "decided"}
    {"kind": "end", "label", "start", "end", "stamp", "probability", "decided"}

Steps are counted from the first one of each stream; `stamp` is what was said of that step (the beginning, the end).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from recurra.base.errors import DataError, message
from recurra.base.state import leaves, map_state
from recurra.layers.stream import Stream
from recurra.tasks.events.decode import DetectedEvent, Detection, TrackDecoder, in_steps, tracks_of
from recurra.tasks.events.network import event_probabilities
from recurra.tasks.load import load

__all__ = ["EventLive", "live"]

# Stamps of so many frames before the present one are kept; the middle of a longer event has that of its beginning.
_REMEMBERED = 64


class _Place:
    """What is kept of one stream beside the state of the net."""

    def __init__(self, detector: Any, row: int) -> None:
        preparation = detector.preparation
        self.row = row
        self.steps = 0
        self.pending: list[list[float]] = []
        """Steps of the frame that is not whole yet."""
        self.stamps: deque[str | None] = deque(maxlen=(_REMEMBERED + preparation.delay) * preparation.frame)
        overlap = detector.settings.model.overlap
        kinds = tracks_of(len(preparation.classes), preparation.point, overlap)
        self.tracks = [TrackDecoder(classes, detector.rule, preparation.point) for classes in kinds]
        self.begun: list[str | None] = [None] * len(self.tracks)
        """Stamp of the beginning of the event that goes on in each track."""

    def stamp(self, step: int, instead: str | None = None) -> str | None:
        """What was said of a step, while it is remembered."""
        back = self.steps - step
        return self.stamps[-back] if 0 < back <= len(self.stamps) else instead


class EventLive:
    """See the head of this module. probabilities: a record of every frame too, {"kind": "probability", ...}."""

    def __init__(self, detector: Any, *, probabilities: bool = False) -> None:
        self.detector, self.probabilities = detector, probabilities
        self.preparation = detector.preparation
        self.columns: tuple[str, ...] = self.preparation.channels
        self._places: dict[str, _Place] = {}
        body = detector.net.body
        with torch.no_grad():
            self._fresh: Any = body.initial_state(1)
        self._pool = [leaf.repeat(8, 1) for leaf in leaves(self._fresh)]
        """Each leaf of the state (rows, size): a row for every stream, and room for more."""
        self._free: list[int] = []
        """Rows of streams that have ended."""
        self._session: Stream | None = None
        """The rows that were read last, as a session of the layer; they are not in the pool meanwhile."""
        self._session_rows: list[int] = []

    def step(self, ids: Sequence[str], stamps: Sequence[str | None], values: np.ndarray) -> list[list[dict[str, Any]]]:
        """One step of B streams: values (B, C) float64 in the order of `columns`, NaN where missing.

        An id that was not there before begins a stream. Raises DataError for another shape, infinities, an id that
        stands twice, and missing values that a net without a mask cannot see; then nothing has changed.
        """
        values = self._checked(ids, stamps, values)
        frames = self.preparation.frame
        whole: list[int] = []
        places = [self._place(one) for one in ids]
        for row, (place, stamp, numbers) in enumerate(zip(places, stamps, values.tolist(), strict=True)):
            place.steps += 1
            place.stamps.append(stamp)
            place.pending.append(numbers)
            if len(place.pending) == frames:
                whole.append(row)
        found: list[list[dict[str, Any]]] = [[] for _ in ids]
        if not whole:
            return found
        chosen = [places[row] for row in whole]
        block = np.array([place.pending for place in chosen])
        for place in chosen:
            place.pending = []
        shares = self._answers(self.preparation.frames(block)[:, 0], [place.row for place in chosen])
        for row, place, said in zip(whole, chosen, shares.tolist(), strict=True):
            found[row] = self._records(place, said)
        return found

    def finish(self, ids: Sequence[str] | None = None) -> list[list[dict[str, Any]]]:
        """These streams (all by default) have ended: the events that go on end with them. They are forgotten."""
        names = list(self._places) if ids is None else list(ids)
        self._settle()
        found = []
        for one in names:
            place = self._places.pop(one)
            for leaf, fresh in zip(self._pool, leaves(self._fresh), strict=True):
                leaf[place.row] = fresh[0]
            self._free.append(place.row)
            last = place.steps // self.preparation.frame - 1
            records = []
            for number, track in enumerate(place.tracks):
                if (event := track.finish(last, last)) is not None:
                    records += self._record(place, number, *event)
            found.append(records)
        return found

    def state(self) -> dict[str, object]:
        """Everything that `load_state` needs: plain values, and arrays under "net"."""
        self._settle()
        series = {
            one: {
                "row": place.row,
                "steps": place.steps,
                "pending": place.pending,
                "stamps": list(place.stamps) if any(stamp is not None for stamp in place.stamps) else len(place.stamps),
                "tracks": [track.state() for track in place.tracks],
                "begun": place.begun,
            }
            for one, place in self._places.items()
        }
        rows = [place.row for place in self._places.values()]
        return {"series": series, "rows": rows, "net": [leaf[rows].numpy() for leaf in self._pool]}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from there. Raises DataError where it is that of another model."""
        arrays = [torch.from_numpy(np.array(one)) for one in state["net"]]
        wrong = len(arrays) != len(self._pool) or any(
            part.shape[1:] != leaf.shape[1:] for part, leaf in zip(arrays, self._pool, strict=False)
        )
        if wrong:
            raise DataError(message("EventLive.load_state", "the state is that of another model"))
        self._session, self._session_rows, self._places, self._free = None, [], {}, []
        for number, (one, kept) in enumerate(state["series"].items()):
            place = self._place(one)
            place.steps, place.begun = int(kept["steps"]), list(kept["begun"])
            place.pending = [[float(value) for value in row] for row in kept["pending"]]
            stamps = kept["stamps"]
            place.stamps.extend([None] * stamps if isinstance(stamps, int) else stamps)
            for track, saved in zip(place.tracks, kept["tracks"], strict=True):
                track.load_state(saved)
            for leaf, array in zip(self._pool, arrays, strict=True):
                leaf[place.row] = array[number].to(leaf.dtype)

    def _checked(self, ids: Sequence[str], stamps: Sequence[str | None], values: np.ndarray) -> np.ndarray:
        values = np.asarray(values, np.float64)
        where, width = "EventLive.step", len(self.columns)
        if values.shape != (len(ids), width) or len(stamps) != len(ids):
            fact = f"values must be ({len(ids)}, {width}) for {len(ids)} ids and stamps, got {values.shape}"
            raise DataError(message(where, fact, f"Columns: {', '.join(self.columns)}."))
        if len(set(ids)) < len(ids):
            raise DataError(message(where, "an id stands twice in one step"))
        # Before anything is kept: a bad step must not leave half of the streams ahead of the others.
        if not np.isfinite(values).all():
            self.preparation.check(values, where)
        return values

    def _place(self, one: str) -> _Place:
        place = self._places.get(one)
        if place is not None:
            return place
        used = {other.row for other in self._places.values()}
        row = (
            len(self._places)
            if len(self._places) not in used
            else next(k for k in range(len(used) + 1) if k not in used)
        )
        if row >= len(self._pool[0]):
            self._settle()
            more = [fresh.repeat(len(leaf), 1) for leaf, fresh in zip(self._pool, leaves(self._fresh), strict=True)]
            self._pool = [torch.cat([leaf, part]) for leaf, part in zip(self._pool, more, strict=True)]
        self._places[one] = place = _Place(self.detector, row)
        return place

    def _answers(self, x: np.ndarray, rows: list[int]) -> np.ndarray:
        """One frame of some streams (B, W) -> (B, K)."""
        if self._session is None or rows != self._session_rows:
            self._settle()
            session: Stream = self.detector.net.body.stream(len(rows))
            leaves_left = iter([leaf[rows] for leaf in self._pool])
            session.state = map_state(lambda _: next(leaves_left), self._fresh)
            self._session, self._session_rows = session, rows
        session = self._session
        with torch.no_grad():
            y = session.push(torch.from_numpy(x).reshape(len(rows), -1))
            logits = self.detector.net.output(y.reshape(len(rows), -1))
            return event_probabilities(logits, self.detector.net.overlap).double().numpy()

    def _settle(self) -> None:
        """The session's rows go back into the pool."""
        if self._session is None:
            return
        for leaf, part in zip(self._pool, leaves(self._session.state), strict=True):
            leaf[self._session_rows] = part
        self._session, self._session_rows = None, []

    def _records(self, place: _Place, shares: list[float]) -> list[dict[str, Any]]:
        frame = place.steps // self.preparation.frame - 1
        records: list[dict[str, Any]] = []
        if self.probabilities:
            step = self.preparation.middle(frame)
            said = dict(zip(self.preparation.classes, shares, strict=True))
            record = {"kind": "probability", "step": step, "stamp": place.stamp(step), "probabilities": said}
            records.append(record)
        for number, track in enumerate(place.tracks):
            before = track.start
            event = track.push(frame, [shares[label] for label in track.classes])
            if track.start == frame and before != frame:
                place.begun[number] = place.stamp(self.preparation.first(frame))
            if event is not None:
                records += self._record(place, number, *event)
        return records

    def _record(self, place: _Place, track: int, kind: str, event: Detection) -> list[dict[str, Any]]:
        found: DetectedEvent = in_steps(event, self.preparation)
        begun = place.begun[track]
        facts: dict[str, Any] = {"label": self.preparation.classes[found.label]}
        rest = {"probability": found.probability, "decided": found.decided}
        if self.preparation.point:
            if kind == "begin":
                return []
            stamp = place.stamp(found.time, begun)
            return [
                {"kind": "event", **facts, "step": found.time, "stamp": stamp, "start": found.start, "end": found.end}
                | rest
            ]
        if kind == "begin":
            return [{"kind": "begin", **facts, "start": found.start, "stamp": begun, **rest}]
        stamp = place.stamp(found.end, begun)
        return [{"kind": "end", **facts, "start": found.start, "end": found.end, "stamp": stamp, **rest}]


def live(
    run: Path | str, *, probabilities: bool = False, high: float | None = None, low: float | None = None
) -> EventLive:
    """Return the live detector of a run folder; see `Detector.live`."""
    return load(run).live(probabilities=probabilities, threshold=high, low=low)
