"""Settings of a text model; what is written here is the recipe used when nothing else is asked for. Without torch."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from recurra.base.config import Settings
from recurra.base.option import Input, Option
from recurra.tasks.settings import TaskSettings
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

    files: Annotated[tuple[str, ...], Input()] = ()
    """Text files (UTF-8, or .gz of it), read in order as one text."""
    level: Annotated[Literal["char", "byte"], Option()] = "char"
    """Symbols are Unicode characters (char), or the bytes of the files as they are (byte)."""
    train: Annotated[float, Meta(gt=0, lt=1)] = 0.9
    """Share of the text, from its beginning, that is the training text."""
    test: Probability = 0.0
    """Share of the text, from its end, that is never used; between the two lies the validation text."""
    batch_size: Annotated[Positive, Option("batch")] = 32
    """Rows read side by side."""
    chunk: Annotated[Positive, Option()] = 100
    """Steps of a batch: as far back as the gradient goes. The state is carried on beyond."""
    reset_probability: Probability = 0.03
    """Probability that a row's state starts anew at a chunk: generation starts there."""
    evaluate_tokens: Count = 200_000
    """Symbols of the validation text that evaluations along the way read; 0: all. The last one always reads all."""
    baseline_order: Annotated[int, Meta(ge=0, le=12)] = 6
    """Order of the n-gram model measured on the same split; 0: none."""
    baseline_most_tokens: Count = 5_000_000
    """A longer training text gets no baseline: counting it would take minutes and gigabytes."""


class ModelSettings(Settings, frozen=True):
    """The network."""

    cell: Annotated[str, Option()] = "lstm"
    """The recurrent cell; recurra cells lists them."""
    hidden_size: Annotated[Positive, Option("hidden")] = 256
    """Units per layer."""
    num_layers: Annotated[Positive, Option("layers")] = 2
    """Recurrent layers."""
    embedding_size: Annotated[Count, Option("embedding")] = 64
    """Width of the learned table of symbols; 0: one-hot, the cell's input matrix is the table."""
    tied: bool = False
    """The output layer uses the embedding table."""
    input_dropout: Probability = 0.05
    """On the embedding of each symbol."""
    dropout: Annotated[Probability, Option()] = 0.3
    """On the output of every layer; like the input's with one mask for all steps of a row."""
    recurrent_dropout: Probability = 0.0
    """On the candidate that is written into the state."""
    weight_drop: Probability = 0.0
    """On the entries of the recurrent matrices, anew for every batch."""
    zoneout: Probability = 0.0
    """Probability that a unit keeps its state of the step before."""
    residual: bool = False
    """Add the input of each layer to its output."""
    learned_initial_state: bool = False
    """Learn the state that a text begins with."""

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
    """What the samples begin with."""
    length: Count = 300
    """In symbols."""
    temperature: NonNegative = 0.8
    """Divides the logits."""


class TextSettings(TaskSettings, frozen=True):
    """A model of text that writes: recurra train text FILE... --out runs/x."""

    task: Literal["text"] = "text"
    data: DataSettings = DataSettings()
    model: ModelSettings = ModelSettings()
    train: TrainSettings = TrainSettings()
    sample: SampleSettings = SampleSettings()
