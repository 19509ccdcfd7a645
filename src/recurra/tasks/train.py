"""Training a task into a folder, or in memory: check, read, lock, train, save, measure, note."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec
import torch

from recurra.base.errors import CheckpointError, message
from recurra.base.files import write_text
from recurra.tasks.folder import ARRAYS, MEASURES, WEIGHTS, RunFolder, write_note
from recurra.tasks.load import dumped, plain
from recurra.tasks.run import Interrupted, TaskRun
from recurra.tasks.start import Start
from recurra.tasks.task import Measures, Task
from recurra.training import checkpoint
from recurra.training.arrays import packed_state
from recurra.training.callback import Callback
from recurra.training.progress import Progress
from recurra.training.report import Result

__all__ = ["Outcome", "fit", "train"]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A finished (or interrupted) training."""

    task: Task
    settings: Any
    folder: Path | None
    predictor: Any
    """The trained model; None where the training was interrupted."""
    split: str = ""
    """What the measures are of: test, validation or training."""
    measures: Measures | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    """As in the run's notes: parameters, iterations, reasons, seconds ..."""
    results: tuple[Result, ...] = ()
    """Of every loop."""

    @property
    def interrupted(self) -> bool:
        """Whether the training was stopped before its end."""
        return self.predictor is None


def fit(task: Task, settings: Any, data: Any, **options: Any) -> Any:
    """Train in memory and return the predictor; options as of `TaskRun`. Raises KeyboardInterrupt after Ctrl-C."""
    _set_up(settings)
    try:
        return task.train(TaskRun(task, settings, **options), data)
    except Interrupted as stop:
        # Half-trained weights are no fit.
        raise KeyboardInterrupt from stop


def train(
    task: Task,
    settings: Any,
    folder: Path | str | None = None,
    *,
    data: Any = None,
    resume: bool = False,
    progress: Progress | None = None,
    command: str = "",
    hint: str = "",
    start: Start | None = None,
    notes: Mapping[str, Any] | None = None,
    callbacks: Sequence[Callback] = (),
) -> Outcome:
    """Train a task by `settings`, measure it on its held-out data, and store all of it in `folder`.

    Args:
        task: what to train.
        settings: of the type `task.settings`.
        folder: the run folder to write; None: nothing is written.
        data: as `task.read` gives them, where they are in memory already.
        resume: continue the run in the folder, to the bit on the same machine.
        progress: a bar; by default nothing is shown.
        command: what the user typed, for the report.
        hint: the command that continues the run, where that is not `recurra train NAME --out FOLDER --resume`.
        start: another run to start from (`recurra.tasks.start.start_from`).
        notes: further facts for the run's notes.
        callbacks: of every loop, as `Trainer` takes them.

    Raises:
        DataError: for data that cannot be used.
        CheckpointError: where the folder holds a run already or, with `resume`, none or another.
        TrainingError: where numbers run away.

    """
    if not settings.task:
        settings = msgspec.structs.replace(settings, task=task.name)
    if folder is None:
        if resume:
            raise CheckpointError(message(f"train {task.command}", "a run without a folder cannot be continued"))
        _set_up(settings)
        run = TaskRun(task, settings, None, progress=progress, start=start, callbacks=callbacks)
        return _trained(run, task.read(settings) if data is None else data)
    run_folder = RunFolder(task, Path(folder))
    run_folder.check(settings, resume)
    if resume:
        run_folder.check_inputs(settings)
    if start is not None:
        notes = {**(notes or {}), "from": {"run": str(start.folder.resolve()), "take": dict(start.rename)}}
    with _terminable():
        data = task.read(settings) if data is None else data
        with run_folder.opened(settings, resume, command=command, **(notes or {})) as begin:
            _set_up(settings)
            hint = hint or run_folder.resume_command
            options: dict[str, Any] = {"resume": resume, "progress": progress, "hint": hint, "start": start}
            run = TaskRun(task, settings, Path(folder), begin=begin, callbacks=callbacks, **options)
            return _trained(run, data)


def _set_up(settings: Any) -> None:
    # Denormals slow a peaked softmax's gradient down eightfold on x86.
    torch.set_flush_denormal(True)
    if settings.threads:
        torch.set_num_threads(settings.threads)


def _trained(run: TaskRun, data: Any) -> Outcome:
    task, folder = run.task, run.folder
    try:
        predictor = task.train(run, data)
    except Interrupted:
        return Outcome(task=task, settings=run.settings, folder=folder, predictor=None, results=tuple(run.results))
    if folder:
        run.commit()
        _save(run, predictor)
    split, held_out = task.held_out(predictor, data)
    measures = task.measure(predictor, held_out, task.evaluation())
    facts = {**run.facts(), "part": split, **task.facts(run, predictor, data)}
    if folder:
        write_text(folder / MEASURES, dumped({"part": split, **measures.plain}) + "\n")
        write_note(folder, result={**facts, **_summary(measures.numbers)})
    return Outcome(
        task=task,
        settings=run.settings,
        folder=folder,
        predictor=predictor,
        split=split,
        measures=measures,
        facts=facts,
        results=tuple(run.results),
    )


def _summary(numbers: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers, and groups of numbers; tables stay in the file of the measures."""
    flat = {name: value for name, value in plain(numbers).items() if not isinstance(value, list)}
    return {
        name: value
        for name, value in flat.items()
        if not isinstance(value, dict) or not any(isinstance(item, (dict, list)) for item in value.values())
    }


def _save(run: TaskRun, predictor: Any) -> None:
    folder = run.folder
    if folder is None:
        return
    predictor.folder = folder
    RunFolder(run.task, folder).save_prepared(predictor.prepared)
    if predictor.net is not None:
        _save_weights(folder / WEIGHTS, predictor.net.state_dict(), run.task.name)
    if getattr(predictor, "arrays", None):
        checkpoint.save(folder / ARRAYS, packed_state(predictor.arrays))


def _save_weights(path: Path, weights: dict[str, Any], task: str) -> None:
    """Write the weights; a loop that ran in the folder itself has done so, with the facts of their evaluation."""
    if path.exists():
        before, _ = checkpoint.load_weights(path)
        if before.keys() == weights.keys() and all(torch.equal(before[name], weights[name].cpu()) for name in weights):
            return
    checkpoint.save_weights(path, dict(weights), {"task": task})


@contextmanager
def _terminable() -> Iterator[None]:
    """Outside of the loop, which saves what it has, SIGTERM ends a training as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
