"""The run folder of event detection: written by training, read back as a detector."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import msgspec
import numpy as np

from recurra.base.errors import DataError, message
from recurra.base.files import write_text
from recurra.data.series.series_set import SeriesSet
from recurra.tasks.events.choose import curve
from recurra.tasks.events.decode import Rule
from recurra.tasks.events.detector import Detector
from recurra.tasks.events.match import Tally
from recurra.tasks.events.network import EventNet
from recurra.tasks.events.prepare import Preparation
from recurra.tasks.events.settings import EventSettings
from recurra.tasks.events.timeline import pictured
from recurra.tasks.events.train import Trained, fit, stretches_of
from recurra.tasks.events.truth import Truth, read_stream
from recurra.tasks.folder import MEMBERS, WEIGHTS, Runs, free, write_note
from recurra.training import checkpoint
from recurra.training.progress import Progress

__all__ = ["EVENTS", "HELD", "RUNS", "EventOutcome", "load", "train_run"]

EVENTS, HELD = "events.json", "held_out.json"

RUNS = Runs("events", EventSettings, (EVENTS, HELD), free("data.file", "data.test", "data.events"))


class _Kept(msgspec.Struct):
    """events.json."""

    preparation: Preparation
    rule: Rule


class EventOutcome(msgspec.Struct):
    """What a run came to."""

    folder: Path
    trained: Trained
    tally: Tally | None
    """On the test part where there is one, else on the validation part, which chose the rule."""
    part: str


def train_run(
    settings: EventSettings,
    folder: Path | str,
    *,
    stream: tuple[SeriesSet, Truth] | None = None,
    resume: bool = False,
    progress: Progress | None = None,
    command: str = "",
) -> EventOutcome:
    """Train into `folder`, and measure on the test part (or, without one, the validation part).

    Raises CheckpointError where the folder holds a run already or, with resume, none or one of other settings;
    DataError for data that cannot be used.
    """
    folder = Path(folder)
    RUNS.check(folder, settings, resume)
    series, truth = read_stream(settings.data) if stream is None else stream
    if truth is None:
        hint = "--events TABLE with start, end and label, or --label COLUMN with the class of each step."
        raise DataError(message("events", "the stream has no events to learn from", hint=hint))
    with RUNS.opened(folder, settings, resume, command):
        hint = RUNS.continuing(folder)
        place = folder / MEMBERS / "1"
        trained = fit(series, truth, settings, folder=place, progress=progress, resume=resume, resume_hint=hint)
        if trained.interrupted:
            return EventOutcome(folder, trained, None, "")
        detector = trained.detector
        kept = {"preparation": dataclasses.asdict(detector.preparation), "rule": detector.rule}
        write_text(folder / EVENTS, json.dumps(kept, ensure_ascii=False) + "\n")
        checkpoint.save_weights(folder / WEIGHTS, dict(detector.net.state_dict()), {"task": "events"})
        part = "test" if settings.data.test else "validation" if settings.data.validation else "training"
        first = trained.stops if settings.data.test else trained.learnt
        first = np.zeros_like(first) if part == "training" else first
        shown = series if settings.data.test else series.until(series.offsets[:-1] + trained.stops)
        last = shown.lengths
        found = detector.evaluate(shown, truth_until(truth, last), first.tolist())
        stretches = stretches_of(detector, shown, truth_until(truth, last), first, last)
        numbers = {
            "part": part,
            "point": detector.preparation.point,
            **found.numbers(detector.classes),
            "curve": curve(detector, stretches),
            "pictures": pictured(detector, shown, stretches),
        }
        write_text(folder / HELD, json.dumps(numbers, ensure_ascii=False) + "\n")
        facts = {"series": len(series), "rows": int(series.lengths.sum()), "events": len(truth), "part": part}
        write_note(folder, result={**trained.summary(), **facts})
        return EventOutcome(folder, trained, found, part)


def truth_until(truth: Truth, last: np.ndarray) -> Truth:
    """The events that begin before row last[s] of their series."""
    inside = truth.start < last[truth.series]
    parts = (part[inside] for part in (truth.series, truth.start, truth.end, truth.label))
    return Truth(truth.classes, *parts)


def load(folder: Path | str) -> Detector:
    """The detector of a finished run.

    Raises CheckpointError where the folder is no run, is not finished, or its parts are damaged.
    """
    folder = Path(folder)
    settings = RUNS.settings(folder)
    path = RUNS.finished(folder)
    kept: _Kept = RUNS.read_json(folder, EVENTS, _Kept)
    net = EventNet(kept.preparation.width, len(kept.preparation.classes), settings.model)
    weights, _ = checkpoint.load_weights(path)
    checkpoint.restore_weights(net, weights, str(path))
    return Detector(net, kept.preparation, kept.rule, settings)
