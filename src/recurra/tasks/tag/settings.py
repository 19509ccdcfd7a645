"""The settings of sequence labelling: data, model, training."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from recurra.base.config import Settings
from recurra.base.option import Input, Option
from recurra.tasks.settings import TaskSettings
from recurra.training.config import OptimConfig, ScheduleConfig, StoppingConfig, TrainConfig

__all__ = ["Architecture", "DataSettings", "TagSettings"]

Positive = Annotated[int, Meta(ge=1)]
Count = Annotated[int, Meta(ge=0)]
Share = Annotated[float, Meta(ge=0, lt=1)]


class DataSettings(Settings, frozen=True):
    """Which sequences, and which of their columns."""

    file: Annotated[str, Input()] = ""
    """Sequences in columns, one token a line, a blank line between sequences."""
    dev: Annotated[str, Input("dev", evaluates=False)] = ""
    """Validation sequences, which select the weights; without a file a share of the training sequences."""
    test: Annotated[str, Input("test", evaluates=False)] = ""
    """Test sequences, measured when training has ended."""
    token: Annotated[str, Option()] = "0"
    """Column of the token: a number from 0, a negative one from the end, or a name."""
    label: Annotated[str, Option()] = "-1"
    """Column of the label."""
    header: bool = False
    """The first line names the columns."""
    separators: tuple[str, ...] = ()
    """Lines that end a sequence as a blank one does."""
    validation: Annotated[Share, Option()] = 0.1
    """Share of the training sequences that selects the weights where no --dev file does; 0: the last weights."""
    minimum: Positive = 1
    """Occurrences from which on a word has an embedding of its own."""
    fold: bool = True
    """Words are looked up in lower case; characters keep their case."""


class Architecture(Settings, frozen=True):
    """The net."""

    cell: Annotated[str, Option()] = "lstm"
    """Recurrent cell; recurra cells lists them."""
    hidden: Annotated[Positive, Option()] = 128
    """Units per layer and direction."""
    layers: Annotated[Positive, Option()] = 1
    """Recurrent layers."""
    bidirectional: bool = True
    """Read each sequence in both directions."""
    embedding: Annotated[Positive, Option()] = 100
    """Width of the word embedding."""
    characters: Annotated[Count, Option()] = 30
    """Width of the character embedding, and units per direction of the net that reads a word's characters; 0: none."""
    dropout: Annotated[Share, Option()] = 0.5
    """On the embeddings and on the outputs of each layer, one mask for all steps."""
    unknown: Share = 0.3
    """Share of the words with a single occurrence that training reads as unknown."""
    crf: Annotated[bool, Option()] = True
    """A linear-chain CRF judges the labels of a sequence together."""


class TagSettings(TaskSettings, frozen=True):
    """A tagger of sequences: recurra train tag train.txt --test test.txt --out runs/x.

    The files have a token a line, in columns between tabs or blanks (--token, --label), and a blank line between
    sequences: the files of the CoNLL shared tasks, CoNLL-U, or symbols that are no words. Labels of BIO, IOB1 or BIOES
    are measured as spans too.
    """

    task: Literal["tag"] = "tag"
    members: Annotated[Positive, Option()] = 1
    """Nets of as many seeds, whose scores are averaged."""
    batch: Annotated[Positive, Option()] = 32
    """Sequences in a batch."""
    data: DataSettings = DataSettings()
    model: Architecture = Architecture()
    train: TrainConfig = TrainConfig(
        epochs=20,
        optim=OptimConfig(name="adamw", learning_rate=4e-3, beta2=0.999, weight_decay=0.01),
        schedule=ScheduleConfig(name="cosine", warmup=50),
        stopping=StoppingConfig(monitor="score", mode="max"),
        evaluate_every=250,
        log_every=25,
        checkpoint_every=250,
        sample_at=(),
        sample_every=0,
    )
