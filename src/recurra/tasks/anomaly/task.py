"""The declaration of anomaly detection: scores as a stream comes, and thresholds found without test data."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
from msgspec import Meta
from torch import Generator, nn

from recurra.base.config import Settings
from recurra.base.errors import DataError, message
from recurra.base.option import Input, Option
from recurra.base.rng import Streams
from recurra.tasks.anomaly import figures
from recurra.tasks.anomaly.detector import AnomalyPrepared, Detector, Judged, NetDetector, OnlineRun
from recurra.tasks.anomaly.evaluate import judged_rows, labelled
from recurra.tasks.anomaly.network import masked_squares, net_of
from recurra.tasks.anomaly.settings import AnomalySettings
from recurra.tasks.anomaly.stream import WindowStream
from recurra.tasks.anomaly.table import Rows, read_rows
from recurra.tasks.anomaly.threshold import quantile_threshold, tail_threshold
from recurra.tasks.task import Measures, Problem, Run, Task, View

__all__ = ["Anomaly", "AnomalyData", "AnomalyEvaluation", "training_rows"]

_TRAIN, _ERRORS = 0.7, 0.85
"""Shares of a series where training ends, and where the rows that the errors are measured on end."""


class AnomalyEvaluation(Settings, frozen=True):
    """Options of the evaluation of an anomaly detector."""

    windows: Annotated[str, Input("windows")] = ""
    """True anomalies as JSON: id -> [[first stamp, last stamp], ...]."""
    tolerance: Annotated[int, Meta(ge=0), Option(metavar="ROWS")] = 0
    """Rows by which an alarm may miss an anomaly and still count as a hit."""
    threshold: Annotated[float | None, Option(metavar="X")] = None
    """Threshold instead of the run's own."""
    scores: Annotated[str, Option(metavar="FILE")] = ""
    """Write score and alarm of every row there, as CSV."""


class AnomalyData(NamedTuple):
    """Series with the names of their channels; of a measurement the last `test` rows of each count (0: all)."""

    series: list[Rows]
    channels: tuple[str, ...]
    test: int = 0
    judged: Sequence[Judged] = ()
    """What a detector said of the rows, where training has judged them."""


