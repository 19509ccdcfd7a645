"""The declaration of classification: the class of a whole series (UCR/UEA archive and the like)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Generator, Tensor, nn

from recurra.base.rng import Streams
from recurra.data.batch import Batch
from recurra.data.series.cases import read_cases
from recurra.data.series.series_set import SeriesSet
from recurra.tasks.classify import figures
from recurra.tasks.classify.classifier import Classifier
from recurra.tasks.classify.examples import write_examples
from recurra.tasks.classify.metrics import scores
from recurra.tasks.classify.network import EchoStateNet, Members, net_of
from recurra.tasks.classify.prepare import Preparation, labels_of, prepare, stratified
from recurra.tasks.classify.settings import ClassifySettings
from recurra.tasks.classify.stream import CaseStream
from recurra.tasks.task import Measures, Problem, Run, Task, View, train_members

__all__ = ["CaseData", "Classify"]

_BATCH = 256


class CaseData(NamedTuple):
    """Cases to learn from or to measure on, and test cases where there are any."""

    cases: SeriesSet
    test: SeriesSet | None = None


class Classify(Task):
    """See `ClassifySettings`."""

    settings = ClassifySettings
    page = figures
    prepared = Preparation
    prepared_file = "cases.json"
    metric, mode = "accuracy", "max"
    next_command = "recurra classify {run} FILE --out classes.csv"

    def read(self, settings: Any, prepared: Any = None, *, labelled: bool = True) -> CaseData:
        """Read the cases, and the test cases of a training; classes are checked before training begins."""
        classes = prepared.classes if prepared else ()
        cases = read_cases(settings.data, classes=classes, labelled=labelled)
        if not labelled:
            return CaseData(cases)
        labels_of(cases)
        test = read_cases(settings.data, settings.data.test, cases.label_names) if settings.data.test else None
        if test is not None:
            labels_of(test)
        return CaseData(cases, test)

    def prepare(self, settings: Any, data: Any, before: Any = None) -> Preparation:
        """Learn classes and scales from the training cases."""
        del before
        return prepare(data.cases.select(_split(settings, data)[0]), settings)

    def net(self, settings: Any, prepared: Any, generator: Generator | None, member: int = 0) -> nn.Module:
        """Make one member."""
        return net_of(settings.model, prepared, generator or Generator(), settings.seed + member)

    def ensemble(self, settings: Any, prepared: Any, nets: Sequence[Any]) -> Members:
        """Average the probabilities of the members."""
        del settings, prepared
        return Members(nets)

    def problem(self, settings: Any, prepared: Any, data: Any, net: nn.Module, streams: Streams) -> Problem:
        """Cross entropy, each class by its weight; the weights of least log loss on the validation cases are used."""
        training, validation = _split(settings, data)
        series = data.cases
        weights = torch.from_numpy(_case_weights(prepared, settings.balanced))

        def evaluate(model: nn.Module) -> dict[str, float]:
            total, hits = 0.0, 0
            for begin in range(0, len(validation), _BATCH):
                rows = validation[begin : begin + _BATCH]
                x, lengths = prepared.pack(series, rows)
                logits, _ = model(x, lengths=lengths)
                y = torch.from_numpy(labels_of(series)[rows])
                total += float(nn.functional.cross_entropy(logits, y, reduction="sum"))
                hits += int((logits.argmax(1) == y).sum())
            return {"loss": total / len(validation), "accuracy": hits / len(validation)}

        return Problem(
            model=net,
            objective=classification_loss(weights, settings.smoothing),
            stream=CaseStream(series, training, prepared, settings.batch, streams["data"]),
            evaluate=evaluate if len(validation) else None,
        )

    def train(self, run: Run, data: Any) -> Classifier:
        """Train the members in loops; an echo state network's readout is found in closed form."""
        if run.settings.model.name != "esn":
            return train_members(self, run, data)
        prepared = run.prepare(data)
        net: Any = self.network(run.settings, prepared)
        training, weights = _split(run.settings, data)[0], _case_weights(prepared, run.settings.balanced)
        for member in net.members:
            fit_readout(member, data.cases, training, prepared, weights)
        return self.predictor(run.settings, prepared, net, None)

    def predictor(self, settings: Any, prepared: Any, net: Any, arrays: Mapping[str, Any] | None) -> Classifier:
        """Make the classifier."""
        del arrays
        return Classifier(net, prepared, settings)

    def held_out(self, predictor: Any, data: Any) -> tuple[str, CaseData]:
        """Test cases where there are any, else the validation cases, which selected the weights."""
        if data.test is not None:
            return "test", CaseData(data.test)
        _, validation = _split(predictor.settings, data)
        if len(validation):
            return "validation", CaseData(data.cases.select(validation))
        return "training", data

    def measure(self, predictor: Any, data: Any, options: Any) -> Measures:
        """Accuracy, balanced accuracy, log loss, and precision, recall and F1 of each class."""
        del options
        probabilities = predictor.probabilities(data.cases)
        result = scores(labels_of(data.cases), probabilities)
        examples = figures.examples(predictor, data.cases, probabilities)
        return Measures(numbers=result.numbers(predictor.classes), details={"examples": examples}, scores=result)

    def facts(self, run: Run, predictor: Any, data: Any) -> dict[str, Any]:
        """Count the cases."""
        training, validation = _split(run.settings, data)
        ridges = [net.ridge for net in predictor.net.members if isinstance(net, EchoStateNet)]
        return {
            "cases": len(training),
            "validation_cases": len(validation),
            "all_cases": len(data.cases),
            "channels": len(data.cases.names),
            "ridge": ridges[-1] if ridges else None,
        }

    def cell(self, settings: Any) -> str | None:
        """Only recurrent models have one."""
        return settings.model.cell if settings.model.name in ("recurrent", "lstm_fcn") else None

    def example(self, folder: Path, seed: int = 0) -> list[str]:
        """Write ramps that rise or fall."""
        file, test = write_examples(folder, seed)
        return [str(file), "--test", str(test), "--hidden", "8", "--iterations", "40", "--rate", "0.01"]

    def lead(self, view: View) -> str:
        """Name model, cell and numbers of cases."""
        return figures.lead(view, self.cell(view.settings))


