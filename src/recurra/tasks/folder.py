"""A run's folder: what may be begun or continued there, its settings, and the notes that it keeps."""

from __future__ import annotations

import json
import os
import platform
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from shlex import quote
from typing import Any, Generic, TypeVar

import msgspec
import torch

from recurra.base import config
from recurra.base.errors import CheckpointError, DataError, message, nearest
from recurra.base.files import write_text

__all__ = [
    "CHECKPOINT",
    "CONFIG",
    "FORMAT",
    "MEMBERS",
    "NOTE",
    "REPORT",
    "WEIGHTS",
    "Runs",
    "environment",
    "footer",
    "free",
    "held",
    "read_note",
    "task_in",
    "write_note",
]

CONFIG, WEIGHTS, NOTE, REPORT = "config.toml", "weights.safetensors", "run.json", "report.html"
CHECKPOINT = "checkpoint/latest.safetensors"
MEMBERS = "members"
"""Where the loop of each member of an ensemble keeps its checkpoints and lines."""
FORMAT = 1
"""The version of run.json."""

_OURS = (WEIGHTS, NOTE, REPORT, "checkpoint", "metrics.jsonl", "events.jsonl", MEMBERS)
_FREE = ("threads", "train.iterations", "train.epochs", "train.minutes", "train.log_every", "train.checkpoint_every")

Kind = TypeVar("Kind", bound=msgspec.Struct)


def free(*names: str) -> Callable[[str], bool]:
    """Whether a setting may change when a run is continued: limits, how often what is written, and `names`."""
    return frozenset((*_FREE, *names)).__contains__


@dataclass(frozen=True)
class Runs(Generic[Kind]):
    """The run folders of one task.

    >>> from recurra.tasks.text.settings import TextSettings
    >>> Runs("text", TextSettings).continuing(Path("runs/x y"))
    "recurra train text --out 'runs/x y' --resume"
    """

    task: str
    kind: type[Kind]
    """Its settings."""
    files: tuple[str, ...] = ()
    """What it writes beside the usual."""
    may_change: Callable[[str], bool] = _FREE.__contains__
    """Of the dotted name of a setting: whether a continued run may have another value than it began with."""
    words: str = ""
    """What stands behind `recurra train`; empty: the task."""

    def continuing(self, folder: Path) -> str:
        """The command that goes on with the run in `folder`."""
        return f"recurra train {self.words or self.task} --out {quote(str(folder))} --resume"

    def settings(self, folder: Path) -> Kind:
        """The settings of a run; CheckpointError where the folder is none, or a run of another task."""
        found = task_in(folder)
        if found not in {None, self.task}:
            fact = f"is a run of the task {found}, one of {self.task} was expected"
            raise CheckpointError(message(str(folder), fact))
        return config.load(self.kind, folder / CONFIG)

    def check(self, folder: Path, settings: Kind, resume: bool) -> None:
        """CheckpointError where a new run would overwrite something, one to continue is none or of other settings."""
        if folder.exists() and not folder.is_dir():
            raise CheckpointError(message(str(folder), "is a file; a run is a folder", hint="name another one."))
        exists = (folder / CONFIG).exists()
        found = [name for name in (*_OURS, *self.files) if (folder / name).exists()]
        if exists and not resume:
            hint = f"continue it: {self.continuing(folder)}; or name another folder."
            raise CheckpointError(message(str(folder), "holds a run already; nothing was changed", hint=hint))
        if resume and not exists:
            hint = f"restore its {CONFIG}." if found else "leave out --resume to begin one there."
            raise CheckpointError(message(str(folder), "holds no run that could be continued", hint=hint))
        if found and not exists:
            fact = f"is no run, but has files that a run would overwrite: {', '.join(found)}; nothing was changed"
            raise CheckpointError(message(str(folder), fact, hint="name another folder."))
        if not exists:
            return
        before, now = (_flat(config.to_dict(one)) for one in (self.settings(folder), settings))
        faults = [
            f"{name}: {before.get(name, 'unset')} then, {now.get(name, 'unset')} now"
            for name in sorted(before.keys() | now.keys())
            if before.get(name) != now.get(name) and not self.may_change(name)
        ]
        if faults:
            fact = "a run goes on with the settings it began with; nothing was changed"
            hint = "leave those options out, or train in another folder."
            raise CheckpointError(message(str(folder), fact, *faults, hint=hint))

    @contextmanager
    def opened(self, folder: Path, settings: Kind, resume: bool, command: str = "") -> Iterator[None]:
        """The folder, held for this process, with the settings written, and `command` added to the run's notes.

        Raises CheckpointError as `check` does, and where another process trains there.
        """
        self.check(folder, settings, resume)
        with held(folder):
            # Again: another process may have begun here since.
            self.check(folder, settings, resume)
            note = read_note(folder) if resume else {}
            config.save(settings, folder / CONFIG)
            commands = [*note.get("commands", []), *([command] if command else [])]
            write_note(folder, format=FORMAT, task=self.task, commands=commands, environment=environment())
            yield

    def read_json(self, folder: Path, name: str, kind: Any) -> Any:
        """A file of a finished run as `kind`; CheckpointError where it is not there or damaged."""
        path = folder / name
        if not path.exists():
            raise self.unfinished(folder, name)
        try:
            return msgspec.json.decode(path.read_bytes(), type=kind)
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            raise CheckpointError(message(str(path), f"is damaged: {error}")) from error

    def finished(self, folder: Path) -> Path:
        """Where the weights of a run are; CheckpointError where it has none yet."""
        if not (folder / WEIGHTS).exists():
            raise self.unfinished(folder, WEIGHTS, "this run has no weights yet")
        return folder / WEIGHTS

    def unfinished(self, folder: Path, name: str, fact: str = "this run is not finished") -> CheckpointError:
        """What to say of a run that lacks the file `name`."""
        hint = f"finish it: {self.continuing(folder)}"
        return CheckpointError(message(str(folder / name), f"no such file: {fact}", hint=hint))


