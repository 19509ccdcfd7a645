"""Handwritten digits pixel by pixel: one number a step, and at the end, which digit was it?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import torch
from msgspec import Meta
from torch import Generator, Tensor, nn

from recurra.base.rng import Streams, stream
from recurra.data.batch import Batch
from recurra.data.sets import mnist, small_digits
from recurra.tasks.classic.benchmark import Benchmark, Problem
from recurra.tasks.classic.model import SequenceModel, cross_entropies, cross_entropy, probabilities
from recurra.tasks.classic.settings import ClassicSettings, Positive, training
from recurra.tasks.classic.stream import Rows
from recurra.training.config import Count, TrainConfig

__all__ = ["PERMUTED_DIGITS", "PIXEL_DIGITS"]


class _DigitSettings(ClassicSettings, frozen=True):
    mnist: str = ""
    """Folder of MNIST's idx files (28 x 28 pixels); unset: scikit-learn's digits of 8 x 8."""
    first: Count = 0
    """Learn from the first so many images only; 0: all."""
    held_out: Annotated[float, Meta(gt=0, lt=1)] = 0.1
    """Share of the training images, its last, on which the best weights are chosen."""
    hidden: Positive = 64
    batch: Positive = 32
    stop: bool = False
    train: TrainConfig = training(2500, 5e-3, evaluate_every=100, schedule="cosine")


class PixelSettings(_DigitSettings, frozen=True):
    """Of pixels in reading order."""

    task: Literal["pixel_digits"] = "pixel_digits"


class PermutedSettings(_DigitSettings, frozen=True):
    """Of pixels in one random order."""

    task: Literal["permuted_digits"] = "permuted_digits"
    permutation: Count = 0
    """Which order: the seed it is drawn with."""


def _model(settings: _DigitSettings, generator: Generator | None) -> nn.Module:
    return SequenceModel(settings, 1, 10, generator, last=True)


def _build(settings: PixelSettings | PermutedSettings, streams: Streams) -> Problem:
    (x, labels), (x_test, labels_test) = (_read(settings, part) for part in ("train", "test"))
    if isinstance(settings, PermutedSettings):
        order = torch.randperm(x.shape[1], generator=stream(settings.permutation, "pixel order"))
        x, x_test = x[:, order], x_test[:, order]
    if settings.first:
        x, labels = x[: settings.first], labels[: settings.first]
    held_out = max(1, int(len(x) * settings.held_out))

    def evaluate(model: nn.Module) -> dict[str, float]:
        right, _ = _judge(model, x_test, labels_test)
        validated, loss = _judge(model, x[-held_out:], labels[-held_out:])
        return {"percent": right, "validation_percent": validated, "validation_loss": loss}

    return Problem(
        model=_model(settings, streams["init"]),
        objective=cross_entropy,
        losses=cross_entropies,
        shown=probabilities,
        stream=Rows(x[:-held_out], labels[:-held_out], settings.batch, streams["data"]),
        evaluate=evaluate,
        examples=Batch(x_test[:16], labels_test[:16]),
        inputs=("pixel",),
        outputs="0123456789",
    )


def _read(settings: _DigitSettings, part: Literal["train", "test"]) -> tuple[Tensor, Tensor]:
    images, labels = mnist.read(Path(settings.mnist), part) if settings.mnist else small_digits.read(part)
    return images.flatten(1, 2), labels


def _judge(model: nn.Module, x: Tensor, labels: Tensor) -> tuple[float, float]:
    """Percent right, and nats per image."""
    right, nats = 0, 0.0
    for some, wanted in zip(x.split(500), labels.split(500), strict=True):
        logits, _ = model(some)
        right += int((logits.argmax(-1) == wanted).sum())
        nats += float(cross_entropy(logits, Batch(some, wanted))[0])
    return 100 * right / len(x), nats / len(x)


PIXEL_DIGITS = Benchmark(
    name="pixel_digits",
    title="handwritten digits, pixel by pixel in reading order",
    settings=PixelSettings,
    model=_model,
    build=_build,
    metric="percent",
    mode="max",
    monitor="validation_loss",
    solved=lambda found, settings: found["percent"] >= (97 if settings.mnist else 90),
    rule="90 % of the 360 test digits of 8 x 8 pixels right (MNIST: 97 %, the IRNN's figure)",
    baseline=lambda _: 10.0,
    baseline_name="guessing",
    paper="MNIST: LSTM 98.9, iRNN 97.0, tanh RNN 35.0 % (Cooijmans et al. 2017)",
    source="Le, Jaitly and Hinton 2015; 8 x 8: Alpaydin and Kaynak 1998, no published figure pixel by pixel",
)

PERMUTED_DIGITS = Benchmark(
    name="permuted_digits",
    title="handwritten digits, pixel by pixel in one random order",
    settings=PermutedSettings,
    model=_model,
    build=_build,
    metric="percent",
    mode="max",
    monitor="validation_loss",
    solved=lambda found, settings: found["percent"] >= (90 if settings.mnist else 85),
    rule="85 % of the 360 test digits of 8 x 8 pixels right (MNIST: 90 %, the LSTM's figure)",
    baseline=lambda _: 10.0,
    baseline_name="guessing",
    paper="MNIST: LSTM 90.2, iRNN 82.0 (Cooijmans et al. 2017); orthogonal nets 96 to 97 % (projUNN table)",
    source="Le, Jaitly and Hinton 2015; Arjovsky et al. 2016",
)