def classification_loss(weights: Tensor, smoothing: float) -> Callable[[Tensor, Batch], tuple[Tensor, int]]:
    """Return cross entropy, each case by the weight of its class; the weights' mean over the training cases is 1."""

    def objective(outputs: Tensor, batch: Batch) -> tuple[Tensor, int]:
        y = batch.y[:, 0]
        losses = nn.functional.cross_entropy(outputs, y, reduction="none", label_smoothing=smoothing)
        return (losses * weights.to(outputs)[y]).sum(), len(y)

    return objective


def fit_readout(
    net: EchoStateNet, series: SeriesSet, training: np.ndarray, prepared: Preparation, weights: np.ndarray
) -> None:
    """Fit the readout of an echo state network to the training cases."""
    labels = labels_of(series)[training]
    with torch.no_grad():
        features = [
            net.features(*prepared.pack(series, training[begin : begin + _BATCH]))
            for begin in range(0, len(training), _BATCH)
        ]
        net.fit(torch.cat(features), labels, weights[labels])


def _split(settings: Any, data: CaseData) -> tuple[np.ndarray, np.ndarray]:
    return stratified(labels_of(data.cases), settings.data.validation, settings.seed)


def _case_weights(prepared: Preparation, balanced: bool) -> np.ndarray:
    counts = np.array(prepared.counts, np.float64)
    present = counts > 0
    if not balanced:
        return present.astype(np.float64)
    return np.where(present, counts.sum() / (present.sum() * np.maximum(counts, 1)), 0.0)
