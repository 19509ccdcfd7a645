"""A detector of events as the diagnostics see it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from recurra.base.errors import DataError, message
from recurra.diagnostics.subject import Subject
from recurra.tasks.events.truth import targets

__all__ = ["events_subject"]


def events_subject(detector: Any, data: Sequence[Path | str] = (), rows: int = 8, steps: int = 512) -> Subject:
    """The net with the last frames of the longest stream, as up to `rows` rows of `steps`, and what they are.

    data: a table, and where its events do not stand in a column the table of those; without any, the training file.
    Raises DataError where there are no events to compare with, or too few frames.
    """
    if len(data) > 2:
        raise DataError(message("events", f"a table and its events are looked at, got {len(data)} files"))
    settings = detector.settings
    given = [*data, None, None][:2] if data else [settings.data.file, settings.data.events or None]
    series, truth = detector.read(*given)
    if truth is None:
        raise DataError(message("events", "there are no events to compare with", hint="name the table of events too."))
    place = int(np.argmax(series.lengths))
    preparation, model = detector.preparation, settings.model
    frames = torch.from_numpy(preparation.frames(series[place].values))
    aims = torch.from_numpy(
        targets(
            truth,
            place,
            len(series[place].values),
            preparation.frame,
            preparation.widen,
            preparation.delay,
            model.overlap,
        )
    )[: len(frames)]
    rows = max(1, min(rows, len(frames) // 64))
    steps = min(steps, len(frames) // rows)
    if steps < 2:
        raise DataError(message("events", f"{len(frames)} frames are too few to look at"))
    last = slice(len(frames) - rows * steps, len(frames))
    names = detector.classes if model.overlap else ("background", *detector.classes)
    return Subject(
        name="events",
        model=detector.net,
        inputs=frames[last].reshape(rows, steps, -1),
        targets=aims[last].reshape(rows, steps, *aims.shape[1:]),
        losses=_losses,
        names=names,
        unit="frame" if model.frame > 1 else "step",
        lead=f"On {rows * steps:,} frames at the end of {series.ids[place]!r}, {model.frame} steps each",
    )


def _losses(outputs: Tensor, targets: Tensor) -> Tensor:
    if targets.is_floating_point():
        due = ~torch.isnan(targets)
        losses = nn.functional.binary_cross_entropy_with_logits(outputs, torch.nan_to_num(targets), reduction="none")
        return torch.where(due, losses, losses.new_zeros(())).sum(-1)
    return nn.functional.cross_entropy(outputs.transpose(1, 2), targets, reduction="none", ignore_index=-1)
