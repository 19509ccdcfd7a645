"""What a task is: its declaration, written once. Command, run folder, report, estimator and tests follow from it.

    settings -> read -> prepare -> net, problem -> the one loop -> predictor -> measure -> tables, figures

A task is a subclass of `Task`, in a file of a package or of the user's own, that says what is its own and nothing else.
`recurra.tasks.train.train` trains it, `recurra.tasks.load` loads and evaluates what was trained.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeVar

import msgspec

from recurra.base.code import reference_of
from recurra.base.config import Settings
from recurra.base.option import inputs_of, options_of, value_at
from recurra.tasks.settings import TaskSettings

if TYPE_CHECKING:
    from torch import Generator, nn

    from recurra.base.rng import Streams
    from recurra.diagnostics.report import Figure, Key, Sample
    from recurra.training.callback import Callback
    from recurra.training.config import TrainConfig
    from recurra.training.gradient import Objective
    from recurra.training.stream import Stream

__all__ = ["EvaluationOptions", "Measures", "Problem", "Run", "Table", "Task", "View", "train_members"]

Value = TypeVar("Value")

_LIMITS = ("threads", "train.iterations", "train.epochs", "train.minutes", "train.log_every", "train.checkpoint_every")


class Table(msgspec.Struct, frozen=True):
    """A table as plain text cells, for the terminal and for the report."""

    title: str
    head: tuple[str, ...] = ()
    """Of all columns; that of the row names is mostly empty."""
    rows: tuple[tuple[str, ...], ...] = ()
    """The first cell is the row's name."""
    notes: tuple[str, ...] = ()
    """Lines under it."""


class EvaluationOptions(Settings, frozen=True):
    """What `recurra eval` can be told, for a task that adds nothing."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What the training loop is given."""

    model: nn.Module
    objective: Objective
    """`loss_sum, count = objective(outputs, batch)`."""
    stream: Stream
    """Training batches."""
    evaluate: Callable[[nn.Module], dict[str, float]] | None = None
    """Named numbers of a model on held-out data, among them the one that selects the weights."""
    sample: Callable[[nn.Module], str] | None = None
    """A text that shows what the model does, drawn along the way."""
    callbacks: Sequence[Callback] = ()
    config: TrainConfig | None = None
    """The settings of the loop, where they are not `settings.train` as it stands."""
    evaluate_first: bool = False
    """Evaluate the fresh weights too: they may be the best."""
    resumed: Callable[[Any], None] | None = None
    """Called with the trainer after its checkpoint was loaded."""


@dataclass(frozen=True, kw_only=True)
class Measures:
    """What an evaluation gives, as plain data."""

    numbers: Mapping[str, Any]
    """Numbers by name, nested by class, by series ...: what `--json` prints; NaN is None."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """Further plain data from which tables and figures are drawn: examples, curves."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Path -> text of the files that the options asked for."""
    scores: Any = None
    """The object that the numbers came from, for callers in Python."""

    @property
    def plain(self) -> dict[str, Any]:
        """Numbers and details, as the run folder stores them."""
        return {**self.numbers, **self.details}


class Run(Protocol):
    """What `Task.train` is handed: a training under way, in a folder or in memory.

    Whatever goes through it is stored as soon as it is finished, so that resuming is running `train` again: finished
    steps are read, a loop goes on from its checkpoint. An interrupt ends `train` by an exception that the caller of
    `train` understands.
    """

    settings: Any
    folder: Path | None
    results: list[Any]
    """How each loop ended (`recurra.training.report.Result`)."""
    streams: dict[str, Any]
    """The training stream of each loop, by its name."""
    wall_s: float
    """Seconds of all loops, those before a resume included."""

    def prepare(self, data: Any) -> Any:
        """Return `Task.prepare(settings, data, before)` and store it in the folder."""
        ...

    def loop(self, name: str, build: Callable[[Streams], Problem], *, seed: int | None = None) -> nn.Module:
        """Train the problem that `build(streams)` makes and return its model with the best weights, in evaluation mode.

        Args:
            name: where its checkpoints and lines go, such as "members/1"; ".": the run's folder itself.
            build: makes the problem from random streams.
            seed: of the streams, and of torch's own generator; None: the run's.

        """
        ...

    def members(self, build: Callable[[int, Streams], Problem]) -> list[nn.Module]:
        """Train `settings.members` problems (1 where there is no such setting), each with the next seed."""
        ...

    def step(self, name: str, function: Callable[..., Value], *arguments: Any) -> Value:
        """Return `function(*arguments)`; a resumed run reads what it gave.

        Numbers, text, None, NumPy arrays, and lists and dicts of them; a tensor is handed back as an array, a tuple as
        a list, in the first run as in a resumed one.
        """
        ...

    def repeat(self, name: str, state: Value, update: Callable[[Value], Value], times: int) -> Value:
        """Apply `update` to `state` so many times; each state is stored, a resumed run goes on from the last.

        The values that `step` returns are allowed in a state, with the same conversions after each update.
        """
        ...

    def say(self, text: str) -> None:
        """Show a line above the progress bar."""
        ...

    def note(self, **facts: Any) -> None:
        """Store facts in the run's notes."""
        ...


