"""The declaration of event detection: what happens in a stream, and when."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import torch
from torch import Generator, Tensor, nn

from recurra.base.errors import DataError, message
from recurra.base.rng import Streams
from recurra.data.batch import Batch
from recurra.data.series.series_set import SeriesSet
from recurra.tasks.events import figures
from recurra.tasks.events.choose import Stretch, choose, curve
from recurra.tasks.events.decode import Rule
from recurra.tasks.events.detector import Detector, EventsPrepared
from recurra.tasks.events.network import EventNet
from recurra.tasks.events.prepare import Preparation, prepare, split
from recurra.tasks.events.settings import EventSettings
from recurra.tasks.events.stream import EventStream
from recurra.tasks.events.timeline import pictured
from recurra.tasks.events.truth import Truth, read_stream, targets
from recurra.tasks.task import Measures, Problem, Run, Task, View

__all__ = ["EventData", "Events", "event_loss", "fit_rule"]

_CHUNK = 4096
# Frames that are read before a validation split, so that the state is that of a stream.
_WARM_UP = 512


class EventData(NamedTuple):
    """Streams, their events where they are known, and the first row of each that is measured (None: all)."""

    series: SeriesSet
    truth: Truth | None
    first: np.ndarray | None = None


class Events(Task):
    """See `EventSettings`."""

    settings = EventSettings
    page = figures
    prepared = EventsPrepared
    prepared_file = "events.json"
    metric, mode = "f1", "max"
    next_command = "recurra detect {run} FILE --out events.csv; recurra watch {run}"

    def read(self, settings: Any, prepared: Any = None, *, labelled: bool = True) -> EventData:
        """Read the streams, and their events from a column or a table."""
        data, classes = settings.data, ()
        if prepared is not None:
            data = msgspec.structs.replace(data, channels=prepared.preparation.channels)
            classes = prepared.preparation.classes
        series, truth = read_stream(data, classes=classes, labelled=labelled)
        if labelled and truth is None:
            hint = "--events TABLE with start, end and label, or --label COLUMN with the class of each step."
            raise DataError(message("events", "the stream has no events to learn from or to compare with", hint=hint))
        return EventData(series, truth)

    def prepare(self, settings: Any, data: Any, before: Any = None) -> EventsPrepared:
        """Learn classes and scales; the rule of decoding is found after training."""
        del before
        return EventsPrepared(prepare(data.series, data.truth, settings), Rule(0.5, 0.25))

    def net(self, settings: Any, prepared: Any, generator: Generator | None, member: int = 0) -> EventNet:
        """Make the net."""
        del member
        return EventNet(prepared.preparation.width, len(prepared.preparation.classes), settings.model, generator)

    def problem(self, settings: Any, prepared: Any, data: Any, net: nn.Module, streams: Streams) -> Problem:
        """Cross entropy by frame; the weights of least loss on the validation split are used, where there is one."""
        series, preparation = data.series, prepared.preparation
        pairs = [_frames(series, data.truth, index, preparation, settings) for index in range(len(series))]
        training, validation, _ = split(series, settings)
        cuts = [int(rows) // preparation.frame for rows in training]
        ends = [int(rows) // preparation.frame for rows in validation]
        used = [index for index, cut in enumerate(cuts) if cut]
        frames = np.concatenate([pairs[index][0][: cuts[index]] for index in used])
        labels = np.concatenate([pairs[index][1][: cuts[index]] for index in used])
        begins = np.zeros(len(frames), bool)
        begins[np.cumsum([0, *(cuts[index] for index in used[:-1])])] = True
        objective = event_loss(_class_weights(labels, settings))
        validated = [index for index in range(len(series)) if ends[index] > cuts[index]]

        def evaluate(model: nn.Module) -> dict[str, float]:
            total, count = 0.0, 0
            for index in validated:
                start, stop = max(0, cuts[index] - _WARM_UP), ends[index]
                x, y = (torch.from_numpy(values[start:stop]) for values in pairs[index])
                logits = _in_chunks(model, x)
                measured = slice(cuts[index] - start, None)
                loss, positions = objective(logits[None, measured], Batch(x[None, measured], y[None, measured]))
                total, count = total + float(loss), count + positions
            return {"loss": total / max(count, 1)}

        stream = EventStream(frames, labels, begins, settings.batch, settings.chunk, streams["data"])
        return Problem(model=net, objective=objective, stream=stream, evaluate=evaluate if validated else None)

    def train(self, run: Run, data: Any) -> Detector:
        """Train one loop, then select the rule that makes events of probabilities."""
        settings, prepared = run.settings, run.prepare(data)
        net = run.loop(
            ".",
            lambda streams: self.problem(
                settings, prepared, data, self.net(settings, prepared, streams["init"]), streams
            ),
        )
        detector = self.predictor(settings, prepared, net, None)
        high, low, minimum, refractory, f1 = run.step("rule", fit_rule, detector, data.series, data.truth)
        detector.rule = Rule(high, low, int(minimum), int(refractory))
        run.note(validation_f1=f1)
        return detector

    def predictor(self, settings: Any, prepared: Any, net: Any, arrays: Mapping[str, Any] | None) -> Detector:
        """Make the detector."""
        del arrays
        return Detector(net, prepared.preparation, prepared.rule, settings)

    def held_out(self, predictor: Any, data: Any) -> tuple[str, EventData]:
        """The test split where there is one, else the validation split, which selected the rule."""
        settings, series = predictor.settings.data, data.series
        training, validation, _ = split(series, predictor.settings)
        if settings.test:
            return "test", data._replace(first=validation)
        cut = series.until(series.offsets[:-1] + validation)
        known = EventData(cut, _before(data.truth, cut.lengths))
        return ("validation", known._replace(first=training)) if settings.validation else ("training", known)

    def measure(self, predictor: Any, data: Any, options: Any) -> Measures:
        """Precision, recall and F1 within the tolerance, false alarms per hour and delays, for each class."""
        del options
        series, truth, first = data
        first = np.zeros(len(series), np.int64) if first is None else first
        probabilities = predictor.probabilities(series)
        tally = predictor.compare(probabilities, series, truth, first.tolist())
        last = series.lengths
        stretches = [
            (probabilities[index], truth.of(index), int(first[index]), int(last[index])) for index in range(len(series))
        ]
        details = {
            "point": predictor.preparation.point,
            "curve": curve(predictor, stretches),
            "pictures": pictured(predictor, series, stretches),
        }
        return Measures(numbers=tally.numbers(predictor.classes), details=details, scores=tally)

    def facts(self, run: Run, predictor: Any, data: Any) -> dict[str, Any]:
        """Count series, rows and events."""
        del run, predictor
        series = data.series
        return {"series": len(series), "rows": int(series.lengths.sum()), "events": len(data.truth)}

    def example(self, folder: Path, seed: int = 0) -> list[str]:
        """Write pulses in noise, and a table of when they come."""
        rng = np.random.default_rng(seed)
        begins = np.arange(30, 1150, 47)
        signal = 0.2 * rng.normal(size=1200)
        for begin in begins:
            signal[begin : begin + 12] += 2
        rows = [f"{step},{value:.4f}" for step, value in enumerate(signal)]
        (folder / "signal.csv").write_text("\n".join(["ds,y", *rows]) + "\n", encoding="utf-8")
        table = [f"{begin},{begin + 11},pulse" for begin in begins]
        (folder / "pulses.csv").write_text("\n".join(["start,end,label", *table]) + "\n", encoding="utf-8")
        files = [str(folder / "signal.csv"), "--events", str(folder / "pulses.csv")]
        return [*files, "--hidden", "8", "--iterations", "40", "--rate", "0.02", "--tolerance", "3", "--test", "0.2"]

    def lead(self, view: View) -> str:
        """See `Task`."""
        return figures.lead(view)


def fit_rule(detector: Detector, series: SeriesSet, truth: Truth) -> list[float]:
    """Return the rule with the best F1 on the validation split (without one, on the training split), and that F1."""
    training, validation, _ = split(series, detector.settings)
    validated = bool((validation > training).any())
    first = training if validated else np.zeros_like(training)
    stretches = _stretches(detector, series, truth, first, validation if validated else training)
    if not any(((events.start >= begin) & (events.start < end)).any() for _, events, begin, end in stretches):
        # No event in the validation split says anything about the rule; those of the training split have to.
        stretches = _stretches(detector, series, truth, np.zeros_like(training), training)
    rule, f1 = choose(detector, stretches, detector.settings.decode)
    return [*(float(value) for value in rule), f1]


def event_loss(weights: Tensor) -> Callable[[Tensor, Batch], tuple[Tensor, int]]:
    """Return cross entropy by frame, of classes (weights (1 + K,)), or of each class by itself (weights (2, K)).

    Frames without a label (-1 or NaN) count for nothing.
    """

    def objective(outputs: Tensor, batch: Batch) -> tuple[Tensor, int]:
        y = batch.y
        if y.is_floating_point():
            labelled = ~torch.isnan(y)
            labels = torch.where(labelled, y, y.new_zeros(()))
            losses = nn.functional.binary_cross_entropy_with_logits(outputs, labels, reduction="none")
            scaled = losses * torch.where(labels > 0.5, weights[1].to(outputs), weights[0].to(outputs))
            return torch.where(labelled, scaled, scaled.new_zeros(())).sum(), int(labelled[..., 0].sum())
        flat, labels = outputs.flatten(0, 1), y.flatten()
        loss = nn.functional.cross_entropy(flat, labels, weights.to(outputs), ignore_index=-1, reduction="sum")
        return loss, int((labels >= 0).sum())

    return objective


def _stretches(
    detector: Detector, series: SeriesSet, truth: Truth, first: np.ndarray, last: np.ndarray
) -> list[Stretch]:
    """Rows first[s] to last[s] of each series, read from its beginning on."""
    return [
        (
            detector.run(row.values[: int(last[index])], row.id),
            truth.of(index, 0, int(last[index])),
            int(first[index]),
            int(last[index]),
        )
        for index, row in enumerate(series)
    ]


def _before(truth: Truth, last: np.ndarray) -> Truth:
    """The events that begin before row last[s] of their series."""
    inside = truth.start < last[truth.series]
    names = ("series", "start", "end", "label")
    return replace(truth, **{name: getattr(truth, name)[inside] for name in names})


def _frames(
    series: SeriesSet, truth: Truth, index: int, preparation: Preparation, settings: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Frames and labels of one series."""
    row = series[index]
    sizes = (len(row.values), preparation.frame, preparation.widen, preparation.delay)
    return preparation.frames(row.values, row.id), targets(truth, index, *sizes, settings.model.overlap)


def _class_weights(labels: np.ndarray, settings: Any) -> Tensor:
    """Of each class by its share of the frames; their mean over the frames is 1."""
    if settings.model.overlap:
        share = np.nanmean(labels, 0)
        shares = np.stack([1 - share, share])
    else:
        counts = np.bincount(labels[labels >= 0], minlength=int(labels.max()) + 1).astype(np.float64)
        shares = counts / counts.sum()
    weights = np.maximum(shares, 1e-6) ** -settings.balance
    return torch.from_numpy(weights / (weights * shares).sum(0, keepdims=True))


def _in_chunks(model: nn.Module, x: Tensor) -> Tensor:
    """A long stream (F, W) -> logits (F, ...), in bounded memory."""
    state, chunks = None, []
    for begin in range(0, len(x), _CHUNK):
        logits, state = model(x[None, begin : begin + _CHUNK], state)
        chunks.append(logits[0])
    return torch.cat(chunks)
