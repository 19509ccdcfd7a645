"""Training and loading a detector in one line of Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from recurra.data.series.series_set import SeriesSet
from recurra.tasks.events.detector import Detector
from recurra.tasks.events.settings import EventSettings
from recurra.tasks.events.task import EventData, Events
from recurra.tasks.events.truth import Truth
from recurra.tasks.load import load
from recurra.tasks.train import Outcome, fit, train

__all__ = ["EventOutcome", "fit_events", "load", "train_run"]


class EventOutcome(Outcome):
    """An outcome with the counts of events by name."""

    @property
    def tally(self) -> Any:
        """The counts of the held-out split (`recurra.tasks.events.match.Tally`)."""
        return self.measures.scores if self.measures else None


def train_run(
    settings: EventSettings, folder: Path | str, *, stream: tuple[SeriesSet, Truth] | None = None, **options: Any
) -> EventOutcome:
    """Train into `folder` on the files of the settings, or on a stream in memory; see `recurra.tasks.train.train`."""
    outcome = train(Events(), settings, folder, data=EventData(*stream) if stream is not None else None, **options)
    return EventOutcome(**vars(outcome))


def fit_events(series: SeriesSet, truth: Truth, settings: EventSettings, **options: Any) -> Detector:
    """Train in memory; see `recurra.tasks.train.fit`."""
    return fit(Events(), settings, EventData(series, truth), **options)
