"""The settings of event detection: data, model, decoding, training. Times are in seconds.

Where neither stamps nor `data.rate_hz` say how long a step is, it counts as a second.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from recurra.base.config import Settings
from recurra.base.option import Input, Option
from recurra.tasks.settings import TaskSettings
from recurra.training.config import OptimConfig, ScheduleConfig, TrainConfig, WatchConfig

__all__ = ["Architecture", "DecodingSettings", "EventSettings", "StreamSettings"]

Positive = Annotated[int, Meta(ge=1)]
Count = Annotated[int, Meta(ge=0)]
Share = Annotated[float, Meta(ge=0, lt=1)]
Seconds = Annotated[float, Meta(ge=0)]
Probability = Annotated[float, Meta(gt=0, lt=1)]


class StreamSettings(Settings, frozen=True):
    """Which signals of which file, and where their events are."""

    file: Annotated[str, Input()] = ""
    """The table of signals."""
    events: Annotated[str, Input("events")] = ""
    """A table of events: start, and where there are any end, label and unique_id."""
    label: Annotated[str, Option(shown="label, class or event")] = ""
    """Column of the signals with the class of each step, where there is no table of events."""
    background: str = ""
    """Value of that column where there is no event; empty: nothing, 0, none, background, normal or -."""
    id: Annotated[str, Option(shown="unique_id")] = ""
    """Column that identifies the stream."""
    time: Annotated[str, Option(shown="ds, date, timestamp ...")] = ""
    """Column of stamps."""
    channels: Annotated[tuple[str, ...], Option(shown="all columns of numbers")] = ()
    """Columns of values, comma-separated."""
    freq: str = ""
    """Spacing of the stamps, such as h, 15min, D; empty: inferred."""
    rate_hz: Annotated[Seconds, Option()] = 0.0
    """Steps in a second, where the stamps do not say."""
    normalise: Literal["standard", "robust", "none"] = "standard"
    """Each channel by its mean and deviation (median and 1.4826 times the absolute one) over the training part."""
    validation: Annotated[Share, Option()] = 0.2
    """Share of each stream, before its test split, that selects the weights and the thresholds."""
    test: Annotated[Share, Option()] = 0.0
    """Share at the end of each stream that training never uses."""


class Architecture(Settings, frozen=True):
    """The net."""

    cell: Annotated[str, Option()] = "gru"
    """Recurrent cell; recurra cells lists them."""
    hidden: Annotated[Positive, Option()] = 64
    """Units per layer."""
    layers: Annotated[Positive, Option()] = 1
    """Recurrent layers."""
    dropout: Share = 0.1
    """Between layers and before the output."""
    frame: Annotated[Positive, Option()] = 1
    """Steps that are read, and answered, as one."""
    look_ahead_s: Annotated[Seconds, Option("look-ahead")] = 0.0
    """Seconds by which the answer for a frame may come later; a component of the detection delay."""
    widen_s: Seconds | None = None
    """Seconds around an event without an end that count as event in training; by default half the tolerance."""
    overlap: bool = False
    """Events of different classes may happen at once: a probability for each class by itself."""
    mask: Literal["auto", "yes", "no"] = "auto"
    """Give the net a mask of what is observed; auto: where the training part has gaps."""


class DecodingSettings(Settings, frozen=True):
    """From probabilities to events; what is unset is selected on the validation split."""

    tolerance_s: Annotated[Seconds, Option("tolerance", shown="five frames")] = 0.0
    """Seconds by which a detection may be off and still count."""
    offset: bool = False
    """The end of an event must be right too: within the tolerance or half of its length."""
    high: Probability | None = None
    """An event begins where the probability rises to this."""
    low: Probability | None = None
    """It ends where the probability falls below that."""
    least_s: Seconds | None = None
    """Shorter ones are dropped."""
    refractory_s: Seconds | None = None
    """After the end of an event none begins for so long."""


class EventSettings(TaskSettings, frozen=True):
    """A detector of events in a stream: recurra train events data.csv --events events.csv --out runs/x.

    The table has columns of stamps and channels, and unique_id where there are several streams. Events are a column of
    it with the class of each step (--label), or a table of their own: start, and where there are any end, label,
    unique_id.
    """

    task: Literal["events"] = "events"
    batch: Positive = 32
    """Stretches that are read side by side."""
    chunk: Positive = 128
    """Frames that the gradient goes back."""
    balance: Annotated[float, Meta(ge=0, le=1)] = 0.5
    """Weight of a class: its share of the frames to the power of minus this."""
    data: StreamSettings = StreamSettings()
    model: Architecture = Architecture()
    decode: DecodingSettings = DecodingSettings()
    train: TrainConfig = TrainConfig(
        iterations=600,
        optim=OptimConfig(name="adamw", learning_rate=3e-3, beta2=0.999, weight_decay=0.01),
        schedule=ScheduleConfig(name="cosine", warmup=20),
        evaluate_every=50,
        log_every=10,
        checkpoint_every=100,
        sample_at=(),
        sample_every=0,
        # Every epoch begins with states of zeros in the middle of a stream, where the loss is high.
        watch=WatchConfig(spike="ignore"),
    )

    def __post_init__(self) -> None:
        """Raise ValueError where the parts leave nothing, or low lies above high."""
        if self.data.validation + self.data.test >= 1:
            raise ValueError(f"validation {self.data.validation:g} and test {self.data.test:g} leave nothing to learn")
        high, low = self.decode.high, self.decode.low
        if high is not None and low is not None and low > high:
            raise ValueError(f"decode.low must not lie above decode.high, got {low:g} and {high:g}")