def task_in(folder: Path) -> str | None:
    """The task that a run's config.toml names; None where it names none, or cannot be read.

    Raises CheckpointError where the folder is no run, naming those beside it, or where its task is no name.
    """
    path = folder / CONFIG
    if not path.exists():
        fact = "no such run" if not folder.exists() else f"is no run: it has no {CONFIG}"
        siblings = [found.parent.name for found in folder.parent.glob(f"*/{CONFIG}")]
        there = f"Runs in {folder.parent}: {', '.join(nearest(folder.name, siblings)[:8])}." if siblings else ""
        raise CheckpointError(message(str(folder), fact, there))
    try:
        task = tomllib.loads(path.read_text(encoding="utf-8")).get("task")
    except (OSError, ValueError):
        # What is wrong with it is told by those who read the settings.
        return None
    if task is not None and not isinstance(task, str):
        raise CheckpointError(message(str(folder), f"config.toml names no task, but {task!r}"))
    return task


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Within the block no other process trains in `folder`, which is made where it is not there.

    The lock is on the folder itself and goes with the process, however that ends. Raises CheckpointError where another
    process has it, DataError where the folder cannot be made. Without fcntl (Windows) nothing is locked.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        hint = "choose another folder."
        raise DataError(message(str(folder), f"could not be made: {error.strerror}", hint=hint)) from error
    try:
        import fcntl
    except ImportError:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            hint = "wait for it or stop it; two would overwrite each other's weights."
            raise CheckpointError(message(str(folder), "another process trains there", hint=hint)) from error
        except OSError:
            # A file system without locks (some network mounts): training there is worth more than the guard.
            pass
        yield
    finally:
        os.close(handle)


def read_note(folder: Path) -> dict[str, Any]:
    """The facts of a run that are no settings (command, data, baseline, result); empty where there are none yet."""
    try:
        note = json.loads((folder / NOTE).read_text(encoding="utf-8"))
    except OSError:
        return {}
    except ValueError as error:
        hint = "restore it; or remove it, then the report lacks the command, the data and the baseline."
        raise CheckpointError(message(str(folder / NOTE), f"is damaged: {error}", hint=hint)) from error
    if not isinstance(note, dict) or note.get("format", FORMAT) != FORMAT:
        found = repr(note.get("format")) if isinstance(note, dict) else "none"
        fact = f"is of format {found}, this Recurra reads format {FORMAT}"
        raise CheckpointError(message(str(folder / NOTE), fact, hint="read it with the Recurra that wrote it."))
    return note


def write_note(folder: Path, **facts: Any) -> None:
    """Add to the facts of a run."""
    write_text(folder / NOTE, json.dumps({**read_note(folder), **facts}, ensure_ascii=False, indent=1) + "\n")


def environment() -> dict[str, Any]:
    """Software and machine, for the notes."""
    try:
        own = version("recurra")
    except PackageNotFoundError:
        own = "(not installed)"
    return {
        "recurra": own,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": version("numpy"),
        "threads": torch.get_num_threads(),
        "cpus": os.cpu_count(),
        "machine": platform.machine(),
    }


def footer(note: Mapping[str, Any]) -> str:
    """The last line of a report: software and machine."""
    where = note.get("environment", {})
    software = {"Recurra": "recurra", "Python": "python", "NumPy": "numpy", "torch": "torch"}
    parts = [f"{name} {where[key]}" for name, key in software.items() if key in where]
    if {"threads", "cpus", "machine"} <= where.keys():
        parts.append(f"{where['threads']} threads on {where['cpus']} CPUs, {where['machine']}")
    return " · ".join(parts)


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value}
    return flat
