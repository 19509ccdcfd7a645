"""A classifier as the diagnostics see it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import Tensor

from recurra.base.errors import ConfigError, DataError, message
from recurra.diagnostics.subject import Subject
from recurra.tasks.classify.network import ClassifyNet, LstmFcn, Members
from recurra.tasks.classify.prepare import labels_of

if TYPE_CHECKING:
    from recurra.tasks.classify.classifier import Classifier

__all__ = ["classify_subject"]


def classify_subject(
    classifier: Classifier, data: Sequence[Path | str] = (), rows: int = 8, steps: int = 512
) -> Subject:
    """The first member's net with the first `rows` cases of no more than `steps` steps, and their classes.

    data: one file of cases; without any, that of training. Raises ConfigError for a net whose recurrence does not read
    time steps, DataError where no case is short enough.
    """
    net = cast("ClassifyNet", classifier.net.members[0] if isinstance(classifier.net, Members) else classifier.net)
    name = classifier.settings.model.name
    if name in ("esn", "fcn") or (isinstance(net, LstmFcn) and net.length):
        fact = f"there is no layer that reads one time step after the other and was trained in model {name!r}"
        raise ConfigError(
            message("classify", fact, hint="--model recurrent has one, and lstm_fcn without its shuffle.")
        )
    if len(data) > 1:
        raise DataError(message("classify", f"one file of cases is looked at, got {len(data)}"))
    series = classifier.read(data[0] if data else None)
    which = np.flatnonzero(series.lengths <= steps)[:rows]
    if not len(which):
        fact = f"no case has at most {steps} steps, the shortest has {int(series.lengths.min())}"
        raise DataError(message("classify", fact, hint="--steps for more."))
    x, lengths = classifier.preparation.pack(series, which)
    return Subject(
        name="classifier",
        model=net,
        inputs=x,
        targets=torch.from_numpy(labels_of(series)[which].astype(np.int64)),
        losses=_losses,
        lengths=lengths,
        names=classifier.classes,
        lead=f"On {len(which)} cases, one answer each, one of {len(classifier.classes)} classes",
    )


def _losses(outputs: Tensor, targets: Tensor) -> Tensor:
    return torch.nn.functional.cross_entropy(outputs, targets, reduction="none").unsqueeze(1)
