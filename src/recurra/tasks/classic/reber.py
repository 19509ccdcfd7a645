"""The Reber grammar, and the embedded one that needs a memory: predict which symbols may come next."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Generator, Tensor, nn

from recurra.base.rng import Streams
from recurra.data.buckets import padded
from recurra.data.sets import reber
from recurra.layers.sequence import valid_mask
from recurra.tasks.classic.benchmark import Benchmark, Problem
from recurra.tasks.classic.model import SequenceModel, cross_entropies, cross_entropy, probabilities
from recurra.tasks.classic.settings import ClassicSettings, Positive, training
from recurra.tasks.classic.stream import Drawn, Picked
from recurra.training.config import TrainConfig

__all__ = ["EMBEDDED_REBER", "REBER"]

_SIZE = len(reber.SYMBOLS)


class ReberSettings(ClassicSettings, frozen=True):
    """Of the plain grammar."""

    task: Literal["reber"] = "reber"
    hidden: Positive = 4
    strings: Positive = 256
    """In the training set, and as many others in the test set."""
    endless: bool = False
    """Every training string is drawn anew, instead of from the training set."""
    train: TrainConfig = training(20_000, 2e-2, evaluate_every=100, clip=5.0)


class EmbeddedSettings(ClassicSettings, frozen=True):
    """Of the embedded grammar."""

    task: Literal["embedded_reber"] = "embedded_reber"
    hidden: Positive = 12
    strings: Positive = 256
    endless: bool = False
    train: TrainConfig = training(40_000, 1e-2, evaluate_every=100, clip=5.0)


def _model(settings: ReberSettings | EmbeddedSettings, generator: Generator | None) -> nn.Module:
    return SequenceModel(settings, _SIZE, _SIZE, generator)


def _build(settings: ReberSettings | EmbeddedSettings, streams: Streams) -> Problem:
    embedded = settings.task == "embedded_reber"
    # As in 1997 each trial has sets of its own.
    learned = reber.strings(settings.strings, embedded, streams["sets"])
    tested = reber.strings(settings.strings, embedded, streams["sets"])
    if settings.endless:
        stream = Drawn(
            lambda generator: padded([reber.pair(one) for one in reber.strings(settings.batch, embedded, generator)]),
            streams["data"],
        )
    else:
        stream = Picked([reber.pair(text) for text in learned], settings.batch, streams["data"])
    both = padded([reber.pair(text) for text in learned + tested])
    chances = nn.utils.rnn.pad_sequence([reber.chances(text, embedded) for text in learned + tested], batch_first=True)
    valid = valid_mask(both.lengths, both.x.shape[1]) if both.lengths is not None else torch.ones(both.y.shape).bool()

    def evaluate(model: nn.Module) -> dict[str, float]:
        logits, _ = model(both.x, lengths=both.lengths)
        right = (legal_first(logits, chances) | ~valid).all(1)
        bits = excess_bits(logits, chances, valid)
        half = settings.strings
        return {
            "right": float(right.float().mean()),
            "test_right": float(right[half:].float().mean()),
            "bits": reber.ENTROPY_BITS[embedded] + float(bits[half:].mean()),
        }

    examples = padded([reber.pair(text) for text in tested[:32]])
    return Problem(
        model=_model(settings, streams["init"]),
        objective=cross_entropy,
        losses=cross_entropies,
        shown=probabilities,
        stream=stream,
        evaluate=evaluate,
        examples=examples,
        inputs=reber.SYMBOLS,
        outputs=reber.SYMBOLS,
    )


def legal_first(logits: Tensor, chances: Tensor) -> Tensor:
    """(B, T) bool: every symbol that may come next has a higher output than every one that may not.

    The criterion of 1997: "the output units corresponding to the possible next symbols are the most active ones".
    """
    legal = chances > 0
    lowest = logits.masked_fill(~legal, math.inf).amin(-1)
    highest = logits.masked_fill(legal, -math.inf).amax(-1)
    return lowest > highest


def excess_bits(logits: Tensor, chances: Tensor, valid: Tensor) -> Tensor:
    """Bits (B,) that the model spends on a string beyond the grammar's own: the sum over steps of KL(true || model).

    The expected cross-entropy of a string is its entropy plus this, without the noise of which strings were drawn.
    """
    given = torch.log_softmax(logits.double(), -1)
    wanted = chances.double()
    each = torch.where(wanted > 0, wanted * (wanted.clamp(min=1e-30).log() - given), 0.0).sum(-1)
    return each.masked_fill(~valid, 0.0).sum(1) / math.log(2)


_RULE = "every symbol of all training and test strings: the legal next symbols have the highest outputs"
_SOURCE = "Reber 1967; Cleeremans et al. 1989; Hochreiter and Schmidhuber 1997, experiment 1"

REBER = Benchmark(
    name="reber",
    title="Reber grammar: which symbols may come next",
    settings=ReberSettings,
    model=_model,
    build=_build,
    metric="right",
    mode="max",
    solved=lambda found, _: found["right"] == 1.0,
    rule=_RULE,
    paper="Elman nets learn it (Cleeremans et al. 1989: 60,000 strings)",
    source=_SOURCE,
)

EMBEDDED_REBER = Benchmark(
    name="embedded_reber",
    title="embedded Reber grammar: the second symbol must be remembered until the last but one",
    settings=EmbeddedSettings,
    model=_model,
    build=_build,
    metric="right",
    mode="max",
    solved=lambda found, _: found["right"] == 1.0,
    rule=_RULE,
    paper="LSTM 8,440 strings, 100 % of trials; Elman net (one-step gradient) 0 %; RTRL 25,000 strings, some",
    source=_SOURCE,
)
