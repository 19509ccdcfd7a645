"""A benchmark task of the papers: its data, network, loss and measure, and the published figures to compare with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
import torch
from torch import Generator, Tensor, nn

from recurra.base.rng import Streams
from recurra.data.batch import Batch
from recurra.diagnostics.report import Figure, Key
from recurra.tasks import task as contract
from recurra.tasks.classic.figures import benchmark_figures, benchmark_keys, benchmark_lead, verdict_of
from recurra.tasks.classic.graded import climbing, with_level
from recurra.tasks.classic.settings import ClassicSettings
from recurra.tasks.classic.trained import ClassicRun
from recurra.tasks.task import Measures, Run, Table, Task, View
from recurra.training.callback import Callback, every
from recurra.training.loop import Trainer

__all__ = ["Benchmark", "Problem"]


@dataclass(frozen=True, kw_only=True)
class Problem(contract.Problem):
    """What the loop is given, and what pictures and diagnostics need of a benchmark."""

    evaluate: Callable[[nn.Module], dict[str, float]]  # pyright: ignore[reportGeneralTypeIssues]
    """Named numbers of a model, among them the task's metric; always of the same data."""
    losses: Callable[[Tensor, Tensor], Tensor]
    """`losses(outputs, y)`: the same loss of every row and step, (B, T) or (B, 1), 0 where there is no target."""
    examples: Batch
    """A few held-out sequences."""
    inputs: Sequence[str] = ()
    """Names of the input features."""
    outputs: Sequence[str] = ()
    """Names of the outputs."""
    shown: Callable[[Tensor], Tensor] = torch.sigmoid
    """From outputs to what a picture displays: probabilities from logits, or the outputs as they are."""

    def __post_init__(self) -> None:
        """Evaluations are never differentiated."""
        object.__setattr__(self, "evaluate", torch.no_grad()(self.evaluate))