class Anomaly(Task):
    """See `AnomalySettings`."""

    settings = AnomalySettings
    page = figures
    prepared = AnomalyPrepared
    prepared_file = "detector.json"
    evaluation = AnomalyEvaluation
    metric, mode = "pr_auc", "max"
    next_command = "recurra watch {run} stream.csv"

    def read(self, settings: Any, prepared: Any = None, *, labelled: bool = True) -> AnomalyData:
        """Read the series as they stand in the table."""
        del labelled
        series, channels = read_rows(settings.data.file, settings.data, prepared.channels if prepared else ())
        if prepared is None:
            training_rows(series, settings.data.test)
        return AnomalyData(series, channels)

    def prepare(self, settings: Any, data: Any, before: Any = None) -> AnomalyPrepared:
        """Learn the scale of each series; the threshold is found after training."""
        del before
        rows = training_rows(data.series, settings.data.test)
        if all(np.isnan(series.values).all() for series in rows):
            raise DataError(message("anomaly", f"none of the {len(rows)} series holds a value"))
        scales = {} if settings.model == "online" else {series.id: _scale(series) for series in rows}
        return AnomalyPrepared(data.channels, settings.threshold.value, scales)

    def net(self, settings: Any, prepared: Any, generator: Generator | None, member: int = 0) -> nn.Module:
        """Make the net of the trained models."""
        del member
        return net_of(settings, len(prepared.channels), generator)

    def network(self, settings: Any, prepared: Any) -> nn.Module | None:
        """Make the net; the online detector has none."""
        return None if settings.model == "online" else self.net(settings, prepared, None)

    def problem(self, settings: Any, prepared: Any, data: Any, net: Any, streams: Streams) -> Problem:
        """Squared errors on rows that no label calls an anomaly."""
        detector = NetDetector(settings, prepared.channels, prepared.threshold, net, prepared.scales)
        values, normal, _ = _windows(detector, data)
        steps = settings.net.window * (4 if settings.model == "forecast" else 1)
        minimum = settings.net.window + (settings.net.ahead if settings.model == "forecast" else 0)
        longest = max(int(_TRAIN * len(rows)) for rows in normal)
        if longest < minimum:
            fact = f"the longest series has {longest} rows to train on, {minimum} are needed"
            hint = "more rows, a smaller net.window, or the model online, which needs no training."
            raise DataError(message("anomaly", fact, hint=hint))
        steps = min(steps, longest)
        stream = WindowStream(values, normal, (0.0, _TRAIN), steps, net, settings.batch, streams["data"])
        held_out = WindowStream(values, normal, (_TRAIN, _ERRORS), min(steps, _shortest(normal, steps)), net, 256, None)

        def evaluate(model: nn.Module) -> dict[str, float]:
            total, count = 0.0, 0
            for batch in held_out.batches():
                loss, targets = masked_squares(model(batch.x)[0], batch)
                total, count = total + float(loss), count + targets
            if not count:
                raise DataError(message("anomaly", "no validation row has a value to compare with"))
            return {"loss": total / count}

        return Problem(model=net, objective=masked_squares, stream=stream, evaluate=evaluate)

    def train(self, run: Run, data: Any) -> Detector:
        """Train a net, the distribution of its errors and the threshold; or run the online detector over the data."""
        settings, prepared = run.settings, run.prepare(data)
        if settings.model == "online":
            return _online(training_rows(data.series, settings.data.test), data.channels, settings)
        net: Any = run.loop(
            "training",
            lambda streams: self.problem(
                settings, prepared, data, self.net(settings, prepared, streams["init"]), streams
            ),
        )
        detector = NetDetector(settings, prepared.channels, prepared.threshold, net, prepared.scales)
        values, _, unfit = _windows(detector, data)
        errors = [
            np.where(mask[:, None, None], np.nan, net.errors_of(rows)) for rows, mask in zip(values, unfit, strict=True)
        ]
        cuts = [(int(_TRAIN * len(rows)), int(_ERRORS * len(rows))) for rows in errors]
        pairs = list(zip(errors, cuts, strict=True))
        net.fit_errors(np.concatenate([rows[a:b].reshape(-1, net.errors) for rows, (a, b) in pairs]))
        detector.threshold = _threshold(np.concatenate([net.scores(rows[b:]) for rows, (_, b) in pairs]), settings)
        return detector

    def predictor(self, settings: Any, prepared: Any, net: Any, arrays: Mapping[str, Any] | None) -> Detector:
        """Make the detector."""
        if settings.model == "online":
            return OnlineRun(settings, prepared.channels, prepared.threshold, dict(arrays or {}))
        return NetDetector(settings, prepared.channels, prepared.threshold, net, prepared.scales)

    def held_out(self, predictor: Any, data: Any) -> tuple[str, AnomalyData]:
        """Return the rows that training did not use, where some were reserved; else all rows."""
        test = predictor.settings.data.test
        if test:
            return f"the last {test:,} rows of each series, kept from training", data._replace(test=test)
        return "all rows", data._replace(judged=predictor.judged)

    def measure(self, predictor: Any, data: Any, options: Any) -> Measures:
        """Count alarms, and compare them with labels where there are some."""
        series = data.series
        if options.threshold is not None:
            predictor.threshold = options.threshold
        if options.windows:
            series = labelled(series, _read_windows(options.windows), options.windows)
        judgement = judged_rows(predictor, series, judged=data.judged, test=data.test, tolerance=options.tolerance)
        files = {options.scores: judgement.table()} if options.scores else {}
        details = figures.details(judgement)
        return Measures(numbers=judgement.numbers(), details=details, files=files, scores=judgement)

    def facts(self, run: Run, predictor: Any, data: Any) -> dict[str, Any]:
        """Count series, rows and channels."""
        del run
        rows = sum(len(series.values) for series in data.series)
        counts = {"series": len(data.series), "rows": rows, "channels": len(data.channels)}
        return {**counts, "threshold": predictor.threshold}

    def cell(self, settings: Any) -> str | None:
        """Only the trained models have one."""
        return None if settings.model == "online" else settings.net.cell

    def lead(self, view: View) -> str:
        """Say how the model works."""
        net = view.settings.net
        return {
            "online": "Learns while the stream runs: range, level, time of day, and an echo state network's forecasts.",
            "forecast": f"Errors of a {net.cell}'s forecasts, {net.ahead} steps ahead.",
            "autoencoder": f"A {net.cell} reads {net.window} rows and writes them again.",
        }[view.settings.model]

    def example(self, folder: Path, seed: int = 0) -> list[str]:
        """Write a sine with noise and a few spikes, which a column labels."""
        rng, t = np.random.default_rng(seed), np.arange(600)
        values = np.sin(t / 5) + 0.05 * rng.normal(size=600)
        labels = np.zeros(600, np.int64)
        for row in (150, 400, 550):
            values[row] += 4
            labels[row] = 1
        rows = [f"{step},{value:.4f},{label}" for step, value, label in zip(t, values, labels, strict=True)]
        (folder / "series.csv").write_text("\n".join(["ds,y,label", *rows]) + "\n", encoding="utf-8")
        sizes = ["--hidden", "8", "--window", "8", "--iterations", "30"]
        return [str(folder / "series.csv"), "--model", "forecast", *sizes]


