"""The settings of a forecast: data, model, training."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from recurra.base.config import Settings
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

    file: str = ""
    target: tuple[str, ...] = ()
    """Columns of values; empty: y, or every column of numbers. Several are series of their own."""
    id: str = ""
    """Column that tells series apart; empty: unique_id where there is one."""
    time: str = ""
    """Column of stamps; empty: ds, date, timestamp ..."""
    past: tuple[str, ...] = ()
    known: tuple[str, ...] = ()
    static: tuple[str, ...] = ()
    freq: str = ""
    """Such as 15min; empty: inferred."""
    zone: str = ""
    duplicates: Literal["error", "first", "last", "mean", "sum"] = "error"
    layout: Literal["table", "rows"] = "table"
    """rows: one series in each row, its id first (the M4 files)."""
    validation: Count = 0
    """Rows at the end of each series that choose the weights and the ridge and calibrate; 0: a tenth, at least H."""
    test: Count = 0
    """Rows behind those, which training never looks at."""
    calendar: bool = True
    """Give the nets the time of day, week and year, where there are dates."""


class Architecture(Settings, frozen=True):
    """The net; what the chosen model has no use for is left unread."""

    name: Model = "segment"
    cell: str = "gru"
    hidden: Positive = 64
    layers: Positive = 1
    segment: Count = 0
    """Values per step of the segment net; 0: the season, or a sixth of the look-back."""
    look_back: Count = 0
    """Values that are read; 0: three horizons or seven seasons, as far as the series reach."""
    normalise: Literal["last", "mean", "standard", "spread", "none", "scale"] = "spread"
    """What each window is normalised by, see `instance_scale`; scale: 1 + the mean magnitude (DeepAR)."""
    scale: Literal["standard", "robust", "mean", "none"] = "standard"
    """What each series is divided by before."""
    transform: Literal["none", "log"] = "none"
    """log: forecast the logarithm, where all values are positive, so that errors count relative to the level."""
    dropout: Share = 0.2
    embedding: Positive = 16
    """Width of the series' own embedding."""
    most_series: Count = 2000
    """With more series than this none has an embedding of its own."""
    skip: bool = True
    """Add the ridge regression, from which the net then learns what is left."""
    blend: Share | Literal["auto"] = 0.0
    """Share of a ridge regression of its own in what the nets say (segment, direct, attention, tdnn, esn); auto:
    halfway from equal shares to the one of 0, 1/8 ... 1 that is best on the validation rows, by squared error."""
    decay: bool = False
    """Missing values fade towards the mean since the last one seen (GRU-D); direct and recursive nets."""
    loss: Literal["quantile", "mae", "mse", "gaussian", "student", "negative_binomial"] = "quantile"
    paths: Positive = 200
    """Sample paths behind a forecast of the recursive net and of NARX."""
    delays: Count = 0
    """Values that a NARX net is fed back; 0: a season and one more, at most the look-back."""


class ForecastSettings(Settings, frozen=True):
    """Everything that `recurra train forecast` can be told."""

    task: Literal["forecast"] = "forecast"
    horizon: Positive = 24
    season: Count = 0
    """Steps in a season; 0: that of the frequency."""
    quantiles: tuple[float, ...] = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
    calibrate: bool = True
    """Shift each quantile at each step so that it holds on the validation part."""
    members: Positive = 1
    """Nets from as many seeds, whose quantiles are averaged by their median."""
    seed: int = 0
    threads: Count = 0
    batch: Positive = 256
    per_epoch: Count = 0
    """Windows of an epoch; 0: all."""
    forget: Share = 0.1
    """Windows that are taught without the name of their series, so that a new one can be forecast."""
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
            said = f"model.blend is for {', '.join(_BLENDED)}, not for {self.model.name}"
            raise ValueError(said)
