"""Settings of a text model; what is written here is the recipe used when nothing else is asked for. Without torch."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from recurra.base.config import Settings
from recurra.training.config import (
    AverageConfig,
    Count,
    NonNegative,
    OptimConfig,
    Positive,
    Rate,
    ScheduleConfig,
    TrainConfig,
)

__all__ = ["DataSettings", "ModelSettings", "SampleSettings", "TextSettings", "TrainSettings"]

Probability = Annotated[float, Meta(ge=0, lt=1)]


class DataSettings(Settings, frozen=True):
    """Which text, and how it is cut."""

    files: tuple[str, ...] = ()
    """Text files, read in order as one text."""
    level: Literal["char", "byte"] = "char"
    """Tokens are Unicode characters, or the bytes of the files as they are."""
    train: Annotated[float, Meta(gt=0, lt=1)] = 0.9
    """Share of the text, from its beginning, that is learned from."""
    test: Probability = 0.0
    """Share of the text, from its end, that nothing looks at; between the two lies the validation text."""
    batch_size: Positive = 32
    """Rows read side by side."""
    chunk: Positive = 100
    """Steps per batch: as far back as the gradient goes. The state is carried on beyond."""
    reset_probability: Probability = 0.03
    """Chance that a row's state starts anew at a chunk: generation starts there, so it must stay a known place."""
    evaluate_tokens: Count = 200_000
    """Symbols of the validation text that evaluations along the way read; 0: all. The last one always reads all."""
    baseline_order: Annotated[int, Meta(ge=0, le=12)] = 6
    """Order of the n-gram model measured on the same split; 0: none."""
    baseline_most_tokens: Count = 5_000_000
    """A longer training text gets no baseline: counting it would take minutes and gigabytes."""


class ModelSettings(Settings, frozen=True):
    """The network."""

    cell: str = "lstm"
    hidden_size: Positive = 256
    num_layers: Positive = 2
    embedding_size: Count = 64
    """Width of the learned table of symbols; 0: one-hot, the cell's input matrix is the table."""
    tied: bool = False
    """The output layer uses the embedding table."""
    input_dropout: Probability = 0.05
    dropout: Probability = 0.3
    """On the output of every layer; like the input's with one mask for all steps of a row."""
    recurrent_dropout: Probability = 0.0
    weight_drop: Probability = 0.0
    """On the entries of the recurrent matrices, anew for every batch."""
    zoneout: Probability = 0.0
    residual: bool = False
    learned_initial_state: bool = False

    def __post_init__(self) -> None:
        """Raise ValueError where there is no table to tie to."""
        if self.tied and not self.embedding_size:
            raise ValueError("tied needs an embedding table: set embedding_size, or tied = false")


class Optim(OptimConfig, frozen=True):
    """AdamW, decay on matrices."""

    learning_rate: Rate = 4e-3
    weight_decay: NonNegative = 0.02


class Schedule(ScheduleConfig, frozen=True):
    """Warm-up, then a cosine to 1 %."""

    name: Literal["constant", "step", "exponential", "cosine", "linear", "plateau"] = "cosine"
    warmup: Count = 100


class Average(AverageConfig, frozen=True):
    """The result is an exponential average of the weights."""

    kind: Literal["none", "ema", "uniform", "triggered"] = "ema"
    decay: Annotated[float, Meta(ge=0, lt=1)] = 0.999


class TrainSettings(TrainConfig, frozen=True):
    """How it is trained."""

    epochs: Count = 15
    optim: Optim = Optim()
    schedule: Schedule = Schedule()
    average: Average = Average()
    sample_at: tuple[Positive, ...] = (100, 300, 700, 2000, 5000, 10000)
    sample_every: Count = 10000


class SampleSettings(Settings, frozen=True):
    """What is written along the way."""

    prompt: str = "\n"
    length: Count = 300
    """In symbols."""
    temperature: NonNegative = 0.8


class TextSettings(Settings, frozen=True):
    """Everything that decides a run of `recurra train text`, beside the text itself."""

    task: Literal["text"] = "text"
    seed: Count = 0
    threads: Count = 0
    """CPU threads; 0: as torch finds best. Another number may change the last bits of a result."""
    data: DataSettings = DataSettings()
    model: ModelSettings = ModelSettings()
    train: TrainSettings = TrainSettings()
    sample: SampleSettings = SampleSettings()
