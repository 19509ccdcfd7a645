"""Syllables: a Jordan net that speaks them from a plan, and a net that foretells letters (Elman's ba, dii, guuu)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Generator, nn

from recurra.base.rng import Streams, stream
from recurra.data.batch import Batch
from recurra.data.sets import syllables
from recurra.tasks.classic.benchmark import Benchmark, Problem
from recurra.tasks.classic.model import (
    SequenceModel,
    cross_entropies,
    cross_entropy,
    probabilities,
    set_loss,
    set_losses,
)
from recurra.tasks.classic.settings import ClassicSettings, Positive, training
from recurra.tasks.classic.stream import Drawn
from recurra.training.config import TrainConfig

__all__ = ["LETTERS", "SYLLABLES"]


class SyllableSettings(ClassicSettings, frozen=True):
    """Of syllables from a plan."""

    task: Literal["syllables"] = "syllables"
    cell: str = "jordan"
    syllables: tuple[str, ...] = syllables.SYLLABLES
    """What the plans stand for."""
    hidden: Positive = 16
    train: TrainConfig = training(5000, 1e-2, evaluate_every=50)


class LetterSettings(ClassicSettings, frozen=True):
    """Of letters whose vowels can be foretold."""

    task: Literal["letters"] = "letters"
    cell: str = "elman"
    hidden: Positive = 20
    consonants: Positive = 20
    """Per training sequence."""
    batch: Positive = 8
    train: TrainConfig = training(5000, 1e-2, evaluate_every=50)


def _spoken_model(settings: SyllableSettings, generator: Generator | None) -> nn.Module:
    return SequenceModel(settings, len(settings.syllables), len(syllables.LETTERS), generator)


def _spoken(settings: SyllableSettings, streams: Streams) -> Problem:
    everything = syllables.spoken(settings.syllables)

    def evaluate(model: nn.Module) -> dict[str, float]:
        logits, _ = model(everything.x)
        right = logits.argmax(-1) == everything.y
        total, count = cross_entropy(logits, everything)
        return {
            "right": float(right.all(1).float().mean()),
            "letters": float(right.float().mean()),
            "loss": float(total) / count,
        }

    return Problem(
        model=_spoken_model(settings, streams["init"]),
        objective=cross_entropy,
        losses=cross_entropies,
        shown=probabilities,
        stream=Drawn(lambda _: everything, streams["data"]),
        evaluate=evaluate,
        examples=everything,
        inputs=settings.syllables,
        outputs=syllables.LETTERS,
    )


def _letter_model(settings: LetterSettings, generator: Generator | None) -> nn.Module:
    return SequenceModel(settings, 6, 6, generator)


def _letters(settings: LetterSettings, streams: Streams) -> Problem:
    tested, texts = syllables.letters(8, 200, stream(0, "letters test"))
    following = "".join(text[1:] for text in texts)
    vowel = torch.tensor([letter in "aiu" for letter in following])

    def draw(generator: Generator) -> Batch:
        return syllables.letters(settings.batch, settings.consonants, generator)[0]

    def evaluate(model: nn.Module) -> dict[str, float]:
        logits, _ = model(tested.x)
        said = syllables.nearest_letter(torch.sigmoid(logits).flatten(0, 1))
        right = torch.tensor([one == other for one, other in zip(said, following, strict=True)])
        # The first feature alone: that a consonant comes can be known, and it is.
        kind = ((logits[..., 0] > 0) == (tested.y[..., 0] > 0.5)).flatten()
        return {
            "vowels": float(right[vowel].float().mean()),
            "consonants": float(right[~vowel].float().mean()),
            "kind": float(kind.float().mean()),
        }

    return Problem(
        model=_letter_model(settings, streams["init"]),
        objective=set_loss,
        losses=set_losses,
        stream=Drawn(draw, streams["data"]),
        evaluate=evaluate,
        examples=syllables.letters(8, 10, stream(1, "letters test"))[0],
    )


SYLLABLES = Benchmark(
    name="syllables",
    title="syllables spoken letter by letter from a plan that stays the same",
    settings=SyllableSettings,
    model=_spoken_model,
    build=_spoken,
    metric="right",
    mode="max",
    solved=lambda found, _: found["right"] == 1.0,
    rule="every letter of every syllable, and the stop",
    baseline=lambda _: 0.0,
    baseline_name="a net without memory",
    paper="a net whose output is fed back speaks sequences from plans (no percentage is given)",
    source="Jordan 1986",
)

LETTERS = Benchmark(
    name="letters",
    title="letters of ba, dii, guuu in random order: the vowels can be foretold",
    settings=LetterSettings,
    model=_letter_model,
    build=_letters,
    metric="vowels",
    mode="max",
    solved=lambda found, _: found["vowels"] == 1.0 and found["kind"] == 1.0,
    rule="every vowel, and at each step whether a consonant comes (which one cannot be known)",
    baseline=lambda _: None,
    paper="the error of an Elman net is low at vowels and high at consonants, low again in the feature 'consonant'",
    source="Elman 1990",
)
