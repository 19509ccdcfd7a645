"""The settings of a classification: data, model, training."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from recurra.base.config import Settings
from recurra.training.config import OptimConfig, ScheduleConfig, TrainConfig

__all__ = ["MODELS", "Architecture", "CaseSettings", "ClassifySettings", "Model"]

Positive = Annotated[int, Meta(ge=1)]
Count = Annotated[int, Meta(ge=0)]
Share = Annotated[float, Meta(ge=0, lt=1)]
Above = Annotated[float, Meta(gt=0)]

Model = Literal["recurrent", "lstm_fcn", "fcn", "esn"]
MODELS = Model.__args__


class CaseSettings(Settings, frozen=True):
    """Which cases of which file."""

    file: str = ""
    test: str = ""
    """Cases that are measured when training has ended, and never looked at before."""
    label: str = ""
    """Column of classes in a table; empty: label, class or target."""
    id: str = ""
    """Column that tells cases apart; empty: unique_id where there is one."""
    time: str = ""
    """Column of stamps; empty: ds, date, timestamp ..."""
    channels: tuple[str, ...] = ()
    """Columns of values; empty: every column of numbers that is nothing else."""
    freq: str = ""
    normalise: Literal["standard", "case", "none"] = "standard"
    """standard: each channel by its mean and deviation over the training cases; case: by those of the case itself."""
    validation: Share = 0.2
    """Share of the cases of each class that chooses the weights; 0: none, and the last weights are kept."""


class Architecture(Settings, frozen=True):
    """The net; what the chosen model has no use for is left unread."""

    name: Model = "recurrent"
    cell: str = "lstm"
    """Of recurrent, and of the branch of lstm_fcn."""
    hidden: Positive = 64
    """Units per layer and direction; of esn those of the reservoir."""
    layers: Positive = 1
    bidirectional: bool = True
    pooling: Literal["last", "mean", "max", "attention"] = "attention"
    """How the states of all steps become one; in lstm_fcn last, or attention (ALSTM-FCN)."""
    dropout: Share = 0.2
    """Between layers and before the output."""
    mask: Literal["auto", "yes", "no"] = "auto"
    """Give the net a mask of what is observed; auto: where training cases have gaps."""
    decay: bool = False
    """Missing values fade towards the mean since the last one seen (GRU-D); recurrent only, with a mask."""
    filters: tuple[Positive, ...] = (128, 256, 128)
    kernels: tuple[Positive, ...] = (8, 5, 3)
    branch_dropout: Share = 0.8
    """On what the recurrent branch of lstm_fcn says."""
    shuffle: bool = True
    """The branch of lstm_fcn reads one step per channel, of all its values (the paper's dimension shuffle)."""
    squeeze: bool = True
    """Squeeze and excite between the convolutions where there are several channels (MLSTM-FCN)."""
    radius: Above = 0.9
    """Spectral radius of the reservoir."""
    leak: Annotated[float, Meta(gt=0, le=1)] = 0.3
    input_scaling: Above = 0.2
    washout: Count = 0
    """First steps that the features of esn leave out."""

    def __post_init__(self) -> None:
        """Raise ValueError where filters and kernels do not pair."""
        if not self.filters or len(self.filters) != len(self.kernels):
            raise ValueError(f"as many kernels as filters, got {len(self.kernels)} and {len(self.filters)}")


class ClassifySettings(Settings, frozen=True):
    """Everything that `recurra train classify` can be told."""

    task: Literal["classify"] = "classify"
    members: Positive = 1
    """Nets from as many seeds, whose probabilities are averaged."""
    seed: int = 0
    threads: Count = 0
    batch: Positive = 128
    """Cases at once. Batch normalisation (lstm_fcn, fcn) wants many: those of a small batch are not those of all."""
    balanced: bool = True
    """Each class weighs the same in the loss, however many cases it has."""
    smoothing: Share = 0.0
    """Share of each target that is spread over all classes."""
    data: CaseSettings = CaseSettings()
    model: Architecture = Architecture()
    train: TrainConfig = TrainConfig(
        iterations=500,
        optim=OptimConfig(name="adamw", learning_rate=2e-3, beta2=0.999, weight_decay=0.01),
        schedule=ScheduleConfig(name="cosine", warmup=20),
        evaluate_every=25,
        log_every=10,
        checkpoint_every=100,
        sample_at=(),
        sample_every=0,
    )
