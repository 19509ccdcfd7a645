"""Training a detector: a net on normal rows, its errors on others, a threshold on others again."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Generator, nn

from recurra.base.errors import DataError, message
from recurra.base.rng import Streams
from recurra.data.batch import Batch
from recurra.data.stream import EpochStream
from recurra.tasks.anomaly.detector import Detector, Judged, NetDetector, OnlineRun
from recurra.tasks.anomaly.network import ErrorNet, masked_squares, net_of, packed
from recurra.tasks.anomaly.settings import AnomalySettings
from recurra.tasks.anomaly.table import Rows
from recurra.tasks.anomaly.threshold import quantile_threshold, tail_threshold
from recurra.training.loop import Trainer
from recurra.training.progress import Progress
from recurra.training.report import Result

__all__ = ["Trained", "fit", "note", "seen_rows"]

_TRAIN, _ERRORS = 0.7, 0.85
"""Shares of a series where training ends, and where the rows that the errors are measured on end."""


class Trained(NamedTuple):
    """A detector and how it came to be."""

    detector: Detector
    result: Result | None
    judged: tuple[Judged, ...] = ()
    """Of the online detector: what it said of the rows it has seen."""


def seen_rows(series: list[Rows], test: int) -> list[Rows]:
    """Each series without its last `test` rows. DataError where nothing is left of any."""
    cut = [_until(one, max(len(one.values) - test, 0)) for one in series]
    if not any(len(one.values) for one in cut):
        raise DataError(message("anomaly", f"no series has more than the {test} rows kept for testing"))
    return [one for one in cut if len(one.values)]


def fit(
    series: list[Rows],
    channels: tuple[str, ...],
    settings: AnomalySettings,
    *,
    folder: Path | None = None,
    progress: Progress | None = None,
    resume: bool = False,
    resume_hint: str = "",
) -> Trained:
    """Learn from series; rows that are labelled as anomalies, and a window after them, are no targets.

    Raises DataError for series that are too short or hold no value, TrainingError where numbers run away.
    """
    if settings.threads:
        torch.set_num_threads(settings.threads)
    torch.set_flush_denormal(True)
    if all(np.isnan(one.values).all() for one in series):
        raise DataError(message("anomaly", f"none of the {len(series)} series holds a value"))
    if settings.model == "online":
        return _online(series, channels, settings)
    return _net(series, channels, settings, folder, progress, resume, resume_hint)


def _online(series: list[Rows], channels: tuple[str, ...], settings: AnomalySettings) -> Trained:
    run = OnlineRun(settings, channels, settings.threshold.value)
    judged, detector = run.run(series)
    if settings.threshold.method in ("quantile", "tail"):
        settled = [one.scores[settings.online.settle :] for one in judged]
        usual = [s[~_labelled(one)[settings.online.settle :]] for s, one in zip(settled, series, strict=True)]
        run.threshold = _threshold(np.concatenate(usual), settings)
        detector.threshold = run.threshold
        judged = run.judge(series)
    run.state = {"ids": [one.id for one in series], **detector.state()}
    return Trained(run, None, tuple(judged))


def _net(
    series: list[Rows],
    channels: tuple[str, ...],
    settings: AnomalySettings,
    folder: Path | None,
    progress: Progress | None,
    resume: bool,
    resume_hint: str,
) -> Trained:
    streams = Streams(settings.seed)
    torch.manual_seed(settings.seed)
    scales = {one.id: _scale(one) for one in series}
    net = net_of(settings, len(channels), streams["init"])
    detector = NetDetector(settings, channels, math.inf, net, scales)
    values = [detector.scaled(one) for one in series]
    # What follows an anomaly is odd too: the net still has it in mind.
    unfit = [_after(_labelled(one), settings.net.window) for one in series]
    normal = [np.where(mask[:, None], np.nan, one) for one, mask in zip(values, unfit, strict=True)]
    steps = settings.net.window * (4 if settings.model == "forecast" else 1)
    least = settings.net.window + (settings.net.ahead if settings.model == "forecast" else 0)
    longest = max(int(_TRAIN * len(one)) for one in normal)
    if longest < least:
        fact = f"the longest series has {longest} rows to train on, {least} are needed"
        hint = "more rows, a smaller net.window, or the model online, which needs no training."
        raise DataError(message("anomaly", fact, hint=hint))
    steps = min(steps, longest)
    train = _Windows(values, normal, (0.0, _TRAIN), steps, net, settings.batch, streams["data"])
    held = _Windows(values, normal, (_TRAIN, _ERRORS), min(steps, _shortest(normal, steps)), net, 256, None)
    result = _loop(net, train, held, settings, streams, folder, progress, resume, resume_hint)
    net.eval()
    if result.reason == "interrupted":
        return Trained(detector, result)
    errors = [
        np.where(mask[:, None, None], np.nan, net.errors_of(one)) for one, mask in zip(values, unfit, strict=True)
    ]
    cuts = [(int(_TRAIN * len(one)), int(_ERRORS * len(one))) for one in errors]
    net.fit_errors(np.concatenate([one[a:b].reshape(-1, net.errors) for one, (a, b) in zip(errors, cuts, strict=True)]))
    scores = [net.scores(one[b:]) for one, (_, b) in zip(errors, cuts, strict=True)]
    detector.threshold = _threshold(np.concatenate(scores), settings)
    return Trained(detector, result)


def _threshold(scores: np.ndarray, settings: AnomalySettings) -> float:
    chosen = settings.threshold
    if chosen.method == "fixed":
        return chosen.value
    if chosen.method == "quantile":
        return quantile_threshold(scores, chosen.rate)
    return tail_threshold(scores, chosen.rate)


class _Windows(EpochStream):
    """Sequences of `steps` rows within a part of each series, a quarter of that apart; targets are of normal rows."""

    def __init__(
        self,
        values: list[np.ndarray],
        normal: list[np.ndarray],
        part: tuple[float, float],
        steps: int,
        net: ErrorNet,
        batch: int,
        generator: Generator | None,
    ) -> None:
        super().__init__(generator)
        self.values, self.normal, self.steps, self.net, self.batch = values, normal, steps, net, batch
        self.shuffled = generator is not None
        stride = max(1, steps // 4)
        places = []
        for which, one in enumerate(values):
            first, last = (int(share * len(one)) for share in part)
            places += [(which, at) for at in range(first, last - steps + 1, stride)]
        self.places = np.array(places, np.int64).reshape(-1, 2)
        if not len(self.places):
            longest = max(len(one) for one in values)
            fact = (
                f"no series has {steps} rows within its part from {part[0]:g} to {part[1]:g}; the longest has {longest}"
            )
            raise DataError(message("anomaly", fact, hint="a smaller net.window, or more rows."))

    def __len__(self) -> int:
        return math.ceil(len(self.places) / self.batch)

    def _plan(self) -> np.ndarray:
        if not self.shuffled:
            return np.arange(len(self.places))
        return torch.randperm(len(self.places), generator=self._generator).numpy()

    def _batch(self, plan: np.ndarray, index: int) -> Batch:
        chosen = self.places[plan[index * self.batch : (index + 1) * self.batch]]
        block, wanted = (
            np.stack([part[which][at : at + self.steps] for which, at in chosen.tolist()])
            for part in (self.values, self.normal)
        )
        return Batch(packed(block), torch.from_numpy(self.net.targets(wanted).astype(np.float32)), first=True)


def _loop(
    net: ErrorNet,
    train: _Windows,
    held: _Windows,
    settings: AnomalySettings,
    streams: Streams,
    folder: Path | None,
    progress: Progress | None,
    resume: bool,
    resume_hint: str,
) -> Result:
    def evaluate(model: nn.Module) -> dict[str, float]:
        total, count = 0.0, 0
        for index in range(len(held)):
            batch = held._batch(held._plan(), index)
            with torch.no_grad():
                loss, seen = masked_squares(model(batch.x)[0], batch)
            total, count = total + float(loss), count + seen
        if not count:
            raise DataError(message("anomaly", "no validation row has a value to compare with"))
        return {"loss": total / count}

    trainer = Trainer(
        net,
        masked_squares,
        train,
        settings.train,
        evaluate=evaluate,
        folder=folder,
        streams=streams,
        progress=progress,
        resume_hint=resume_hint,
    )
    if resume and trainer.path is not None and trainer.path.exists():
        trainer.resume()
    elif folder is not None and folder.exists():
        # A run that was killed before its first checkpoint begins again.
        shutil.rmtree(folder)
    return trainer.train()


def _scale(one: Rows) -> tuple[list[float], list[float]]:
    part = one.values[: max(1, int(_TRAIN * len(one.values)))]
    part = np.where(_labelled(one)[: len(part), None], np.nan, part)
    part = part if not np.isnan(part).all(0).any() else one.values
    means, deviations = [], []
    for column in part.T:
        kept = column[~np.isnan(column)]
        mean, deviation = (float(kept.mean()), float(kept.std())) if len(kept) else (0.0, 0.0)
        means.append(mean)
        # A constant has no scale; what departs from it is measured in its own units.
        deviations.append(deviation if deviation > 1e-9 * max(1.0, abs(mean)) else 1.0)
    return means, deviations


def _labelled(one: Rows) -> np.ndarray:
    return np.zeros(len(one.values), bool) if one.labels is None else one.labels


def _after(labels: np.ndarray, rows: int) -> np.ndarray:
    """Labels (T,), and so many rows after each."""
    since = np.arange(len(labels)) - np.maximum.accumulate(np.where(labels, np.arange(len(labels)), -(10**9)))
    return since <= rows


def _shortest(values: list[np.ndarray], steps: int) -> int:
    """Steps that a validation window can have: those of a training one, or all of the longest part."""
    return max(2, min(steps, max(int(_ERRORS * len(one)) - int(_TRAIN * len(one)) for one in values)))


def _until(one: Rows, end: int) -> Rows:
    labels = None if one.labels is None else one.labels[:end]
    return one._replace(stamps=one.stamps[:end], values=one.values[:end], labels=labels)


def note(trained: Trained) -> dict[str, Any]:
    """The facts of a training for a run's notes."""
    result = trained.result
    facts: dict[str, Any] = {"threshold": trained.detector.threshold}
    if result is not None and isinstance(trained.detector, NetDetector):
        parameters = sum(parameter.numel() for parameter in trained.detector.net.parameters())
        facts |= {
            "parameters": parameters,
            "iterations": result.iteration,
            "reason": result.reason,
            "best": result.best,
        }
    return facts
