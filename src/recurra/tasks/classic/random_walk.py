"""A random walk, as of a share's price: what cannot be predicted, and how one notices."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Literal

from msgspec import Meta
from torch import Generator, Tensor, nn

from recurra.base.rng import Streams
from recurra.data.batch import Batch
from recurra.data.sets import random_walk
from recurra.tasks.classic.benchmark import Benchmark, Problem
from recurra.tasks.classic.model import SequenceModel
from recurra.tasks.classic.series import SeriesSettings, forecast, split, standardised
from recurra.tasks.classic.settings import Positive, training
from recurra.training.config import Count, TrainConfig

__all__ = ["RANDOM_WALK"]

# Below this chance of a mere accident the forecast counts as better than none.
_LEVEL = 0.001


class WalkSettings(SeriesSettings, frozen=True):
    """Of the random walk."""

    task: Literal["random_walk"] = "random_walk"
    memory: Annotated[float, Meta(gt=-1, lt=1)] = 0.0
    """Correlation of a return with the one before; 0 is a random walk, others can be predicted in part."""
    walk: Count = 0
    """Which of the walks: the seed of the series."""
    hidden: Positive = 16
    window: Positive = 60
    washout: Count = 10
    train: TrainConfig = training(1500, 5e-3, evaluate_every=50)


def _model(settings: WalkSettings, generator: Generator | None) -> nn.Module:
    return SequenceModel(settings, 1, 1, generator)


def _build(settings: WalkSettings, streams: Streams) -> Problem:
    total = settings.learned + settings.validated + settings.tested
    found = random_walk.returns(total + 1, memory=settings.memory, seed=settings.walk)
    values = standardised(found, settings.learned)
    parts = split(values[:-1], values[1:], settings)
    problem = forecast(settings, streams, parts)

    def run(model: nn.Module, part: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        return model(part[0].unsqueeze(0))[0][0, :, 0], part[1][:, 0]

    def evaluate(model: nn.Module) -> dict[str, float]:
        tested = run(model, parts.tested)
        return {
            "skill": skill(*tested),
            "chance": chance(*tested),
            "training_skill": skill(*run(model, parts.learned)),
            "validation_skill": skill(*run(model, parts.validated)),
        }

    examples = Batch(parts.tested[0][:240].view(4, 60, 1), parts.tested[1][:240].view(4, 60, 1))
    return replace(problem, evaluate=evaluate, examples=examples, inputs=("return",), outputs=("next return",))


def skill(outputs: Tensor, targets: Tensor) -> float:
    """1 - mean squared error over that of "no change": 0 says nothing was predicted, 1 everything."""
    return 1 - float((outputs - targets).double().square().mean() / targets.double().square().mean())


def chance(outputs: Tensor, targets: Tensor) -> float:
    """The probability of forecasting so well by accident, one-sided.

    Where returns y cannot be predicted the products of forecast and return f y have mean 0 whatever f is, and are
    uncorrelated; their mean over its standard error is then close to normal. The test of Clark and West 2007 against
    the forecast "no change".
    """
    products = (outputs * targets).double()
    deviation = float(products.std())
    if not deviation:
        return 1.0
    return 0.5 * math.erfc(float(products.mean()) / deviation * math.sqrt(len(products) / 2))


def _verdict(found: Mapping[str, float], settings: WalkSettings) -> str:
    if found["chance"] < _LEVEL:
        best = f"; {settings.memory**2:.1%} can be" if settings.memory else ""
        return f"{found['skill']:.1%} of the variance of the next return is predicted{best}"
    return (
        f"these returns can not be predicted: on unseen data the net does {abs(found['skill']):.1%} "
        f"{'better' if found['skill'] > 0 else 'worse'} than saying that the price stays as it is, which "
        f"an accident explains (p = {found['chance']:.2f}); on its training data it seemed "
        f"{found['training_skill']:.1%} better"
    )


RANDOM_WALK = Benchmark(
    name="random_walk",
    title="a random walk, as of a share's price: what can not be predicted",
    settings=WalkSettings,
    model=_model,
    build=_build,
    metric="skill",
    mode="max",
    monitor="validation_skill",
    monitor_mode="max",
    solved=lambda found, _: found["chance"] < _LEVEL,
    rule=f"better than the naive forecast with p < {_LEVEL} (for the walk itself it must not be)",
    baseline=lambda _: 0.0,
    baseline_name="the price stays as it is",
    verdict=_verdict,
    paper="no forecast of a random walk is better than its last value",
    source="Bachelier 1900; Meese and Rogoff 1983 (exchange rates)",
)