@dataclass(frozen=True, kw_only=True)
class Benchmark(Task):
    """One named benchmark; all of them are declared as values, and share what a task of the contract needs."""

    name: str = ""
    title: str = ""
    """What is to be done, in one line."""
    settings: type[ClassicSettings]  # pyright: ignore[reportIncompatibleVariableOverride]
    model: Callable[[Any, Generator | None], nn.Module]
    """Settings and random stream -> the network, untrained; needs no data."""
    build: Callable[[Any, Streams], Problem]
    """Settings and the run's random streams -> the problem."""
    metric: str = ""  # pyright: ignore[reportIncompatibleVariableOverride]
    """The number of `evaluate` that is compared."""
    mode: Literal["min", "max"] = "min"  # pyright: ignore[reportIncompatibleVariableOverride]
    """Whether a lower or a higher one is better."""
    monitor: str = ""
    """The number by which the weights are selected, where that is another one than the metric."""
    monitor_mode: Literal["min", "max"] = "min"
    solved: Callable[[Mapping[str, float], Any], bool]
    """Evaluation and settings -> whether the task counts as solved."""
    rule: str
    """When it does, in words."""
    baseline: Callable[[Any], float | None] = lambda _: None
    """Settings -> the metric of the best answer that ignores the difficulty."""
    baseline_name: str = ""
    verdict: Callable[[Mapping[str, float], Any], str] | None = None
    """Evaluation and settings -> what it means, where "solved" or "not solved" does not say it."""
    paper: str = ""
    """The published figure."""
    source: str = ""
    """Author, year, where."""

    free = ("train.evaluate_every", "stop")
    needs_folder = False

    @property
    def command(self) -> str:
        """See `Task`."""
        return f"task {self.name}"

    def summary(self) -> dict[str, str]:
        """Return what a list of tasks says of this one."""
        return {name: getattr(self, name) for name in ("name", "title", "metric", "rule", "paper", "source")}

    def read(self, settings: Any, prepared: Any = None, *, labelled: bool = True) -> None:
        """Read nothing: the data are drawn."""
        del settings, prepared, labelled

    def net(self, settings: Any, prepared: Any, generator: Generator | None, member: int = 0) -> nn.Module:
        """See `Task`."""
        del prepared, member
        return self.model(settings, generator)

    def train(self, run: Run, data: Any) -> ClassicRun:
        """Train in one loop, which may end at the first evaluation that counts as solved."""
        del data
        settings = run.settings
        net = run.loop(".", lambda streams: self._problem(settings, self.build(settings, streams)))
        return ClassicRun(self, net, settings)

    def predictor(self, settings: Any, prepared: Any, net: Any, arrays: Mapping[str, Any] | None) -> ClassicRun:
        """See `Task`."""
        del prepared, arrays
        return ClassicRun(self, net, settings)

    def held_out(self, predictor: Any, data: Any) -> tuple[str, Any]:
        """Return the test sequences, which every evaluation draws alike."""
        del predictor
        return "test", data

    def measure(self, predictor: Any, data: Any, options: Any) -> Measures:
        """Return the benchmark's own numbers, its metric among them as `value`, and whether it counts as solved."""
        del data, options
        metrics = predictor.evaluate()
        solved = bool(self.solved(metrics, predictor.settings))
        value = {"task": self.name, "metric": self.metric, "value": metrics[self.metric], "solved": solved}
        return Measures(numbers={**value, "metrics": metrics}, scores=metrics)

    def value(self, measures: Measures) -> float:
        """See `Task`."""
        return measures.numbers["value"]

    def selection(self, settings: Any) -> tuple[str, str]:
        """See `Task`."""
        del settings
        return (self.monitor, self.monitor_mode) if self.monitor else (self.metric, self.mode)

    def selected(self, outcome: Any) -> float:
        """See `Task`."""
        return outcome.measures.numbers["metrics"][self.monitor or self.metric]

    def facts(self, run: Run, predictor: Any, data: Any) -> dict[str, Any]:
        """Return updates, sequences and the reason of the end."""
        del predictor, data
        settings, ended = run.settings, run.results[0]
        solved = bool(self.solved(ended.metrics, settings)) if ended.metrics else False
        early = settings.stop and ended.reason == "iterations" and ended.iteration < settings.train.iterations
        sequences = run.streams["."].sequences if hasattr(run.streams["."], "sequences") else None
        return {
            "updates": ended.iteration,
            "sequences": int(ended.iteration * settings.batch if sequences is None else sequences),
            "best_update": ended.best_iteration or ended.iteration,
            "reason": "solved" if early and solved else ended.reason,
            "cell": settings.cell,
            "hidden": settings.hidden,
            "seed": settings.seed,
        }

    def lead(self, view: View) -> str:
        """See `Task`."""
        return benchmark_lead(self, view)

    def keys(self, view: View) -> list[Key]:
        """See `Task`."""
        return benchmark_keys(self, view)

    def figures(self, view: View) -> list[Figure]:
        """See `Task`."""
        return benchmark_figures(self, view)

    def tables(self, view: View) -> list[Table]:
        """Return the numbers, beside the baseline and the published figure."""
        measures, result = view.measures, view.note.get("result", {})
        if not measures:
            return []
        rows = [(name, f"{value:.4g}") for name, value in measures["metrics"].items()]
        baseline = self.baseline(view.settings)
        if baseline is not None:
            rows.append((f"{self.metric} of the baseline", f"{baseline:.4g}  ({self.baseline_name})"))
        rows += [(name, f"{result[name]:,}") for name in ("sequences", "updates", "parameters") if name in result]
        if "seconds" in result:
            rows.append(("seconds", f"{result['seconds']:.1f}"))
        verdict = verdict_of(self, view.settings, measures["metrics"])
        notes = (f"Published: {self.paper}", self.source)
        return [Table(f"{self.name}: {verdict}", rows=tuple(rows), notes=notes)]

    def example(self, folder: Path, seed: int = 0) -> list[str]:
        """Return options only: the data are drawn."""
        del folder
        return ["--iterations", "20", "--seed", str(seed)]

    def _problem(self, settings: Any, problem: Problem) -> contract.Problem:
        watched, mode = (self.monitor, self.monitor_mode) if self.monitor else (self.metric, self.mode)
        stopping = msgspec.structs.replace(settings.train.stopping, monitor=watched, mode=mode)

        def resumed(trainer: Trainer) -> None:
            if settings.stop and trainer.metrics and self.solved(trainer.metrics, settings):
                _end(trainer)

        return contract.Problem(
            model=problem.model,
            objective=problem.objective,
            stream=problem.stream,
            evaluate=torch.no_grad()(with_level(problem, settings)),
            callbacks=(*climbing(problem, settings), *self._until_solved(settings)),
            config=msgspec.structs.replace(settings.train, stopping=stopping),
            resumed=resumed,
        )

    def _until_solved(self, settings: ClassicSettings) -> list[Callback]:
        """The callback that ends training at the first evaluation that counts as solved, right after that."""
        if not settings.stop:
            return []

        def check(trainer: Trainer) -> None:
            if trainer.evaluated == trainer.iteration and self.solved(trainer.metrics, settings):
                # Where the loss is watched, it may have been lower when the task was not solved yet.
                if trainer.stopping.iteration != trainer.iteration:
                    trainer.prefer()
                _end(trainer)

        return [Callback(every(settings.train.evaluate_every), check)]


def _end(trainer: Trainer) -> None:
    trainer.config = msgspec.structs.replace(trainer.config, iterations=trainer.iteration)
