"""Training and loading a text model in one line of Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from recurra.data.corpus import Corpus
from recurra.tasks.load import load
from recurra.tasks.text.settings import TextSettings
from recurra.tasks.text.task import Text, TextData
from recurra.tasks.train import Outcome, train

__all__ = ["load", "train_run"]


def train_run(settings: TextSettings, folder: Path | str, *, corpus: Corpus | None = None, **options: Any) -> Outcome:
    """Train into `folder` on the files of the settings, or on a text in memory; see `recurra.tasks.train.train`."""
    data = TextData.of(corpus, settings) if corpus is not None else None
    return train(Text(), settings, folder, data=data, **options)
