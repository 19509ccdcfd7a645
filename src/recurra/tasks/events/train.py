"""From streams, their events and settings to a fitted detector."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from recurra.base.rng import Streams
from recurra.data.batch import Batch
from recurra.data.series.series_set import SeriesSet
from recurra.tasks.events.choose import Stretch, choose
from recurra.tasks.events.decode import Rule
from recurra.tasks.events.detector import Detector
from recurra.tasks.events.network import EventNet
from recurra.tasks.events.prepare import Preparation, prepare, split
from recurra.tasks.events.settings import EventSettings
from recurra.tasks.events.stream import EventStream
from recurra.tasks.events.truth import Truth, targets
from recurra.training.loop import Trainer
from recurra.training.progress import Progress
from recurra.training.report import Result

__all__ = ["Trained", "event_loss", "fit", "stretches_of"]

_PIECE = 4096
# What is read before a validation part, so that the state is that of a stream.
_WARM = 512


@dataclass(frozen=True)
class Trained:
    """A fitted detector and how that went."""

    detector: Detector
    learnt: np.ndarray
    """(S,) row where the training part of each series ends."""
    stops: np.ndarray
    """(S,) row where its validation part ends."""
    result: Result
    f1: float
    """Of the rule, on the validation part."""

    @property
    def interrupted(self) -> bool:
        """Whether training was."""
        return self.result.reason == "interrupted"

    def summary(self) -> dict[str, Any]:
        """The facts for a run's notes."""
        return {
            "parameters": sum(parameter.numel() for parameter in self.detector.net.parameters()),
            "iterations": self.result.iteration,
            "reason": self.result.reason,
            "best": self.result.best,
            "validation_f1": self.f1,
        }


def fit(
    series: SeriesSet,
    truth: Truth,
    settings: EventSettings,
    *,
    folder: Path | None = None,
    progress: Progress | None = None,
    resume: bool = False,
    resume_hint: str = "",
) -> Trained:
    """Fit by `settings`; the weights are those of the least loss on the validation part, where there is one.

    Raises DataError for streams that cannot be used, TrainingError where numbers run away.
    """
    if settings.threads:
        torch.set_num_threads(settings.threads)
    torch.set_flush_denormal(True)
    preparation = prepare(series, truth, settings)
    learnt, stops, _ = split(series, settings)
    streams = Streams(settings.seed)
    torch.manual_seed(settings.seed)
    net = EventNet(preparation.width, len(preparation.classes), settings.model, streams["init"])
    parts = [_part(series, truth, place, preparation, settings) for place in range(len(series))]
    cuts = [int(rows) // preparation.frame for rows in learnt]
    ends = [int(rows) // preparation.frame for rows in stops]
    used = [place for place, cut in enumerate(cuts) if cut]
    frames = np.concatenate([parts[place][0][: cuts[place]] for place in used])
    aims = np.concatenate([parts[place][1][: cuts[place]] for place in used])
    begins = np.zeros(len(frames), bool)
    begins[np.cumsum([0, *(cuts[place] for place in used[:-1])])] = True
    weights = _weights(aims, settings)
    objective = event_loss(weights)
    held = [place for place in range(len(series)) if ends[place] > cuts[place]]

    def evaluate(model: nn.Module) -> dict[str, float]:
        total, count = 0.0, 0
        for place in held:
            start, stop = max(0, cuts[place] - _WARM), ends[place]
            x, y = (torch.from_numpy(part[start:stop]) for part in parts[place])
            logits, _ = _pieces(model, x)
            fresh = slice(cuts[place] - start, None)
            loss, seen = objective(logits[None, fresh], Batch(x[None, fresh], y[None, fresh]))
            total, count = total + float(loss), count + seen
        return {"loss": total / max(count, 1)}

    stream = EventStream(frames, aims, begins, settings.batch, settings.chunk, streams["data"])
    trainer = Trainer(
        net,
        objective,
        stream,
        settings.train,
        evaluate=evaluate if held else None,
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
    result = trainer.train()
    detector = Detector(net, preparation, Rule(0.5, 0.25), settings)
    if result.reason == "interrupted":
        return Trained(detector, learnt, stops, result, 0.0)
    first = learnt if held else np.zeros_like(learnt)
    last = stops if held else learnt
    chosen = stretches_of(detector, series, truth, first, last)
    if not any(((t.start >= a) & (t.start < b)).any() for _, t, a, b in chosen):
        # No event in the validation part says anything about the rule; those that were learnt have to.
        chosen = stretches_of(detector, series, truth, np.zeros_like(learnt), learnt)
    detector.rule, f1 = choose(detector, chosen, settings.decode)
    return Trained(detector, learnt, stops, result, f1)


def stretches_of(
    detector: Detector, series: SeriesSet, truth: Truth, first: np.ndarray, last: np.ndarray
) -> list[Stretch]:
    """Rows first[s] to last[s] of each series, read from its beginning on."""
    found = []
    for place, one in enumerate(series):
        shares = detector.run(one.values[: int(last[place])], one.id)
        found.append((shares, truth.of(place, 0, int(last[place])), int(first[place]), int(last[place])))
    return found


def event_loss(weights: Tensor) -> Callable[[Tensor, Batch], tuple[Tensor, int]]:
    """Cross entropy by frame, of classes (weights (1 + K,)), or of each class by itself (weights (2, K)).

    Frames for which no answer is due (-1 or NaN) count for nothing.
    """

    def objective(outputs: Tensor, batch: Batch) -> tuple[Tensor, int]:
        y = batch.y
        if y.is_floating_point():
            seen = ~torch.isnan(y)
            aims = torch.where(seen, y, y.new_zeros(()))
            losses = nn.functional.binary_cross_entropy_with_logits(outputs, aims, reduction="none")
            scaled = losses * torch.where(aims > 0.5, weights[1].to(outputs), weights[0].to(outputs))
            return torch.where(seen, scaled, scaled.new_zeros(())).sum(), int(seen[..., 0].sum())
        flat, aims = outputs.flatten(0, 1), y.flatten()
        loss = nn.functional.cross_entropy(flat, aims, weights.to(outputs), ignore_index=-1, reduction="sum")
        return loss, int((aims >= 0).sum())

    return objective


def _part(
    series: SeriesSet, truth: Truth, place: int, preparation: Preparation, settings: EventSettings
) -> tuple[np.ndarray, np.ndarray]:
    """Frames and targets of one series."""
    one = series[place]
    aims = targets(
        truth,
        place,
        len(one.values),
        preparation.frame,
        preparation.widen,
        preparation.delay,
        settings.model.overlap,
    )
    return preparation.frames(one.values, one.id), aims


def _weights(aims: np.ndarray, settings: EventSettings) -> Tensor:
    """Of each class by its share of the frames; their mean over the frames is 1."""
    if settings.model.overlap:
        share = np.nanmean(aims, 0)
        shares = np.stack([1 - share, share])
    else:
        counts = np.bincount(aims[aims >= 0], minlength=int(aims.max()) + 1).astype(np.float64)
        shares = counts / counts.sum()
    weights = np.maximum(shares, 1e-6) ** -settings.balance
    return torch.from_numpy(weights / (weights * shares).sum(0, keepdims=True))


def _pieces(model: nn.Module, x: Tensor) -> tuple[Tensor, Any]:
    """A long stream (F, W) -> logits (F, ...), in pieces of bounded memory."""
    state, found = None, []
    for begin in range(0, len(x), _PIECE):
        logits, state = model(x[None, begin : begin + _PIECE], state)
        found.append(logits[0])
    return torch.cat(found), state
