"""From probabilities to events: hysteresis, least length, refractory time; step by step, or a whole stretch at once.

A track is one probability by frame. An event begins at the first frame that reaches `high`, ends at the last one before
the track falls below `low`, and is dropped where it is shorter than `least` frames or begins within `refractory` frames
of the end of the one before.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

__all__ = ["DetectedEvent", "Detection", "Rule", "TrackDecoder", "decode", "in_steps", "tracks_of"]


class Rule(NamedTuple):
    """How a track becomes events; lengths in frames."""

    high: float
    low: float
    least: int = 1
    refractory: int = 0


class Detection(NamedTuple):
    """One event; frames, both ends within."""

    label: int
    start: int
    end: int
    time: int
    """Where its middle is, by probability."""
    probability: float
    """The largest of its frames."""
    decided: int
    """The frame in which this was known: for events of one moment when they are over, else when they begin."""


class DetectedEvent(NamedTuple):
    """One event; steps are counted from the beginning of its series, both ends within."""

    label: int
    start: int
    end: int
    time: int
    probability: float
    decided: int
    """The last step that had been read when it was known."""


def _rounded(middle: float) -> int:
    # A half goes up also where rounding left it just short of one, whichever order the sums were made in.
    return math.floor(middle + 0.5 + 1e-9)


def tracks_of(classes: int, point: bool, overlap: bool) -> list[list[int]]:
    """The classes behind each track. Moments that exclude each other share one, of any of them."""
    return [list(range(classes))] if point and not overlap else [[place] for place in range(classes)]


def decode(probabilities: np.ndarray, rule: Rule, point: bool, overlap: bool = False) -> list[Detection]:
    """The events of one whole stretch (F, K), in the order of their beginning.

    >>> [(d.start, d.end) for d in decode(np.array([[0.1], [0.6], [0.9], [0.4], [0.1]]), Rule(0.5, 0.3), True)]
    [(1, 3)]
    """
    found: list[Detection] = []
    for classes in tracks_of(probabilities.shape[1], point, overlap):
        found += _decoded(probabilities[:, classes], classes, rule, point)
    return sorted(found, key=lambda one: (one.start, one.label))


def _decoded(shares: np.ndarray, classes: Sequence[int], rule: Rule, point: bool) -> list[Detection]:
    track = shares.sum(1)
    above = track >= min(rule.low, rule.high)
    edges = np.flatnonzero(np.diff(above.astype(np.int8), prepend=0, append=0))
    found, ended = [], -(10**18)
    for begin, stop in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        high = np.flatnonzero(track[begin:stop] >= rule.high)
        if not len(high):
            continue
        start = begin + int(high[0])
        if stop - start < rule.least or start - ended <= rule.refractory:
            continue
        ended = stop - 1
        part = track[start:stop]
        time = _rounded(float((part * np.arange(start, stop)).sum() / part.sum()))
        label = classes[int(shares[start:stop].sum(0).argmax())]
        decided = min(stop, len(track) - 1) if point else start + rule.least - 1
        found.append(Detection(label, start, stop - 1, time, float(part.max()), decided))
    return found


class TrackDecoder:
    """One track, frame by frame; the state is a few numbers, whatever the length of the stream.

    `push` gives "begin" when an event is long enough to count, "end" with the `Detection` when it is over.
    """

    def __init__(self, classes: Sequence[int], rule: Rule, point: bool) -> None:
        self.classes, self.rule, self.point = list(classes), rule, point
        self.start = -1
        """First frame of the event that goes on; -1: none."""
        self.ended: int | None = None
        self.refused = False
        """The present one began within the refractory time."""
        self.sums = [0.0] * len(self.classes)
        self.moment = self.mass = self.peak = 0.0

    def push(self, frame: int, shares: Sequence[float]) -> tuple[str, Detection] | None:
        """shares (K,): the probability of each class of this track in this frame."""
        value = sum(shares)
        low = min(self.rule.low, self.rule.high)
        if self.start < 0:
            if value < self.rule.high:
                return None
            self.start, self.sums = frame, [0.0] * len(self.classes)
            self.moment = self.mass = self.peak = 0.0
            self.refused = self.ended is not None and frame - self.ended <= self.rule.refractory
        elif value < low:
            return self.finish(frame - 1, frame)
        self.sums = [total + share for total, share in zip(self.sums, shares, strict=True)]
        self.mass, self.moment = self.mass + value, self.moment + value * frame
        self.peak = max(self.peak, value)
        if self.refused or frame - self.start + 1 != self.rule.least:
            return None
        return "begin", self._event(frame, frame)

    def finish(self, last: int, decided: int) -> tuple[str, Detection] | None:
        """The event that goes on ends at frame `last`; None where there is none, or it is too short."""
        start, refused = self.start, self.refused
        self.start, self.refused = -1, False
        if start < 0 or refused or last - start + 1 < self.rule.least:
            return None
        self.ended = last
        return "end", self._event(last, decided, start)

    def _event(self, last: int, decided: int, start: int | None = None) -> Detection:
        first = self.start if start is None else start
        time = _rounded(self.moment / self.mass)
        known = decided if self.point else first + self.rule.least - 1
        return Detection(self.classes[self.sums.index(max(self.sums))], first, last, time, self.peak, known)

    def state(self) -> dict[str, Any]:
        """Plain values."""
        names = ("start", "ended", "refused", "moment", "mass", "peak")
        return {name: getattr(self, name) for name in names} | {"sums": list(self.sums)}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        for name, value in state.items():
            setattr(self, name, list(value) if name == "sums" else value)


def in_steps(detection: Detection, preparation: Any) -> DetectedEvent:
    """Return a detection in steps instead of frames."""
    return DetectedEvent(
        detection.label,
        preparation.first(detection.start),
        preparation.last(detection.end),
        preparation.middle(detection.time),
        detection.probability,
        preparation.read(detection.decided),
    )
