"""A trained detector of anomalies as the diagnostics see it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recurra.base.errors import DataError, message
from recurra.diagnostics.subject import Subject
from recurra.tasks.anomaly.network import AutoEncoder, packed
from recurra.tasks.anomaly.table import read_rows

__all__ = ["anomaly_subject"]


def anomaly_subject(detector: Any, data: Sequence[Path | str] = (), rows: int = 8, steps: int = 512) -> Subject:
    """The net with the newest rows of the longest series: stretches for a forecast, windows for an auto-encoder.

    data: one table; without any, that of training. Raises DataError where it is shorter than a window.
    """
    if len(data) > 1:
        raise DataError(message("anomaly", f"one table is looked at, got {len(data)} files"))
    settings = detector.settings
    found, _ = read_rows(data[0] if data else settings.data.file, settings.data, detector.channels)
    one = max(found, key=lambda series: len(series.values))
    values, net = detector.scaled(one), detector.net
    if isinstance(net, AutoEncoder):
        steps = net.window
    else:
        rows = max(1, min(rows, len(values) // 64))
        steps = min(steps, len(values) // rows)
    rows = min(rows, len(values) // max(1, steps))
    if rows < 1 or steps < 2:
        fact = f"series {one.id!r} has {len(values)} rows, {max(2, steps)} are needed"
        raise DataError(message("anomaly", fact))
    windows = values[len(values) - rows * steps :].reshape(rows, steps, -1)
    aims = net.targets(windows).astype(np.float32)
    return Subject(
        name="anomaly",
        model=net,
        inputs=packed(windows),
        targets=torch.from_numpy(aims),
        losses=_losses,
        names=[f"{channel}" for channel in detector.channels] if aims.shape[-1] == len(detector.channels) else (),
        shown=0,
        lead=f"On the {rows * steps:,} newest rows of {one.id!r}",
    )


def _losses(outputs: Tensor, targets: Tensor) -> Tensor:
    """The mean squared error of a step's targets that are no NaN; 0 where none is."""
    there = ~torch.isnan(targets)
    squares = torch.where(there, outputs - torch.nan_to_num(targets), outputs.new_zeros(())).square()
    return squares.sum(-1) / there.sum(-1).clamp_min(1)
