"""A fitted classifier: cases in, probabilities of classes out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from recurra.data.series.series_set import SeriesSet
from recurra.tasks.classify.cases import cases_of, read_cases
from recurra.tasks.classify.metrics import Scores, scores
from recurra.tasks.classify.network import ClassifyNet
from recurra.tasks.classify.prepare import Preparation, labels_of
from recurra.tasks.classify.settings import ClassifySettings

if TYPE_CHECKING:
    from recurra.diagnostics.subject import Subject

__all__ = ["Classifier"]

_BATCH = 256


class Classifier:
    """A net, what was learnt of the cases before it, and the settings of both."""

    def __init__(self, net: ClassifyNet, preparation: Preparation, settings: ClassifySettings) -> None:
        self.net, self.preparation, self.settings = net.eval(), preparation, settings

    @property
    def classes(self) -> tuple[str, ...]:
        """In the order of the probabilities."""
        return self.preparation.classes

    def probabilities(self, cases: Any) -> np.ndarray:
        """(S, K) of a set, a file or frame, or arrays (see `cases_of`)."""
        series, found = self._series(cases, labelled=False), []
        with torch.no_grad():
            for begin in range(0, len(series), _BATCH):
                which = np.arange(begin, min(begin + _BATCH, len(series)))
                x, lengths = self.preparation.pack(series, which)
                found.append(self.net.probabilities(x, lengths).double().numpy())
        return np.concatenate(found)

    def predict(self, cases: Any) -> np.ndarray:
        """(S,) names of classes."""
        return np.array(self.classes, object)[self.probabilities(cases).argmax(1)]

    def relevance(self, series: SeriesSet, which: np.ndarray, classes: np.ndarray) -> list[np.ndarray] | None:
        """For some cases and a class of each: how much each step had to do with it (T,); None where nobody can say."""
        with torch.no_grad():
            x, lengths = self.preparation.pack(series, which)
            found = self.net.relevance(x, lengths, torch.from_numpy(np.asarray(classes, np.int64)))
        if found is None:
            return None
        return [row[: int(length)].double().numpy() for row, length in zip(found, lengths, strict=True)]

    def evaluate(self, cases: Any) -> Scores:
        """Against the classes that the cases bring. Raises DataError where there are none, or unknown ones."""
        series = self._series(cases, self.classes)
        return scores(labels_of(series), self.probabilities(series))

    def read(self, source: Any = None) -> SeriesSet:
        """The cases of a file or frame in the columns of training, with their classes; None: those of training."""
        return self._series(self.settings.data.file if source is None else source, self.classes)

    def subject(self, data: Sequence[Path | str] = (), *, rows: int = 8, steps: int = 512) -> Subject:
        """The net with some cases, for the diagnostics: see `classify_subject`."""
        from recurra.tasks.classify.subject import classify_subject

        return classify_subject(self, data, rows, steps)

    def _series(self, cases: Any, classes: tuple[str, ...] = (), labelled: bool = True) -> SeriesSet:
        if isinstance(cases, np.ndarray | list | tuple):
            return cases_of(cases, None)
        if isinstance(cases, Path):
            cases = str(cases)
        return read_cases(self.settings.data, cases, classes, labelled=labelled)
