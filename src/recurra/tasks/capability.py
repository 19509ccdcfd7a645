"""What a trained model can do, whatever its task: the verbs of the command line ask for these, never for a task's name.

Each capability is a protocol, the options of its verb and the record that it gives. From options and record come the
verb's help, CSV, JSON lines and the reference. Does not import torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Protocol, runtime_checkable

import msgspec
from msgspec import Meta

from recurra.base.config import Settings
from recurra.base.option import Option

__all__ = [
    "CAPABILITIES",
    "BacktestOptions",
    "Backtests",
    "Capability",
    "Class",
    "Classifies",
    "Detects",
    "Event",
    "Forecast",
    "ForecastOptions",
    "Forecasts",
    "GenerationOptions",
    "Generates",
    "NoOptions",
    "Record",
    "Streams",
    "TaggedLine",
    "Tags",
    "abilities",
]

Positive = Annotated[int, Meta(ge=1)]
Count = Annotated[int, Meta(ge=0)]


class NoOptions(Settings, frozen=True):
    """Of a verb that has none of its own."""


class Record(msgspec.Struct, frozen=True):
    """One result; a subclass says its fields."""

    def json(self) -> dict[str, Any]:
        """Return the record as one line of JSON has it."""
        return msgspec.to_builtins(self)

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield the record as rows of a table, cells by column; by default one."""
        yield self.json()

    def text(self) -> str | None:
        """Return the record as text, for a capability whose result is no table; None: it is one."""
        return None


class Class(Record, frozen=True):
    """The class of one case."""

    unique_id: str
    label: str = msgspec.field(name="class")
    """The most probable class."""
    probabilities: dict[str, float]
    """Of every class."""

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield unique_id, class and p_NAME for the probability of each class."""
        probabilities = {f"p_{name}": f"{value:.6g}" for name, value in self.probabilities.items()}
        yield {"unique_id": self.unique_id, "class": self.label, **probabilities}


class Event(Record, frozen=True):
    """One detected event; stamps as they stand in the data."""

    unique_id: str
    start: str
    end: str
    time: str
    label: str
    probability: float
    decided: str
    """The last stamp that had been read when the event was known."""

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield the fields, the probability with six digits."""
        yield {**self.json(), "probability": f"{self.probability:.6g}"}


class Forecast(Record, frozen=True):
    """The forecast of one series: H stamps, medians and quantiles."""

    unique_id: str
    ds: list[str]
    forecast: list[float]
    """The median."""
    quantiles: dict[str, list[float]]
    """q0.1 ... -> (H,)."""

    def json(self) -> dict[str, Any]:
        """Return the fields, the quantiles beside the others."""
        return {"unique_id": self.unique_id, "ds": self.ds, "forecast": self.forecast, **self.quantiles}

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield a row for each step."""
        columns = {"forecast": self.forecast, **self.quantiles}
        for step, stamp in enumerate(self.ds):
            values = {name: f"{column[step]:.7g}" for name, column in columns.items()}
            yield {"unique_id": self.unique_id, "ds": stamp, **values}


class TaggedLine(Record, frozen=True):
    """One tagged sequence."""

    tokens: list[str]
    labels: list[str]
    """One for each token."""
    source: str = ""
    """The piece of the file that the sequence came from, blank line and comments included, with the label as a last
    column; all pieces together are the file."""

    def json(self) -> dict[str, Any]:
        """Return tokens and labels."""
        return {"tokens": self.tokens, "labels": self.labels}

    def text(self) -> str:
        """Return the piece of the file."""
        return self.source


class ForecastOptions(Settings, frozen=True):
    """Options of `recurra forecast`."""

    seed: Annotated[int, Option()] = 0
    """Seed of sample paths."""


class BacktestOptions(Settings, frozen=True):
    """Options of `recurra backtest`."""

    origins: Annotated[Positive, Option()] = 10
    """Number of origins, counted from the end."""
    stride: Annotated[Count, Option(shown="the horizon")] = 0
    """Steps between them."""
    refit: Annotated[bool, Option()] = False
    """Train anew before each origin, on what lies before it."""
    scaled: Annotated[bool, Option()] = False
    """Errors in units of each series' deviation in training."""
    seed: Annotated[int, Option()] = 0
    """Seed of sample paths."""


