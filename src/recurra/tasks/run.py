"""A training under way: loops, steps and notes, stored as they finish, so that resuming is running them again."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from recurra.base.errors import CheckpointError, message
from recurra.base.rng import Streams
from recurra.tasks.folder import CHECKPOINT, MEMBERS, STEPS, RunFolder, read_note, write_note
from recurra.tasks.start import Start
from recurra.tasks.task import Problem, Task
from recurra.training import checkpoint
from recurra.training.arrays import packed_state, unpacked_state
from recurra.training.callback import Callback
from recurra.training.loop import Trainer
from recurra.training.progress import Progress
from recurra.training.report import Result
from recurra.training.stream import Stream

__all__ = ["Interrupted", "TaskRun"]

Value = TypeVar("Value")


class Interrupted(Exception):
    """A loop was told to stop; what it had is saved. Not an error: whoever called `train` says how to go on."""


class TaskRun:
    """The `Run` that a task's `train` is handed; see `recurra.tasks.task.Run`.

    Args:
        task: whose.
        settings: of the run.
        folder: where it is stored; None: in memory only.
        resume: go on with what the folder has.
        progress: who is told.
        hint: the command that continues the run.
        start: another run whose weights and preparation this one starts from.
        callbacks: of every loop.
        begin: called before the first thing is written into the folder.

    """

    def __init__(
        self,
        task: Task,
        settings: Any,
        folder: Path | None = None,
        *,
        resume: bool = False,
        progress: Progress | None = None,
        hint: str = "",
        start: Start | None = None,
        callbacks: Sequence[Callback] = (),
        begin: Callable[[], None] | None = None,
    ) -> None:
        self.task, self.settings, self.folder = task, settings, folder
        self.resume, self.progress, self.hint, self.start = resume, progress or Progress("quiet"), hint, start
        self.callbacks, self._begin_folder = tuple(callbacks), begin
        self._waiting: list[Callable[[], None]] = []
        """What is to be written when the training begins: until then nothing is."""
        self._committed = False
        self._started: dict[str, Any] = {}
        """What each loop took from the other run."""
        self.streams: dict[str, Stream] = {}
        """The training stream of each loop."""
        self.results: list[Result] = []
        """How each loop ended."""
        self.trained = 0
        """Parameters of the nets that went through loops."""
        self.wall_s = 0.0
        """Seconds of all loops, those before a resume included."""
        self._began = time.monotonic()

    def prepare(self, data: Any) -> Any:
        """See `Run`."""
        before = self.start.prepared_for(self.task) if self.start else None
        prepared = self.task.prepare(self.settings, data, before)
        if self.folder:
            run_folder = RunFolder(self.task, self.folder)
            self._write(lambda: run_folder.save_prepared(prepared))
        return prepared

    def commit(self) -> None:
        """Write what has waited: settings, notes, preparation. From here on the folder is a run."""
        if self._committed:
            return
        self._committed = True
        if self._begin_folder:
            self._begin_folder()
        for write in self._waiting:
            write()
        self._waiting.clear()

    def _write(self, write: Callable[[], None]) -> None:
        if self._committed:
            write()
        else:
            self._waiting.append(write)

    def loop(self, name: str, build: Callable[[Streams], Problem], *, seed: int | None = None) -> nn.Module:
        """See `Run`. Raises Interrupted after Ctrl-C or SIGTERM, TrainingError where numbers run away."""
        return self._loop(name, build, seed, 0)

    def _loop(self, name: str, build: Callable[[Streams], Problem], seed: int | None, member: int) -> nn.Module:
        number = int(self.settings.seed if seed is None else seed)
        streams = Streams(number)
        # Dropout, and whatever else draws from torch's own generator.
        torch.manual_seed(number)
        problem = build(streams)
        self.streams[name] = problem.stream
        if self.start:
            self._started[name] = self.start.into(problem.model, self.say, member)
            self.note(start=dict(self._started))
        folder = self.folder / name if self.folder else None
        saved = self.resume and folder is not None and (folder / CHECKPOINT).exists()
        if self.resume and not saved and self.folder and "result" in read_note(self.folder):
            hint = "its weights are whole; restore the checkpoint to go on, or train in another folder."
            where = str(self.folder / name / CHECKPOINT)
            raise CheckpointError(message(where, "a finished run without checkpoint", hint=hint))
        trainer = Trainer(
            problem.model,
            problem.objective,
            problem.stream,
            problem.config or self.settings.train,
            evaluate=problem.evaluate,
            sample=problem.sample,
            callbacks=(*self.callbacks, *problem.callbacks),
            folder=folder,
            streams=streams,
            progress=self.progress,
            resume_hint=self.hint,
        )
        if saved:
            trainer.resume()
            if problem.resumed:
                problem.resumed(trainer)
        self.commit()
        if folder and not saved:
            self._begin(name, folder)
        if problem.evaluate_first and not saved:
            trainer.judge()
        result = trainer.train()
        self.results.append(result)
        self.wall_s += trainer.wall_s
        self.trained += sum(parameter.numel() for parameter in trainer.parameters)
        if result.reason == "interrupted":
            raise Interrupted(self.hint)
        return problem.model.eval()

    def members(self, build: Callable[[int, Streams], Problem]) -> list[nn.Module]:
        """See `Run`."""
        # A task that has no ensembles has its one loop in the run's folder itself.
        count = getattr(self.settings, "members", 0)
        return [
            self._loop(
                f"{MEMBERS}/{member + 1}" if count else ".",
                lambda streams, member=member: build(member, streams),
                self.settings.seed + member,
                member,
            )
            for member in range(max(1, count))
        ]

    def step(self, name: str, function: Callable[..., Value], *arguments: Any) -> Value:
        """See `Run`."""
        path = self._step(name)
        if path and self.resume and path.exists():
            return _stored(path)["value"]
        value = function(*arguments)
        return self._store(path, value=value)["value"] if path else value

    def repeat(self, name: str, state: Value, update: Callable[[Value], Value], times: int) -> Value:
        """See `Run`."""
        path, done = self._step(name), 0
        if path and self.resume and path.exists():
            stored = _stored(path)
            state, done = stored["value"], stored["done"]
        for count in range(done + 1, times + 1):
            state = update(state)
            if path:
                state = self._store(path, value=state, done=count)["value"]
        return state

    def say(self, text: str) -> None:
        """See `Run`."""
        self.progress.say(text)

    def note(self, **facts: Any) -> None:
        """See `Run`."""
        if self.folder:
            folder = self.folder
            self._write(lambda: write_note(folder, **facts))

    def facts(self) -> dict[str, Any]:
        """Return what every run has to say of its training."""
        results = self.results
        return {
            "parameters": self.trained,
            "iterations": [result.iteration for result in results],
            "reasons": [result.reason for result in results],
            "best": [result.best for result in results],
            "seconds": self.wall_s or time.monotonic() - self._began,
        }

    def _begin(self, name: str, folder: Path) -> None:
        """A run that was killed before its first checkpoint begins again."""
        if name != "." and folder.exists():
            shutil.rmtree(folder)
        elif self.resume:
            self.say(f"{folder}: no checkpoint was written yet, so the run begins again")

    def _step(self, name: str) -> Path | None:
        return self.folder / STEPS / f"{name}.safetensors" if self.folder else None

    def _store(self, path: Path, **state: Any) -> dict[str, Any]:
        """Return the state as a resumed run will read it, so that both go on with the same types."""
        self.commit()
        checkpoint.save(path, packed_state(state))
        return _stored(path)


def _stored(path: Path) -> dict[str, Any]:
    return unpacked_state(checkpoint.load(path))
