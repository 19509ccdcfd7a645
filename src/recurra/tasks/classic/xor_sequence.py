"""XOR in time: every third bit is the exclusive or of the two before."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Generator, nn
from torch.nn import functional

from recurra.base.rng import Streams, stream
from recurra.data.sets import xor_sequence
from recurra.tasks.classic.benchmark import Benchmark, Problem
from recurra.tasks.classic.model import SequenceModel, set_loss, set_losses
from recurra.tasks.classic.settings import ClassicSettings, Positive, training
from recurra.tasks.classic.stream import Drawn
from recurra.training.config import TrainConfig

__all__ = ["XOR_SEQUENCE"]


class XorSettings(ClassicSettings, frozen=True):
    """Of XOR in time."""

    task: Literal["xor_sequence"] = "xor_sequence"
    cell: str = "elman"
    hidden: Positive = 8
    triples: Positive = 30
    """Per training sequence."""
    tested: Positive = 400
    """Per test sequence: 1,200 predictions are the paper's."""
    batch: Positive = 8
    train: TrainConfig = training(5000, 1e-2, evaluate_every=50)


def _model(settings: XorSettings, generator: Generator | None) -> nn.Module:
    return SequenceModel(settings, 1, 1, generator)


def _build(settings: XorSettings, streams: Streams) -> Problem:
    tested = xor_sequence.batch(20, settings.tested, stream(0, "xor test"))

    def evaluate(model: nn.Module) -> dict[str, float]:
        logits, _ = model(tested.x)
        right = ((logits > 0) == (tested.y > 0.5)).float()[..., 0]
        known = right[:, 1::3]
        bits = functional.binary_cross_entropy_with_logits(logits, tested.y, reduction="none")[..., 0] / math.log(2)
        others = torch.cat([right[:, 0::3], right[:, 2::3]], 1)
        return {
            "right": float(known.mean()),
            "right_elsewhere": float(others.mean()),
            "bits": float(bits.mean()),
            "bits_xor": float(bits[:, 1::3].mean()),
        }

    return Problem(
        model=_model(settings, streams["init"]),
        objective=set_loss,
        losses=set_losses,
        stream=Drawn(
            lambda generator: xor_sequence.batch(settings.batch, settings.triples, generator), streams["data"]
        ),
        evaluate=evaluate,
        examples=xor_sequence.batch(8, 20, stream(1, "xor test")),
    )


XOR_SEQUENCE = Benchmark(
    name="xor_sequence",
    title="XOR in time: every third bit is the exclusive or of the two before",
    settings=XorSettings,
    model=_model,
    build=_build,
    metric="right",
    mode="max",
    solved=lambda found, _: found["right"] == 1.0,
    rule="every third bit of the test sequences is right (the others cannot be known)",
    baseline=lambda _: 0.5,
    baseline_name="guessing",
    paper="the error of an Elman net dips at every third bit (600 passes over 3,000 bits; no percentage is given)",
    source="Elman 1990",
)