@dataclass(frozen=True, kw_only=True)
class View:
    """What tables and figures are drawn from: a run as far as it is there."""

    settings: Any
    measures: Mapping[str, Any]
    """The plain data of a measurement (`Measures.plain`), empty before there is one."""
    predictor: Any = None
    """The trained model, where there is one."""
    note: Mapping[str, Any] = field(default_factory=dict)
    """The run's notes."""
    folder: Path | None = None
    """The run's folder; None for an evaluation of other data."""


class Task:
    """A kind of model that can be trained.

    The first line of a subclass's docstring is what `recurra train` lists, all of it what `--help` opens with. A
    subclass sets `settings` and gives at least `read`, `net`, `problem`, `predictor` and `measure`; one whose training
    is more than one loop gives `train` too.
    """

    settings: ClassVar[type[TaskSettings]]
    """Its settings; their defaults are the recipe. Options and inputs are marked at the fields."""
    prepared: ClassVar[Any] = None
    """Type of what `prepare` gives, as msgspec reads it back from JSON; None: nothing is prepared."""
    evaluation: ClassVar[type[Settings]] = EvaluationOptions
    """Options of `recurra eval`."""
    page: ClassVar[Any] = None
    """The module that draws: its functions `keys`, `tables` and `figures` of a view are the task's."""
    metric: ClassVar[str] = ""
    """Name in `Measures.numbers` of the number that compares two models; dots lead into groups."""
    mode: ClassVar[Literal["min", "max"]] = "min"
    """Whether a lower or a higher metric is better."""
    free: ClassVar[tuple[str, ...]] = ()
    """Settings that a resumed run may change, beside limits, logging and inputs."""
    prepared_file: ClassVar[str] = "prepared.json"
    needs_folder: ClassVar[bool] = True
    """Whether `recurra train` asks for `--out`."""
    next_command: ClassVar[str] = ""
    """What the user may do with a run, printed after training; {run} is its folder."""

    @property
    def name(self) -> str:
        """The task's name: as its settings say, or `mine.py:Mine` for one of the user's own."""
        return self.settings().task or reference_of(type(self))

    @property
    def command(self) -> str:
        """What stands behind `recurra train`."""
        return self.settings().task or reference_of(type(self), typed=True)

    @property
    def title(self) -> str:
        """The first line of what its settings say."""
        return " ".join((self.settings.__doc__ or self.name).split("\n\n")[0].split())

    # Data.

    def read(self, settings: Any, prepared: Any = None, *, labelled: bool = True) -> Any:
        """Read the inputs that the settings name.

        Args:
            settings: those of the run, with the inputs of training, or of an evaluation or prediction.
            prepared: what a trained model knows (classes, channels, vocabulary); None before training.
            labelled: whether targets are read; a prediction has none.

        Raises:
            DataError: for files that cannot be used.

        """
        raise NotImplementedError

    def prepare(self, settings: Any, data: Any, before: Any = None) -> Any:
        """Learn from training data what is needed beside weights: scales, classes, a vocabulary.

        Args:
            settings: the run's.
            data: as `read` gave them.
            before: what another run prepared, from which this one starts: to be used as it is, or extended.

        """
        del settings, data, before

    # Net and training.

    def net(self, settings: Any, prepared: Any, generator: Generator | None, member: int = 0) -> nn.Module:
        """Make a net with fresh weights drawn from `generator`; `member` counts those of an ensemble."""
        raise NotImplementedError

    def problem(self, settings: Any, prepared: Any, data: Any, net: nn.Module, streams: Streams) -> Problem:
        """Say how a net is trained; `streams` are the run's random streams."""
        raise NotImplementedError

    def train(self, run: Run, data: Any) -> Any:
        """Train and return the predictor; by default one loop over `problem` for each member, joined by `ensemble`."""
        return train_members(self, run, data)

    def ensemble(self, settings: Any, prepared: Any, nets: Sequence[nn.Module]) -> nn.Module | None:
        """Join the nets of all members, which are `members` of the result where there are several; default: the one."""
        del settings, prepared
        return nets[0]

    def network(self, settings: Any, prepared: Any) -> nn.Module | None:
        """Make the complete network with any weights, for saved ones to go into; None where there are none."""
        members = getattr(settings, "members", 1)
        return self.ensemble(settings, prepared, [self.net(settings, prepared, None, n) for n in range(members)])

    def predictor(self, settings: Any, prepared: Any, net: Any, arrays: Mapping[str, Any] | None) -> Any:
        """Make what `recurra.load` gives back.

        It has the attributes `net`, `prepared` and `settings`, may have `arrays` (saved beside the weights), and the
        methods of its capabilities (`recurra.tasks.capability`).
        """
        raise NotImplementedError

    # Measuring.

    def held_out(self, predictor: Any, data: Any) -> tuple[str, Any]:
        """Return the name of the split that measures a training, and its data, as `measure` takes them."""
        del predictor
        return "training", data

    def measure(self, predictor: Any, data: Any, options: Any) -> Measures:
        """Measure a predictor on labelled data; `options` are of type `evaluation`."""
        raise NotImplementedError

    def value(self, measures: Measures) -> float | None:
        """Return the metric of a measurement."""
        value: Any = measures.numbers
        for name in self.metric.split("."):
            value = value.get(name) if isinstance(value, Mapping) else None
        return value

    def selection(self, settings: Any) -> tuple[str, str]:
        """Return name and mode of the number by which two trainings of one cell are compared: never of test data."""
        return settings.train.stopping.monitor, settings.train.stopping.mode

    def selected(self, outcome: Any) -> float | None:
        """Return that number of a training: the mean of the best over its loops; without a loop the metric."""
        best = [result.best for result in outcome.results if result.best is not None]
        return sum(best) / len(best) if best else self.value(outcome.measures)

    def facts(self, run: Run, predictor: Any, data: Any) -> dict[str, Any]:
        """Return facts of a training for the run's notes, beside those of every run."""
        del run, predictor, data
        return {}

    def result(self, facts: Mapping[str, Any], measures: Measures, note: Mapping[str, Any]) -> dict[str, Any]:
        """Return what `recurra train --json` prints: facts of the training and measures."""
        del note
        return {**facts, **measures.numbers}

    # Showing. `view.measures` is the plain data that the last measurement left.

    def cell(self, settings: Any) -> str | None:
        """Return the name of the cell that the run uses: by default the setting of the option `--cell`."""
        option = options_of(self.settings).get("cell")
        return str(value_at(settings, option.path)) if option else None

    def lead(self, view: View) -> str:
        """Return a sentence on the run for the head of its report."""
        del view
        return ""

    def keys(self, view: View) -> list[Key]:
        """Return a few key numbers for the head of the report."""
        return self.page.keys(view) if self.page else []

    def tables(self, view: View) -> list[Table]:
        """Return the tables of a measurement, for the terminal and the report."""
        return self.page.tables(view) if self.page else []

    def figures(self, view: View) -> list[Figure]:
        """Return the figures of the report beside the curves of training."""
        return self.page.figures(view) if self.page else []

    def samples(self, view: View) -> list[Sample]:
        """Return texts that show what the model does."""
        del view
        return []

    # Documentation and tests.

    def example(self, folder: Path, seed: int = 0) -> list[str]:
        """Write tiny files, from which something can be learnt in seconds, and return the words behind the task's name.

        They are arguments of `recurra train NAME`: inputs, and options that make the training short.
        """
        raise NotImplementedError

    def may_change(self, name: str) -> bool:
        """Whether a resumed run may have another value of the setting `name` than it began with."""
        return name in (*_LIMITS, *self.free) or name in {setting.path for setting in inputs_of(self.settings)}


def train_members(task: Task, run: Run, data: Any) -> Any:
    """Train one loop over `task.problem` for each member, join their nets, and return the predictor."""
    settings, prepared = run.settings, run.prepare(data)

    def build(member: int, streams: Streams) -> Problem:
        net = task.net(settings, prepared, streams["init"], member)
        return task.problem(settings, prepared, data, net, streams)

    return task.predictor(settings, prepared, task.ensemble(settings, prepared, run.members(build)), None)