def _online(series: list[Rows], channels: tuple[str, ...], settings: Any) -> OnlineRun:
    run = OnlineRun(settings, channels, settings.threshold.value)
    judged, detector = run.run(series)
    if settings.threshold.method in ("quantile", "tail"):
        settled = slice(settings.online.settle, None)
        usual = [row.scores[settled][~_labels(rows)[settled]] for row, rows in zip(judged, series, strict=True)]
        run.threshold = _threshold(np.concatenate(usual), settings)
        detector.threshold = run.threshold
        judged = run.judge(series)
    run.state = {"ids": [rows.id for rows in series], **detector.state()}
    run.judged = () if settings.data.test else tuple(judged)
    return run


def _windows(detector: NetDetector, data: AnomalyData) -> tuple[list[np.ndarray], ...]:
    """Scaled values of each series, the same with NaN in and right after anomalies, and which rows these are."""
    rows = training_rows(data.series, detector.settings.data.test)
    values = [detector.scaled(series) for series in rows]
    # The net still has an anomaly in its state when the rows after it come.
    unfit = [_after(_labels(series), detector.settings.net.window) for series in rows]
    normal = [np.where(mask[:, None], np.nan, scaled) for mask, scaled in zip(unfit, values, strict=True)]
    return values, normal, unfit


def _threshold(scores: np.ndarray, settings: Any) -> float:
    method = settings.threshold
    if method.method == "fixed":
        return method.value
    return (quantile_threshold if method.method == "quantile" else tail_threshold)(scores, method.rate)


def training_rows(series: list[Rows], test: int) -> list[Rows]:
    """Return each series without its last `test` rows. DataError where nothing is left of any."""
    cut = [_until(rows, max(len(rows.values) - test, 0)) for rows in series]
    if not any(len(rows.values) for rows in cut):
        raise DataError(message("anomaly", f"no series has more than the {test} rows reserved for testing"))
    return [rows for rows in cut if len(rows.values)]


def _read_windows(path: str) -> dict[str, list[list[str]]]:
    try:
        windows = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(message(path, f"could not be read: {error}")) from error
    fits = isinstance(windows, dict) and all(
        isinstance(pairs, list) and all(isinstance(pair, list) and len(pair) == 2 for pair in pairs)
        for pairs in windows.values()
    )
    if not fits:
        raise DataError(message(path, 'must hold {"id": [["first stamp", "last stamp"], ...]}'))
    return windows


def _scale(series: Rows) -> tuple[list[float], list[float]]:
    values = series.values[: max(1, int(_TRAIN * len(series.values)))]
    values = np.where(_labels(series)[: len(values), None], np.nan, values)
    values = values if not np.isnan(values).all(0).any() else series.values
    means, deviations = [], []
    for column in values.T:
        known = column[~np.isnan(column)]
        mean, deviation = (float(known.mean()), float(known.std())) if len(known) else (0.0, 0.0)
        means.append(mean)
        # A constant has no scale; what departs from it is measured in its own units.
        deviations.append(deviation if deviation > 1e-9 * max(1.0, abs(mean)) else 1.0)
    return means, deviations


def _labels(series: Rows) -> np.ndarray:
    return np.zeros(len(series.values), bool) if series.labels is None else series.labels


def _after(labels: np.ndarray, rows: int) -> np.ndarray:
    """Labels (T,), and so many rows after each."""
    since = np.arange(len(labels)) - np.maximum.accumulate(np.where(labels, np.arange(len(labels)), -(10**9)))
    return since <= rows


def _shortest(values: list[np.ndarray], steps: int) -> int:
    """Steps that a validation window can have: those of a training one, or all of the longest share."""
    return max(2, min(steps, max(int(_ERRORS * len(rows)) - int(_TRAIN * len(rows)) for rows in values)))


def _until(series: Rows, end: int) -> Rows:
    labels = None if series.labels is None else series.labels[:end]
    return series._replace(stamps=series.stamps[:end], values=series.values[:end], labels=labels)
