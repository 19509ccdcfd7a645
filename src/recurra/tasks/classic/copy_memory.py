"""Copy memory: ten symbols, a long wait, and the same ten wanted back."""

from __future__ import annotations

from typing import Literal

from torch import Generator, nn

from recurra.base.rng import Streams, stream
from recurra.data.sets import copy_memory
from recurra.tasks.classic.benchmark import Benchmark, Problem
from recurra.tasks.classic.graded import GradedSettings, graded
from recurra.tasks.classic.model import SequenceModel, cross_entropies, cross_entropy, probabilities
from recurra.tasks.classic.settings import Positive, training
from recurra.training.config import NonNegative, TrainConfig

__all__ = ["COPY_MEMORY"]

TESTED = 500
_NAMES = (*map(str, range(copy_memory.KINDS)), "blank", "signal")


class CopySettings(GradedSettings, frozen=True):
    """Of the copy memory problem."""

    task: Literal["copy_memory"] = "copy_memory"
    wait: Positive = 100
    """T: steps from the last symbol to the first one asked back."""
    hidden: Positive = 128
    chrono: NonNegative = 120.0
    until: NonNegative = 0.02
    batch: Positive = 32
    # Adam's second moment over ten updates: with a thousand, learning takes two to three times as long.
    train: TrainConfig = training(15_000, 5e-3, evaluate_every=500, schedule="cosine", beta2=0.9)


def _model(settings: CopySettings, generator: Generator | None) -> nn.Module:
    return SequenceModel(settings, copy_memory.KINDS + 2, copy_memory.KINDS + 2, generator)


def _build(settings: CopySettings, streams: Streams) -> Problem:
    tested = copy_memory.batch(TESTED, settings.wait, stream(0, "copy memory test"))

    def evaluate(model: nn.Module) -> dict[str, float]:
        outputs, _ = model(tested.x)
        total, count = cross_entropy(outputs, tested)
        back = slice(-copy_memory.LENGTH, None)
        recalled = outputs[:, back, : copy_memory.KINDS].argmax(-1) == tested.y[:, back]
        return {"loss": float(total) / count, "recalled": float(recalled.float().mean())}

    return Problem(
        model=_model(settings, streams["init"]),
        objective=cross_entropy,
        losses=cross_entropies,
        shown=probabilities,
        stream=graded(
            settings,
            streams,
            lambda wait, generator: copy_memory.batch(settings.batch, wait, generator),
            1,
            settings.wait,
        ),
        evaluate=evaluate,
        examples=tested.map(lambda tensor: tensor[:16]),
        inputs=_NAMES,
        outputs=_NAMES,
    )


COPY_MEMORY = Benchmark(
    name="copy_memory",
    title="copy memory: ten symbols wanted back after a long wait",
    settings=CopySettings,
    model=_model,
    build=_build,
    metric="loss",
    mode="min",
    solved=lambda found, _: found["recalled"] >= 0.99,
    rule=f"99 % of the symbols of {TESTED} test sequences are right",
    baseline=lambda settings: copy_memory.baseline(settings.wait),
    baseline_name="10 ln 8 / (T + 20): blanks, then guesses",
    paper="T = 1000: LSTM .0204, the baseline, GRU .0197, TCN 3.5e-5 (Bai et al. 2018); T = 500: uRNN yes, LSTM no",
    source="Hochreiter and Schmidhuber 1997; Arjovsky et al. 2016",
)
