"""Training and loading a classifier in one line of Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from recurra.data.series.series_set import SeriesSet
from recurra.tasks.classify.classifier import Classifier
from recurra.tasks.classify.settings import ClassifySettings
from recurra.tasks.classify.task import CaseData, Classify
from recurra.tasks.load import load
from recurra.tasks.train import Outcome, fit, train

__all__ = ["fit_cases", "load", "train_run"]


def train_run(
    settings: ClassifySettings,
    folder: Path | str,
    *,
    cases: SeriesSet | None = None,
    test: SeriesSet | None = None,
    **options: Any,
) -> Outcome:
    """Train into `folder` on the files of the settings, or on cases in memory; see `recurra.tasks.train.train`."""
    return train(Classify(), settings, folder, data=CaseData(cases, test) if cases is not None else None, **options)


def fit_cases(cases: SeriesSet, settings: ClassifySettings, **options: Any) -> Classifier:
    """Train in memory; see `recurra.tasks.train.fit`."""
    return fit(Classify(), settings, CaseData(cases), **options)
