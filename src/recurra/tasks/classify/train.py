"""From cases and settings to a fitted classifier."""

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
from recurra.tasks.classify.classifier import Classifier
from recurra.tasks.classify.network import ClassifyNet, EchoStateNet, Members, net_of
from recurra.tasks.classify.prepare import Preparation, labels_of, prepare, stratified
from recurra.tasks.classify.settings import ClassifySettings
from recurra.tasks.classify.stream import CaseStream
from recurra.training.loop import Trainer
from recurra.training.progress import Progress
from recurra.training.report import Result

__all__ = ["Trained", "fit"]

_BATCH = 256


@dataclass(frozen=True)
class Trained:
    """A fitted classifier and how that went."""

    classifier: Classifier
    learnt: np.ndarray
    """Places of the cases that were trained on."""
    held: np.ndarray
    """Places of the cases that chose the weights."""
    results: tuple[Result, ...]
    """Of each member that was trained in the loop."""
    ridge: float | None = None
    interrupted: bool = False

    def summary(self) -> dict[str, Any]:
        """The facts for a run's notes."""
        net = self.classifier.net
        return {
            "parameters": sum(parameter.numel() for parameter in net.parameters()),
            "cases": len(self.learnt),
            "held": len(self.held),
            "ridge": self.ridge,
            "iterations": [result.iteration for result in self.results],
            "reasons": [result.reason for result in self.results],
            "best": [result.best for result in self.results],
        }


def fit(
    series: SeriesSet,
    settings: ClassifySettings,
    *,
    folder: Path | None = None,
    progress: Progress | None = None,
    resume: bool = False,
    resume_hint: str = "",
) -> Trained:
    """Fit by `settings` to cases with classes.

    With a validation share the weights are those that are best there (log loss), else the last ones. folder: where the
    loop of each member keeps its checkpoints and lines (members/1 ...). Raises DataError for cases that cannot be used,
    TrainingError where numbers run away.
    """
    if settings.threads:
        torch.set_num_threads(settings.threads)
    torch.set_flush_denormal(True)
    learnt, held = stratified(labels_of(series), settings.data.validation, settings.seed)
    preparation = prepare(series.select(learnt), settings)
    weights = _case_weights(preparation, settings.balanced)
    nets, results, ridge = [], [], None
    for member in range(settings.members):
        streams = Streams(settings.seed + member)
        torch.manual_seed(settings.seed + member)
        net = net_of(settings.model, preparation, streams["init"], settings.seed + member)
        if isinstance(net, EchoStateNet):
            _fit_readout(net, series, learnt, preparation, weights)
            ridge = net.ridge
        else:
            place = folder / "members" / str(member + 1) if folder else None
            parts = series, learnt, held, preparation
            result = _train(net, parts, settings, weights, streams, place, progress, resume, resume_hint)
            results.append(result)
            if result.reason == "interrupted":
                return Trained(Classifier(net, preparation, settings), learnt, held, tuple(results), None, True)
        nets.append(net.eval())
    classifier = Classifier(Members(nets), preparation, settings)
    return Trained(classifier, learnt, held, tuple(results), ridge)


def classification_loss(weights: Tensor, smoothing: float) -> Callable[[Tensor, Batch], tuple[Tensor, int]]:
    """Cross entropy, each case by the weight of its class; the weights' mean over the training cases is 1."""

    def objective(outputs: Tensor, batch: Batch) -> tuple[Tensor, int]:
        y = batch.y[:, 0]
        losses = nn.functional.cross_entropy(outputs, y, reduction="none", label_smoothing=smoothing)
        return (losses * weights.to(outputs)[y]).sum(), len(y)

    return objective


def _case_weights(preparation: Preparation, balanced: bool) -> np.ndarray:
    counts = np.array(preparation.counts, np.float64)
    there = counts > 0
    if not balanced:
        return there.astype(np.float64)
    return np.where(there, counts.sum() / (there.sum() * np.maximum(counts, 1)), 0.0)


def _fit_readout(
    net: EchoStateNet, series: SeriesSet, learnt: np.ndarray, preparation: Preparation, weights: np.ndarray
) -> None:
    labels = labels_of(series)[learnt]
    features = []
    with torch.no_grad():
        for begin in range(0, len(learnt), _BATCH):
            features.append(net.features(*preparation.pack(series, learnt[begin : begin + _BATCH])))
        net.fit(torch.cat(features), labels, weights[labels])


def _train(
    net: ClassifyNet,
    parts: tuple[SeriesSet, np.ndarray, np.ndarray, Preparation],
    settings: ClassifySettings,
    weights: np.ndarray,
    streams: Streams,
    folder: Path | None,
    progress: Progress | None,
    resume: bool,
    resume_hint: str,
) -> Result:
    series, learnt, held, preparation = parts
    stream = CaseStream(series, learnt, preparation, settings.batch, streams["data"])
    objective = classification_loss(torch.from_numpy(weights), settings.smoothing)

    def evaluate(model: nn.Module) -> dict[str, float]:
        total, hits = 0.0, 0
        for begin in range(0, len(held), _BATCH):
            which = held[begin : begin + _BATCH]
            x, lengths = preparation.pack(series, which)
            said, _ = model(x, lengths=lengths)
            y = torch.from_numpy(labels_of(series)[which])
            total += float(nn.functional.cross_entropy(said, y, reduction="sum"))
            hits += int((said.argmax(1) == y).sum())
        return {"loss": total / len(held), "accuracy": hits / len(held)}

    trainer = Trainer(
        net,
        objective,
        stream,
        settings.train,
        evaluate=evaluate if len(held) else None,
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
