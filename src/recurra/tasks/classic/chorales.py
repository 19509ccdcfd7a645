"""Bach chorales: the next frame of 88 keys from those before, as in Greff et al. 2017."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from torch import Generator, Tensor, nn

from recurra.base.errors import DataError, message
from recurra.base.rng import Streams
from recurra.data.buckets import BucketStream, padded
from recurra.data.sets import piano_rolls
from recurra.layers import Recurrent
from recurra.tasks.classic.benchmark import Benchmark, Problem
from recurra.tasks.classic.model import gate_starts, set_loss, set_losses
from recurra.tasks.classic.settings import ClassicSettings, Positive, training
from recurra.training.config import AverageConfig, StoppingConfig, TrainConfig

__all__ = ["CHORALES", "Keys"]


class ChoraleSettings(ClassicSettings, frozen=True):
    """Of the chorales."""

    task: Literal["chorales"] = "chorales"
    data: str = ""
    """JSB_Chorales.mat, or another of the four sets of piano rolls."""
    hidden: Positive = 300
    dropout: Annotated[float, Meta(ge=0, lt=1)] = 0.5
    """Of the outputs; half of it of the frames."""
    batch: Positive = 8
    stop: bool = False
    # 29 batches an epoch, 40 epochs.
    train: TrainConfig = msgspec.structs.replace(
        training(1160, 1e-2, evaluate_every=29, schedule="cosine", optim="adamw"),
        average=AverageConfig(kind="ema", decay=0.99),
        stopping=StoppingConfig(patience=15),
    )


class Keys(nn.Module):
    """Frames (B, T, 88) -> logits of the next frame (B, T, 88)."""

    def __init__(self, settings: ChoraleSettings, generator: Generator | None = None) -> None:
        super().__init__()
        self.dropout = settings.dropout
        self.recurrent = Recurrent(
            settings.cell,
            piano_rolls.KEYS,
            settings.hidden,
            settings.layers,
            initializers=gate_starts(settings),
            generator=generator,
        )
        self.output = nn.Linear(self.recurrent.output_width, piano_rolls.KEYS)
        # As rare as keys are: the first updates need not learn that most of them are silent.
        nn.init.constant_(self.output.bias, -3.0)
        nn.init.normal_(self.output.weight, std=settings.hidden**-0.5, generator=generator)

    def forward(
        self, x: Tensor, state: Any = None, lengths: Tensor | None = None, resets: Tensor | None = None
    ) -> tuple[Tensor, Any]:
        """Dropout on frames and outputs."""
        x = nn.functional.dropout(x, self.dropout / 2, self.training)
        y, state = self.recurrent(x, state, lengths=lengths, resets=resets)
        return self.output(nn.functional.dropout(y, self.dropout, self.training)), state

    def step(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Logits (B, 88) after one more frame x (B, 88); no dropout."""
        y, state = self.recurrent.step(x, state)
        return self.output(y), state


def _build(settings: ChoraleSettings, streams: Streams) -> Problem:
    if not settings.data:
        hint = "--set data=JSB_Chorales.mat (Boulanger-Lewandowski et al. 2012)."
        raise DataError(message("task chorales", "no file of piano rolls was named", hint=hint))
    rolls = piano_rolls.read(settings.data)
    parts = {"validation": padded(piano_rolls.next_frame(rolls.validation))}
    parts["test"] = padded(piano_rolls.next_frame(rolls.test))

    def evaluate(model: nn.Module) -> dict[str, float]:
        found = {}
        for name, batch in parts.items():
            total, frames = set_loss(model(batch.x, lengths=batch.lengths)[0], batch)
            found[name] = float(total) / frames
        return found

    return Problem(
        model=Keys(settings, streams["init"]),
        objective=set_loss,
        losses=set_losses,
        stream=BucketStream(piano_rolls.next_frame(rolls.train), settings.batch, generator=streams["data"]),
        evaluate=evaluate,
        examples=padded(piano_rolls.next_frame(rolls.test[:8])),
    )


CHORALES = Benchmark(
    name="chorales",
    title="Bach chorales: the next chord",
    settings=ChoraleSettings,
    model=Keys,
    build=_build,
    metric="test",
    mode="min",
    monitor="validation",
    solved=lambda found, _: found["test"] <= 8.45,
    rule="at most 8.45 nats a frame on the test pieces, the LSTM of Bai et al.",
    baseline=lambda _: 11.09,
    baseline_name="how often each key sounds (chorales)",
    paper="nats a frame: LSTM 8.45, GRU 8.43, TCN 8.10 (Bai et al. 2018); best of Greff et al. 2017: 8.38",
    source="Boulanger-Lewandowski et al. 2012; Greff et al. 2017",
)
