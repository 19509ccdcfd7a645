"""The settings of an anomaly detector: data, model, threshold, training."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from recurra.base.config import Settings
from recurra.base.option import Input, Option
from recurra.tasks.settings import TaskSettings
from recurra.training.config import OptimConfig, ScheduleConfig, StoppingConfig, TrainConfig

__all__ = ["MODELS", "AnomalySettings", "DataSettings", "NetSettings", "OnlineSettings", "ThresholdSettings"]

Positive = Annotated[int, Meta(ge=1)]
Count = Annotated[int, Meta(ge=0)]
Above = Annotated[float, Meta(gt=0)]
Inside = Annotated[float, Meta(gt=0, lt=1)]

Model = Literal["online", "forecast", "autoencoder"]
MODELS = Model.__args__


class DataSettings(Settings, frozen=True):
    """Which columns of which file."""

    file: Annotated[str, Input()] = ""
    """The table of series."""
    target: Annotated[tuple[str, ...], Option(shown="y, target or value, or all columns of numbers")] = ()
    """Columns of values, channels of one series, comma-separated."""
    id: Annotated[str, Option(shown="unique_id")] = ""
    """Column that identifies the series."""
    time: Annotated[str, Option(shown="ds, timestamp, date ...")] = ""
    """Column of stamps."""
    zone: Annotated[str, Option()] = ""
    """Time zone whose clock gives the time of day, for stamps with an offset."""
    label: Annotated[str, Option(shown="label or anomaly, where there is one")] = ""
    """Column of 0 and 1: rows that are anomalies, from which nothing is learnt."""
    test: Annotated[Count, Option()] = 0
    """Rows at the end of each series that training never uses, and that are then measured."""


class OnlineSettings(Settings, frozen=True):
    """The detector that learns while the stream runs; see `recurra.tasks.anomaly.online`."""

    margin: Above = 0.03
    """How far outside the range so far counts as a score of 1/2, as a share of that range."""
    tail: Inside = 1e-8
    """The probability of forecast errors that counts as 1/2."""
    settle: Count = 100
    """Rows at the start of a stream without alarms."""
    members: Positive = 4
    """Echo state networks whose forecasts are averaged."""
    units: Positive = 20
    """Units of each."""
    memory: Annotated[int, Meta(ge=2)] = 8000
    """Rows, about, over which values are standardised and errors are compared."""


class NetSettings(Settings, frozen=True):
    """The recurrent nets that are trained on normal data."""

    cell: Annotated[str, Option()] = "gru"
    """Recurrent cell; recurra cells lists them."""
    hidden: Annotated[Positive, Option()] = 32
    """Units per layer."""
    layers: Positive = 1
    """Recurrent layers."""
    ahead: Positive = 3
    """Forecast: steps ahead that each row is forecast from, all of which it is then compared with."""
    window: Annotated[int, Meta(ge=2), Option()] = 32
    """Rows of a training sequence (forecast: four of them), and the rows that the autoencoder sees."""
    judge: Count = 0
    """Autoencoder: newest rows of the window whose errors make the score; 0: a quarter."""


class ThresholdSettings(Settings, frozen=True):
    """From which score on a row is an alarm; chosen on rows that training did not fit, never on labels."""

    method: Literal["auto", "fixed", "quantile", "tail"] = "auto"
    """quantile of the validation scores; tail: a Pareto tail fitted to them (Siffer et al. 2017). auto: fixed for the
    online detector, whose scores have a meaning of their own, else tail."""
    rate: Annotated[Inside, Option("false-alarms")] = 1e-3
    """Quantile and tail: the share of normal rows that may reach it."""
    value: Above = 0.5
    """Fixed."""


class AnomalySettings(TaskSettings, frozen=True):
    """An anomaly detector: recurra train anomaly data.csv --out runs/x.

    The table is long (unique_id, ds, y) or wide (columns are channels of one series); rows are taken as they stand,
    stamps may repeat and leave gaps. --model online (the default) learns while a stream runs and needs no training: the
    run stores its settings, and the state of the streams at the end of the data. forecast and autoencoder train a
    recurrent net on rows that are mostly normal; a column of labels (0 and 1) excludes known anomalies from it.
    """

    task: Literal["anomaly"] = "anomaly"
    model: Annotated[Model, Option()] = "online"
    """online, forecast or autoencoder."""
    quiet: Annotated[Count, Option("quiet-rows")] = 30
    """A row is an alarm only if its score is above that of each of so many rows before it."""
    batch: Positive = 64
    """Windows in a batch."""
    data: DataSettings = DataSettings()
    online: OnlineSettings = OnlineSettings()
    net: NetSettings = NetSettings()
    threshold: ThresholdSettings = ThresholdSettings()
    train: TrainConfig = TrainConfig(
        iterations=600,
        optim=OptimConfig(name="adamw", learning_rate=3e-3, beta2=0.999),
        schedule=ScheduleConfig(name="cosine", warmup=20),
        stopping=StoppingConfig(patience=8),
        evaluate_every=25,
        log_every=10,
        checkpoint_every=100,
        sample_at=(),
        sample_every=0,
    )
