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

    data: one file of cases; without any, that of training. A net without recurrence (fcn), or with one
    that reads channels (lstm_fcn), is looked at from its inputs. Raises ConfigError for an echo state network,
    DataError where no case is short enough.
    """
    net = cast("ClassifyNet", classifier.net.members[0] if isinstance(classifier.net, Members) else classifier.net)
    name = classifier.settings.model.name
    if name == "esn":
        fact = "the reservoir of model 'esn' was not trained, and passes no gradient to its inputs"
        raise ConfigError(message("classify", fact, hint="recurrent, lstm_fcn and fcn can be looked into."))
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
        by_step=not (isinstance(net, LstmFcn) and net.length),
        lead=f"On {len(which)} cases, one answer each, one of {len(classifier.classes)} classes",
    )


def _losses(outputs: Tensor, targets: Tensor) -> Tensor:
    return torch.nn.functional.cross_entropy(outputs, targets, reduction="none").unsqueeze(1)
