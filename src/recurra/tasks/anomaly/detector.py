"""A detector that is ready to judge: series in, a score and an alarm for each row out; whole or as a stream."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from recurra.base.errors import ConfigError, DataError, message
from recurra.diagnostics.subject import Subject
from recurra.tasks.anomaly.live import AnomalyLive, NetLive, OnlineLive
from recurra.tasks.anomaly.network import ErrorNet
from recurra.tasks.anomaly.online import PARTS, OnlineDetector
from recurra.tasks.anomaly.settings import AnomalySettings
from recurra.tasks.anomaly.subject import anomaly_subject
from recurra.tasks.anomaly.table import Rows

__all__ = ["AnomalyPrepared", "Detector", "Judged", "NetDetector", "OnlineRun", "peaks"]


class AnomalyPrepared(msgspec.Struct, frozen=True):
    """What is stored beside the weights: detector.json."""

    channels: tuple[str, ...]
    threshold: float
    scales: dict[str, tuple[list[float], list[float]]] = {}
    """Of each series: the mean and the deviation of each channel."""


class Judged(NamedTuple):
    """What is said of one series."""

    id: str
    scores: np.ndarray
    """(T,), NaN where there is none."""
    alarms: np.ndarray
    """(T,) bool."""
    reasons: tuple[str, ...] = ()
    """Of each row, for the online detector: the part that was surprised most."""


class Detector:
    """What all detectors have."""

    settings: AnomalySettings
    channels: tuple[str, ...]
    threshold: float

    def __post_init__(self) -> None:
        """Begin without a folder."""
        self.judged: tuple[Judged, ...] = ()
        """Of the rows of training, where that has judged them."""
        self.folder: Path | None = None

    @property
    def prepared(self) -> AnomalyPrepared:
        """Return what is stored beside the weights."""
        return AnomalyPrepared(self.channels, self.threshold, getattr(self, "scales", {}))

    def judge(self, series: Sequence[Rows]) -> list[Judged]:
        """A score and an alarm for each row of each series, each seen for the first time."""
        raise NotImplementedError

    def check(self, series: Sequence[Rows]) -> None:
        """DataError for series of other channels or without rows."""
        for one in series:
            if one.values.shape[1] != len(self.channels) or not len(one.values):
                fact = f"series {one.id!r} must be (T, {len(self.channels)}) with T > 0, got {one.values.shape}"
                raise DataError(message("anomaly", fact, f"The channels are {', '.join(self.channels)}."))


def peaks(scores: np.ndarray, quiet: int) -> np.ndarray:
    """(T,) bool: rows whose score is above each of the `quiet` scores before; a row without a score is passed over.

    >>> peaks(np.array([1.0, 2.0, 1.5, 1.5, 1.6, 3.0]), 2).tolist()
    [True, True, False, False, True, True]
    """
    there = ~np.isnan(scores)
    found = np.zeros(len(scores), bool)
    if not quiet:
        return there
    kept = scores[there]
    before = np.concatenate([np.full(quiet, -np.inf), kept])
    highest = np.lib.stride_tricks.sliding_window_view(before, quiet)[: len(kept)].max(1)
    found[there] = kept > highest
    return found


@dataclass
class OnlineRun(Detector):
    """The online detector by its settings; `judge` begins each series anew."""

    settings: AnomalySettings
    channels: tuple[str, ...]
    threshold: float = 0.5
    state: dict[str, Any] = field(default_factory=dict)
    """Where the streams of the training data stood at its end: "ids", and the arrays of the detector."""

    net = None

    @property
    def arrays(self) -> dict[str, Any]:
        """Return what is saved where others have weights."""
        return self.state

    def live(self, *, threshold: float | None = None, cold: bool = False) -> AnomalyLive:
        """Return a live detector.

        Args:
            threshold: another one than the run's.
            cold: begin anew, instead of going on with the streams of the training data.

        Raises:
            ConfigError: for a threshold that is none.

        """
        return OnlineLive(self, threshold=_checked(threshold), warm=not cold)

    def fresh(self, threshold: float | None = None) -> OnlineDetector:
        """A detector that has seen nothing."""
        online = self.settings.online
        return OnlineDetector(
            len(self.channels),
            margin=online.margin,
            tail=online.tail,
            threshold=self.threshold if threshold is None else threshold,
            quiet=self.settings.quiet,
            settle=online.settle,
            members=online.members,
            units=online.units,
            memory=online.memory,
            seed=self.settings.seed,
        )

    def judge(self, series: Sequence[Rows]) -> list[Judged]:
        """See `Detector`."""
        return self.run(series)[0]

    def run(self, series: Sequence[Rows]) -> tuple[list[Judged], OnlineDetector]:
        """`judge`, and the detector at the end of the series."""
        self.check(series)
        detector = self.fresh()
        lengths = np.array([len(one.values) for one in series])
        # Side by side, the longest first: those that go on are always the first rows, which are views.
        order = np.argsort(-lengths, kind="stable")
        detector.grow(len(series))
        scores = [np.full(length, np.nan) for length in lengths]
        alarms = [np.zeros(length, bool) for length in lengths]
        parts = [np.zeros(length, np.int64) for length in lengths]
        clocks = [one.clock_s for one in series]
        ranked = lengths[order]
        for step in range(int(lengths.max(initial=0))):
            going = int(np.searchsorted(-ranked, -step, side="left"))
            chosen = order[:going].tolist()
            x = np.stack([series[one].values[step] for one in chosen])
            clock = np.array([clocks[one][step] for one in chosen])
            # Stream numbers are ranks here; `run` puts them back in order at the end.
            found = detector.step(np.arange(going), x, clock)
            for place, one in enumerate(chosen):
                scores[one][step], alarms[one][step] = found.score[place], found.alarm[place]
                parts[one][step] = found.part[place]
        back = np.empty(len(order), np.int64)
        back[order] = np.arange(len(order))
        detector.reorder(back)
        judged = [
            Judged(one.id, scores[place], alarms[place], tuple(PARTS[part] for part in parts[place]))
            for place, one in enumerate(series)
        ]
        return judged, detector


@dataclass
class NetDetector(Detector):
    """A trained net with its scales; a series that training did not know is scaled as those it knew on average."""

    settings: AnomalySettings
    channels: tuple[str, ...]
    threshold: float
    net: ErrorNet
    scales: dict[str, tuple[list[float], list[float]]]
    """Of each series: the mean and the deviation of each channel."""

    def live(self, *, threshold: float | None = None) -> AnomalyLive:
        """Return a live detector; threshold: another one than the run's. Raises ConfigError for one that is none."""
        return NetLive(self, threshold=_checked(threshold))

    def scale(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Mean and deviation (C,) of a series."""
        if name in self.scales:
            mean, deviation = self.scales[name]
            return np.array(mean), np.array(deviation)
        means, deviations = zip(*self.scales.values(), strict=True)
        return np.mean(means, axis=0), np.mean(deviations, axis=0)

    def scaled(self, one: Rows) -> np.ndarray:
        """(T, C)."""
        mean, deviation = self.scale(one.id)
        return (one.values - mean) / deviation

    def subject(self, data: Sequence[Path | str] = (), *, rows: int = 8, steps: int = 512) -> Subject:
        """Return the net with the newest rows, for the diagnostics: see `anomaly_subject`."""
        return anomaly_subject(self, data, rows, steps)

    def scores(self, one: Rows) -> np.ndarray:
        """(T,)."""
        return self.net.scores(self.net.errors_of(self.scaled(one)))

    def judge(self, series: Sequence[Rows]) -> list[Judged]:
        """See `Detector`."""
        self.check(series)
        found = []
        for one in series:
            scores = self.scores(one)
            alarms = peaks(scores, self.settings.quiet) & (np.nan_to_num(scores, nan=-np.inf) >= self.threshold)
            found.append(Judged(one.id, scores, alarms))
        return found


def _checked(threshold: float | None) -> float | None:
    if threshold is not None and not 0 < threshold < float("inf"):
        raise ConfigError(message("live", f"a threshold must be above 0, got {threshold:g}"))
    return threshold
