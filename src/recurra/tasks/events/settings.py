"""The settings of event detection: data, model, decoding, training. Times are in seconds.

Where neither stamps nor `data.rate_hz` say how long a step is, it counts as a second.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from recurra.base.config import Settings
from recurra.training.config import OptimConfig, ScheduleConfig, TrainConfig, WatchConfig

__all__ = ["Architecture", "DecodingSettings", "EventSettings", "StreamSettings"]

Positive = Annotated[int, Meta(ge=1)]
Count = Annotated[int, Meta(ge=0)]
Share = Annotated[float, Meta(ge=0, lt=1)]
Seconds = Annotated[float, Meta(ge=0)]
Probability = Annotated[float, Meta(gt=0, lt=1)]


class StreamSettings(Settings, frozen=True):
    """Which signals of which file, and where their events are."""

    file: str = ""
    events: str = ""
    """A table of events: start, and where there are any end, label and unique_id."""
    label: str = ""
    """Or the column of the file that has the class of each step; empty: label, class or event."""
    background: str = ""
    """What that column says where there is no event; empty: nothing, 0, none, background, normal or -."""
    id: str = ""
    """Column that tells series apart; empty: unique_id where there is one."""
    time: str = ""
    """Column of stamps; empty: ds, date, timestamp ..."""
    channels: tuple[str, ...] = ()
    """Columns of values; empty: every column of numbers that is nothing else."""
    freq: str = ""
    rate_hz: Seconds = 0.0
    """Steps in a second, where the stamps do not say."""
    normalise: Literal["standard", "robust", "none"] = "standard"
    """Each channel by its mean and deviation (median and 1.4826 times the absolute one) over the training part."""
    validation: Share = 0.2
    """The last part of each series, which chooses the weights and the decoding; before the test part."""
    test: Share = 0.0
    """The part behind that, which training never looks at."""


class Architecture(Settings, frozen=True):
    """The net."""

    cell: str = "gru"
    hidden: Positive = 64
    layers: Positive = 1
    dropout: Share = 0.1
    """Between layers and before the output."""
    frame: Positive = 1
    """Steps that are read, and answered, as one."""
    look_ahead_s: Seconds = 0.0
    """So much later than a frame the net may answer for it; part of the detection delay."""
    widen_s: Seconds | None = None
    """Around an event without an end this much counts as event in training; by default half the tolerance."""
    overlap: bool = False
    """Events of different classes may happen at once: a probability for each class by itself."""
    mask: Literal["auto", "yes", "no"] = "auto"
    """Give the net a mask of what is observed; auto: where the training part has gaps."""


class DecodingSettings(Settings, frozen=True):
    """From probabilities to events; what is not given is chosen on the validation part."""

    tolerance_s: Seconds = 0.0
    """How far off a detection may be and still count; 0: five frames."""
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


class EventSettings(Settings, frozen=True):
    """Everything that `recurra train events` can be told."""

    task: Literal["events"] = "events"
    seed: int = 0
    threads: Count = 0
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
