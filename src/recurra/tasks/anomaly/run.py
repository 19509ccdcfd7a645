"""Training and loading a detector in one line of Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from recurra.tasks.anomaly.detector import Detector
from recurra.tasks.anomaly.settings import AnomalySettings
from recurra.tasks.anomaly.table import Rows
from recurra.tasks.anomaly.task import Anomaly, AnomalyData
from recurra.tasks.load import load
from recurra.tasks.train import Outcome, fit, train

__all__ = ["fit_rows", "load", "train_run"]


def train_run(settings: AnomalySettings, folder: Path | str, **options: Any) -> Outcome:
    """Train into `folder` on the file of the settings; see `recurra.tasks.train.train`."""
    return train(Anomaly(), settings, folder, **options)


def fit_rows(series: list[Rows], channels: tuple[str, ...], settings: AnomalySettings, **options: Any) -> Detector:
    """Train in memory; see `recurra.tasks.train.fit`."""
    return fit(Anomaly(), settings, AnomalyData(series, channels), **options)