class GenerationOptions(Settings, frozen=True):
    """Options of `recurra generate`."""

    prompt: Annotated[str, Option(metavar="TEXT", shown="a new line")] = ""
    """Text that the generated one continues."""
    length: Annotated[Count, Option()] = 500
    """Number of symbols to generate; 0: no end."""
    temperature: Annotated[float, Option()] = 0.8
    """Divides the logits; 0: always the most probable symbol."""
    top_k: Annotated[int, Option()] = 0
    """Choose among the k most probable symbols; 0: all."""
    top_p: Annotated[float, Option()] = 1.0
    """Choose among the most probable symbols that make up p."""
    repetition_penalty: Annotated[float, Option()] = 1.0
    """Above 1: avoid the symbols used last."""
    seed: Annotated[int | None, Option(shown="another each time")] = None
    """The same seed gives the same text."""
    unknown: Annotated[Literal["skip", "replace", "error"], Option()] = "skip"
    """Characters of the prompt that the model never saw: leave out, take the nearest relative, or refuse."""


@runtime_checkable
class Generates(Protocol):
    """A model that writes."""

    def unseen(self, text: str) -> list[str]:
        """Return the symbols of a prompt that the model does not know."""
        ...

    def generated(self, options: GenerationOptions) -> Iterator[str]:
        """Yield text that continues the prompt, piece by piece, without end."""
        ...


@runtime_checkable
class Forecasts(Protocol):
    """A model that forecasts series."""

    def forecasts(self, data: Any, options: ForecastOptions) -> Iterable[Forecast]:
        """Yield the forecast of each series of the data, as the task reads them."""
        ...


@runtime_checkable
class Backtests(Protocol):
    """A model whose forecasts from past origins are compared with what came."""

    def backtests(self, data: Any, options: BacktestOptions, say: Any) -> Any:
        """Return the measures (`recurra.tasks.task.Measures`); `say(text)` tells progress."""
        ...


@runtime_checkable
class Classifies(Protocol):
    """A model that classifies cases."""

    def classifications(self, data: Any, options: NoOptions) -> Iterable[Class]:
        """Yield the class of each case."""
        ...


@runtime_checkable
class Detects(Protocol):
    """A model that finds events in streams."""

    def detections(self, data: Any, options: NoOptions) -> Iterable[Event]:
        """Yield the events of each series."""
        ...


@runtime_checkable
class Tags(Protocol):
    """A model that labels each token of a sequence."""

    def tags(self, data: Any, options: NoOptions) -> Iterable[TaggedLine]:
        """Yield each sequence with its labels."""
        ...


@runtime_checkable
class Streams(Protocol):
    """A model that answers row by row; its `live` names the options that it understands (threshold, cold)."""

    def live(self) -> Any:
        """Return a live model (`recurra.serving.watch.LiveModel`)."""
        ...


@dataclass(frozen=True)
class Capability:
    """A verb of the command line that turns a file into records."""

    protocol: type
    method: str
    """The method of the protocol: `method(data, options) -> records`."""
    options: type[Settings]
    record: type[Record]
    items: str
    """What is counted at the end: "cases"."""
    does: str
    """What a model of this kind does, in the third person: "classifies"."""


CAPABILITIES: dict[str, Capability] = {
    "forecast": Capability(Forecasts, "forecasts", ForecastOptions, Forecast, "series", "forecasts"),
    "classify": Capability(Classifies, "classifications", NoOptions, Class, "cases", "classifies"),
    "detect": Capability(Detects, "detections", NoOptions, Event, "events", "detects events"),
    "tag": Capability(Tags, "tags", NoOptions, TaggedLine, "sequences", "tags"),
}
"""Verb -> capability, for the verbs that read files and give records."""

_OTHERS = {"generates": Generates, "backtests": Backtests, "streams": Streams}


def abilities(predictor: Any) -> Sequence[str]:
    """Return what a predictor does, as words for a message."""
    words = [capability.does for capability in CAPABILITIES.values() if isinstance(predictor, capability.protocol)]
    return [*words, *(word for word, protocol in _OTHERS.items() if isinstance(predictor, protocol))]
