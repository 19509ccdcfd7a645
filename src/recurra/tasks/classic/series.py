"""Time series to be foretold: what the tasks on Mackey-Glass, NARMA, Lorenz and sines have in common.

The net reads the series one step at a time and says at each what comes `ahead` steps later. It learns from windows of
the first part, keeps the weights that are best on the second, and is judged on the third, read as one stream.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Generator, Tensor, nn

from recurra.base.errors import DataError, message
from recurra.base.rng import Streams
from recurra.data.batch import Batch
from recurra.tasks.classic.benchmark import Problem
from recurra.tasks.classic.model import SequenceModel, as_it_is, squared_error, squared_errors
from recurra.tasks.classic.settings import ClassicSettings, Positive, training
from recurra.tasks.classic.stream import Drawn
from recurra.training.config import Count, TrainConfig

__all__ = ["Parts", "SeriesSettings", "forecast", "nrmse", "split", "standardised"]


class SeriesSettings(ClassicSettings, frozen=True):
    """Of all tasks on time series."""

    hidden: Positive = 64
    batch: Positive = 16
    learned: Positive = 3000
    """Steps to learn from."""
    validated: Positive = 1000
    """Steps on which the best weights are chosen."""
    tested: Positive = 2000
    """Steps that are judged."""
    window: Positive = 300
    """Steps of a training sequence."""
    washout: Count = 100
    """First steps of each that count in no loss: the state must form first."""
    stop: bool = False
    train: TrainConfig = training(3000, 5e-3, evaluate_every=100, schedule="cosine")

    def __post_init__(self) -> None:
        """Raise ValueError where no step is left to learn from."""
        if self.washout >= self.window or self.window > self.learned:
            fact = f"washout < window <= learned is needed, got {self.washout}, {self.window}, {self.learned}"
            raise ValueError(fact)


class Parts(NamedTuple):
    """Inputs (T, F) and targets (T, O) of the three parts."""

    learned: tuple[Tensor, Tensor]
    validated: tuple[Tensor, Tensor]
    tested: tuple[Tensor, Tensor]


def standardised(values: np.ndarray, learned: int) -> np.ndarray:
    """Values (T, F) with mean 0 and deviation 1 over the first `learned` steps."""
    mean, deviation = values[:learned].mean(0), values[:learned].std(0)
    return (values - mean) / np.where(deviation > 0, deviation, 1.0)


def split(inputs: np.ndarray, targets: np.ndarray, settings: SeriesSettings) -> Parts:
    """The three parts, one after another; DataError where there are too few steps."""
    ends = np.cumsum([settings.learned, settings.validated, settings.tested])
    if len(inputs) < ends[-1] or len(inputs) != len(targets):
        fact = f"{ends[-1]} steps are needed, there are {len(inputs)} inputs and {len(targets)} targets"
        raise DataError(message("series.split", fact))
    x, y = (torch.from_numpy(np.ascontiguousarray(part)).float() for part in (inputs, targets))
    cuts = [(x[start:end], y[start:end]) for start, end in zip((0, *ends[:-1]), ends, strict=True)]
    return Parts(*cuts)


def nrmse(outputs: Tensor, targets: Tensor) -> float:
    """Root of the mean squared error over the deviation of the targets: 1 is what always saying the mean gets.

    >>> nrmse(torch.zeros(4, 1), torch.tensor([[1.0], [-1.0], [1.0], [-1.0]]))
    1.0
    """
    wanted = targets.double()
    return float(((outputs.double() - wanted).square().mean() / wanted.var(dim=0, correction=0).mean()).sqrt())


def forecast(settings: SeriesSettings, streams: Streams, parts: Parts) -> Problem:
    """The problem of foretelling the targets from the inputs."""
    x, y = parts.learned
    span = torch.arange(settings.window)

    def draw(generator: Generator) -> Batch:
        starts = torch.randint(0, len(x) - settings.window + 1, (settings.batch, 1), generator=generator)
        targets = y[starts + span].clone()
        targets[:, : settings.washout] = torch.nan
        return Batch(x[starts + span], targets)

    def run(model: nn.Module, part: tuple[Tensor, Tensor], before: tuple[Tensor, Tensor]) -> float:
        # The steps before a part set the state; they are not judged.
        warm = before[0][-settings.window :]
        outputs, _ = model(torch.cat([warm, part[0]]).unsqueeze(0))
        return nrmse(outputs[0, len(warm) :], part[1])

    def evaluate(model: nn.Module) -> dict[str, float]:
        return {
            "nrmse": run(model, parts.tested, parts.validated),
            "validation_nrmse": run(model, parts.validated, parts.learned),
        }

    rows = parts.tested[0][: settings.window * 4].unfold(0, settings.window, settings.window).transpose(1, 2)
    wanted = parts.tested[1][: settings.window * 4].unfold(0, settings.window, settings.window).transpose(1, 2)
    return Problem(
        model=SequenceModel(settings, x.shape[1], y.shape[1], streams["init"]),
        objective=squared_error,
        losses=squared_errors,
        shown=as_it_is,
        stream=Drawn(draw, streams["data"]),
        evaluate=evaluate,
        examples=Batch(rows.contiguous(), wanted.contiguous()),
    )
