"""A fitted classifier: cases in, probabilities of classes out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recurra.base.errors import ConfigError, DataError, message
from recurra.data.series.cases import cases_of, read_cases
from recurra.data.series.series_set import SeriesSet
from recurra.diagnostics.subject import Subject
from recurra.tasks.capability import Class, NoOptions
from recurra.tasks.classify.live import ClassifyLive
from recurra.tasks.classify.metrics import Scores, scores
from recurra.tasks.classify.network import LstmFcn, Members
from recurra.tasks.classify.prepare import Preparation, labels_of
from recurra.tasks.classify.settings import ClassifySettings

__all__ = ["Classifier"]

_BATCH = 256


class Classifier:
    """A net, what was prepared of the training cases, and the settings of both."""

    def __init__(self, net: Members, prepared: Preparation, settings: ClassifySettings) -> None:
        self.net, self.prepared, self.settings = net.eval(), prepared, settings
        self.folder: Path | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        """In the order of the probabilities."""
        return self.prepared.classes

    def probabilities(self, cases: Any) -> np.ndarray:
        """Return (S, K) of a set, a file or frame, or arrays (see `cases_of`)."""
        series, batches = self._series(cases, labelled=False), []
        with torch.no_grad():
            for begin in range(0, len(series), _BATCH):
                rows = np.arange(begin, min(begin + _BATCH, len(series)))
                x, lengths = self.prepared.pack(series, rows)
                batches.append(self.net.probabilities(x, lengths).double().numpy())
        return np.concatenate(batches)

    def predict(self, cases: Any) -> np.ndarray:
        """Return (S,) names of classes."""
        return np.array(self.classes, object)[self.probabilities(cases).argmax(1)]

    def classifications(self, data: Any, options: NoOptions) -> Iterator[Class]:
        """Yield the class of each case."""
        del options
        for case, row in zip(data.cases.ids, self.probabilities(data.cases), strict=True):
            yield Class(case, self.classes[int(row.argmax())], dict(zip(self.classes, row.tolist(), strict=True)))

    def relevance(self, series: SeriesSet, rows: np.ndarray, classes: np.ndarray) -> list[np.ndarray] | None:
        """Return how relevant each step (T,) of some cases was to a class of each; None where the net cannot say."""
        with torch.no_grad():
            x, lengths = self.prepared.pack(series, rows)
            weights = self.net.relevance(x, lengths, torch.from_numpy(np.asarray(classes, np.int64)))
        if weights is None:
            return None
        return [row[: int(length)].double().numpy() for row, length in zip(weights, lengths, strict=True)]

    def evaluate(self, cases: Any) -> Scores:
        """Compare with the classes that the cases have. Raises DataError where there are none, or unknown ones."""
        series = self._series(cases, self.classes)
        return scores(labels_of(series), self.probabilities(series))

    def read(self, source: Any = None) -> SeriesSet:
        """Return the cases of a file or frame in the columns of training, with classes; None: those of training."""
        return self._series(self.settings.data.file if source is None else source, self.classes)

    def live(self, *, every: int = 1) -> ClassifyLive:
        """Return a live classifier; ConfigError where the net needs the complete sequence."""
        return ClassifyLive(self.net, self.prepared, self.settings, every=every)

    def subject(self, data: Sequence[Path | str] = (), *, rows: int = 8, steps: int = 512) -> Subject:
        """Return the first member's net with the first `rows` cases of at most `steps` steps, for the diagnostics.

        data: one file of cases; without any, that of training. A net without recurrence (fcn), or with one that reads
        channels (lstm_fcn), is inspected from its inputs. Raises ConfigError for an echo state network, DataError where
        no case is short enough.
        """
        if self.settings.model.name == "esn":
            fact = "the reservoir of model 'esn' was not trained, and passes no gradient to its inputs"
            raise ConfigError(message("classify", fact, hint="recurrent, lstm_fcn and fcn can be inspected."))
        if len(data) > 1:
            raise DataError(message("classify", f"one file of cases is inspected, got {len(data)}"))
        series = self.read(data[0] if data else None)
        short = np.flatnonzero(series.lengths <= steps)[:rows]
        if not len(short):
            fact = f"no case has at most {steps} steps, the shortest has {int(series.lengths.min())}"
            raise DataError(message("classify", fact, hint="--steps for more."))
        x, lengths = self.prepared.pack(series, short)
        net = self.net.members[0]
        return Subject(
            name="classifier",
            model=net,
            inputs=x,
            targets=torch.from_numpy(labels_of(series)[short].astype(np.int64)),
            losses=_losses,
            lengths=lengths,
            names=self.classes,
            by_step=not (isinstance(net, LstmFcn) and net.length),
            lead=f"On {len(short)} cases, one answer each, one of {len(self.classes)} classes",
        )

    def _series(self, cases: Any, classes: tuple[str, ...] = (), labelled: bool = True) -> SeriesSet:
        if isinstance(cases, np.ndarray | list | tuple):
            return cases_of(cases, None)
        source = str(cases) if isinstance(cases, Path) else cases
        return read_cases(self.settings.data, source, classes, labelled=labelled)


def _losses(outputs: Tensor, targets: Tensor) -> Tensor:
    return torch.nn.functional.cross_entropy(outputs, targets, reduction="none").unsqueeze(1)
