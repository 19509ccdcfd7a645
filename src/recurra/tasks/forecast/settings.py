"""The settings of a forecast: data, model, training."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from recurra.base.config import Settings
from recurra.base.option import Input, Option
from recurra.tasks.settings import TaskSettings
from recurra.training.config import OptimConfig, ScheduleConfig, StoppingConfig, TrainConfig

__all__ = ["MODELS", "Architecture", "DataSettings", "ForecastSettings", "Model"]

Positive = Annotated[int, Meta(ge=1)]
Count = Annotated[int, Meta(ge=0)]
Share = Annotated[float, Meta(ge=0, lt=1)]

Model = Literal[
    "segment",
    "direct",
    "recursive",
    "attention",
    "narx",
    "tdnn",
    "esn",
    "ridge",
    "naive",
    "seasonal_naive",
    "drift",
]
MODELS = Model.__args__
_BLENDED = ("segment", "direct", "attention", "tdnn", "esn")


class DataSettings(Settings, frozen=True):
    """Which columns of which file."""

    file: Annotated[str, Input()] = ""
    """The table of series."""
    target: Annotated[tuple[str, ...], Option(shown="y, or all columns of numbers")] = ()
    """Columns of values, comma-separated; several are series of their own."""
    id: Annotated[str, Option(shown="unique_id")] = ""
    """Column that identifies the series."""
    time: Annotated[str, Option(shown="ds, date, timestamp ...")] = ""
    """Column of stamps."""
    past: Annotated[tuple[str, ...], Option(shown="none")] = ()
    """Covariates known up to now, comma-separated."""
    known: Annotated[tuple[str, ...], Option(shown="none")] = ()
    """Covariates known ahead, comma-separated."""
    static: Annotated[tuple[str, ...], Option(shown="none")] = ()
    """Covariates of a series as a whole, comma-separated."""
    freq: Annotated[str, Option(shown="inferred")] = ""
    """Spacing of the stamps, such as h, 15min, D."""
    zone: Annotated[str, Option()] = ""
    """Time zone of stamps without an offset."""
    duplicates: Literal["error", "first", "last", "mean", "sum"] = "error"
    """What becomes of rows with the same stamp."""
    layout: Literal["table", "rows"] = "table"
    """rows: one series in each row, its id first (the M4 files)."""
    validation: Count = 0
    """Rows at the end of each series that select the weights and the ridge and calibrate; 0: a tenth, at least H."""
    test: Annotated[Count, Option()] = 0
    """Rows at the end of each series, behind those of validation, that training never uses."""
    calendar: bool = True
    """Give the nets the time of day, week and year, where there are dates."""


class Architecture(Settings, frozen=True):
    """The net; what the selected model has no use for is left unread."""

    name: Annotated[Model, Option("model")] = "segment"
    """segment, direct, recursive, attention, narx, tdnn, esn, ridge, naive, seasonal_naive or drift."""
    cell: Annotated[str, Option()] = "gru"
    """Recurrent cell; recurra cells lists them."""
    hidden: Annotated[Positive, Option()] = 64
    """Units per layer."""
    layers: Positive = 1
    """Recurrent layers."""
    segment: Count = 0
    """Values per step of the segment net; 0: the season, or a sixth of the look-back."""
    look_back: Annotated[Count, Option()] = 0
    """Values that are read; 0: three horizons or seven seasons, as far as the series reach."""
    normalise: Literal["last", "mean", "standard", "spread", "none", "scale"] = "spread"
    """What each window is normalised by, see `instance_scale`; scale: 1 + the mean magnitude (DeepAR)."""
    scale: Literal["standard", "robust", "mean", "none"] = "standard"
    """What each series is divided by before."""
    transform: Literal["none", "log"] = "none"
    """log: forecast the logarithm, where all values are positive, so that errors count relative to the level."""
    dropout: Share = 0.2
    """Between layers and before the output."""
    embedding: Positive = 16
    """Width of the series' own embedding."""
    most_series: Count = 2000
    """With more series than this none has an embedding of its own."""
    skip: bool = True
    """Add the ridge regression, from which the net then learns what is left."""
    blend: Share | Literal["auto"] = 0.0
    """Share of a ridge regression of its own in the forecast of the nets (segment, direct, attention, tdnn, esn); auto:
    halfway from equal shares to the one of 0, 1/8 ... 1 that is best on the validation rows, by squared error."""
    decay: bool = False
    """Missing values fade towards the mean since the last one observed (GRU-D); direct and recursive nets."""
    loss: Literal["quantile", "mae", "mse", "gaussian", "student", "negative_binomial"] = "quantile"
    """What the net is trained by, and the distribution that it gives."""
    paths: Positive = 200
    """Sample paths behind a forecast of the recursive net and of NARX."""
    delays: Count = 0
    """Values that a NARX net is fed back; 0: a season and one more, at most the look-back."""


class ForecastSettings(TaskSettings, frozen=True):
    """A forecaster of series: recurra train forecast data.csv --target y --horizon 24 --out runs/x.

    The table is long (unique_id, ds, y) or wide (one column per series); .csv, .tsv, .parquet, .gz.
    """

    task: Literal["forecast"] = "forecast"
    horizon: Annotated[Positive, Option()] = 24
    """Steps ahead."""
    season: Annotated[Count, Option()] = 0
    """Steps in a season; 0: that of the frequency."""
    quantiles: Annotated[tuple[float, ...], Option()] = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
    """Levels of the quantiles, rising, comma-separated; with 0.5 among them."""
    calibrate: bool = True
    """Shift each quantile at each step so that it holds on the validation part."""
    members: Annotated[Positive, Option()] = 1
    """Nets of as many seeds, whose quantiles are joined by their median."""
    batch: Positive = 256
    """Windows in a batch."""
    per_epoch: Count = 0
    """Windows of an epoch; 0: all."""
    forget: Share = 0.1
    """Share of the windows that are trained without the identity of their series, so that a new one can be forecast."""
    data: DataSettings = DataSettings()
    model: Architecture = Architecture()
    train: TrainConfig = TrainConfig(
        iterations=500,
        optim=OptimConfig(name="adamw", learning_rate=1e-3, beta2=0.999),
        schedule=ScheduleConfig(name="cosine", warmup=20),
        stopping=StoppingConfig(patience=8),
        evaluate_every=25,
        log_every=10,
        checkpoint_every=100,
        sample_at=(),
        sample_every=0,
    )

    def __post_init__(self) -> None:
        """Raise ValueError for quantiles that cannot be."""
        levels = self.quantiles
        if not levels or list(levels) != sorted(set(levels)) or not all(0 < level < 1 for level in levels):
            raise ValueError(f"quantiles must rise strictly between 0 and 1, got {list(levels)}")
        if 0.5 not in levels:
            raise ValueError(f"quantiles must have the median, 0.5, got {list(levels)}")
        if self.model.transform != "none" and self.model.loss == "negative_binomial":
            raise ValueError("negative_binomial speaks of counts, not of their logarithms: model.transform=none")
        if self.model.blend and self.model.name not in _BLENDED:
            raise ValueError(f"model.blend is for {', '.join(_BLENDED)}, not for {self.model.name}")
