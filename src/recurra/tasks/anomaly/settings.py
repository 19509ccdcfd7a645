"""The settings of an anomaly detector: data, model, threshold, training."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from recurra.base.config import Settings
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

    file: str = ""
    target: tuple[str, ...] = ()
    """Columns of values, channels of one series; empty: y, target or value, or every column of numbers."""
    id: str = ""
    """Column that tells series apart; empty: unique_id where there is one."""
    time: str = ""
    """Column of stamps; empty: ds, timestamp, date ..."""
    zone: str = ""
    """Whose clock tells the time of day, for stamps with an offset."""
    label: str = ""
    """Column of 0 and 1: rows that are anomalies, from which nothing is learnt; empty: label or anomaly, if there."""
    test: Count = 0
    """Rows at the end of each series that training never looks at, and the report measures on."""


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

    cell: str = "gru"
    hidden: Positive = 32
    layers: Positive = 1
    ahead: Positive = 3
    """Forecast: steps ahead that each row is forecast from, all of which it is then compared with."""
    window: Annotated[int, Meta(ge=2)] = 32
    """Rows of a training sequence (forecast: four of them), and the rows that the autoencoder sees."""
    judge: Count = 0
    """Autoencoder: newest rows of the window whose errors make the score; 0: a quarter."""


class ThresholdSettings(Settings, frozen=True):
    """From which score on a row is an alarm; chosen on rows that training did not fit, never on labels."""

    method: Literal["auto", "fixed", "quantile", "tail"] = "auto"
    """quantile of the validation scores; tail: a Pareto tail fitted to them (Siffer et al. 2017). auto: fixed for the
    online detector, whose scores have a meaning of their own, else tail."""
    rate: Inside = 1e-3
    """Quantile and tail: the share of normal rows that may reach it."""
    value: Above = 0.5
    """Fixed."""


class AnomalySettings(Settings, frozen=True):
    """Everything that `recurra train anomaly` can be told."""

    task: Literal["anomaly"] = "anomaly"
    model: Model = "online"
    quiet: Count = 30
    """A row is an alarm only if it is odder than each of so many before it."""
    seed: int = 0
    threads: Count = 0
    batch: Positive = 64
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
