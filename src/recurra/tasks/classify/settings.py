"""The settings of a classification: data, model, training."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from recurra.base.config import Settings
from recurra.base.option import Input, Option
from recurra.tasks.settings import TaskSettings
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

    file: Annotated[str, Input()] = ""
    """Cases with their classes."""
    test: Annotated[str, Input("test", evaluates=False)] = ""
    """Cases that are measured when training has ended, and never looked at before."""
    label: Annotated[str, Option(shown="label, class or target")] = ""
    """Column of classes in a table."""
    id: Annotated[str, Option(shown="unique_id")] = ""
    """Column that identifies the case."""
    time: Annotated[str, Option(shown="ds, date, timestamp ...")] = ""
    """Column of stamps."""
    channels: Annotated[tuple[str, ...], Option(shown="all columns of numbers")] = ()
    """Columns of values, comma-separated."""
    freq: str = ""
    """Spacing of the stamps, such as h, 15min, D; empty: inferred."""
    normalise: Literal["standard", "case", "none"] = "standard"
    """standard: each channel by its mean and deviation over the training cases; case: by those of the case itself."""
    validation: Annotated[Share, Option()] = 0.2
    """Share of the cases of each class that selects the weights; 0: none, and the last weights are used."""


class Architecture(Settings, frozen=True):
    """The net; what the selected model has no use for is left unread."""

    name: Annotated[Model, Option("model")] = "recurrent"
    """recurrent, lstm_fcn, fcn or esn."""
    cell: Annotated[str, Option()] = "lstm"
    """Recurrent cell of recurrent, and of the branch of lstm_fcn; recurra cells lists them."""
    hidden: Annotated[Positive, Option()] = 64
    """Units per layer and direction; of esn those of the reservoir."""
    layers: Annotated[Positive, Option()] = 1
    """Recurrent layers."""
    bidirectional: bool = True
    """Read each case in both directions."""
    pooling: Annotated[Literal["last", "mean", "max", "attention"], Option()] = "attention"
    """How the states of all steps become one: last, mean, max or attention; in lstm_fcn last or attention."""
    dropout: Share = 0.2
    """Between layers and before the output."""
    mask: Literal["auto", "yes", "no"] = "auto"
    """Give the net a mask of what is observed; auto: where training cases have gaps."""
    decay: bool = False
    """Missing values fade towards the mean since the last one observed (GRU-D); recurrent only, with a mask."""
    filters: tuple[Positive, ...] = (128, 256, 128)
    """Filters of each convolution of lstm_fcn and fcn."""
    kernels: tuple[Positive, ...] = (8, 5, 3)
    """Steps that each convolution reads."""
    branch_dropout: Share = 0.8
    """On the output of the recurrent branch of lstm_fcn."""
    shuffle: bool = True
    """The branch of lstm_fcn reads one step per channel, of all its values (the paper's dimension shuffle)."""
    squeeze: bool = True
    """Squeeze and excite between the convolutions where there are several channels (MLSTM-FCN)."""
    radius: Above = 0.9
    """Spectral radius of the reservoir."""
    leak: Annotated[float, Meta(gt=0, le=1)] = 0.3
    """Leak rate of the reservoir."""
    input_scaling: Above = 0.2
    """Scale of the reservoir's input weights."""
    washout: Count = 0
    """First steps that the features of esn leave out."""

    def __post_init__(self) -> None:
        """Raise ValueError where filters and kernels do not pair."""
        if not self.filters or len(self.filters) != len(self.kernels):
            raise ValueError(f"as many kernels as filters, got {len(self.kernels)} and {len(self.filters)}")


class ClassifySettings(TaskSettings, frozen=True):
    """A classifier of whole series: recurra train classify cases.ts --test more.ts --out runs/x.

    Files: .ts (UCR/UEA), a UCR .txt or .tsv, .npz with X (cases, channels, time) and y, and long tables (.csv,
    .parquet) with columns unique_id, ds, the channels and the class.
    """

    task: Literal["classify"] = "classify"
    members: Annotated[Positive, Option()] = 1
    """Nets of as many seeds, whose probabilities are averaged."""
    batch: Annotated[Positive, Option()] = 128
    """Cases in a batch. Batch normalisation (lstm_fcn, fcn) needs many: a small batch is not like all cases."""
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
