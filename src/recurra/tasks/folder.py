"""A run's folder: what may be begun or continued there, its settings, and the notes that it stores."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from shlex import quote
from typing import Any

import msgspec
import torch

from recurra.base import config
from recurra.base.errors import CheckpointError, DataError, message, nearest
from recurra.base.files import write_bytes, write_text
from recurra.base.option import inputs_of, value_at
from recurra.tasks.task import Task

__all__ = [
    "ARRAYS",
    "CHECKPOINT",
    "CONFIG",
    "FORMAT",
    "MEASURES",
    "MEMBERS",
    "NOTE",
    "REPORT",
    "STEPS",
    "WEIGHTS",
    "RunFolder",
    "environment",
    "footer",
    "input_identities",
    "locked",
    "read_note",
    "task_in",
    "write_note",
]

CONFIG, WEIGHTS, NOTE, REPORT = "config.toml", "weights.safetensors", "run.json", "report.html"
MEASURES, ARRAYS = "held_out.json", "state.safetensors"
CHECKPOINT = "checkpoint/latest.safetensors"
MEMBERS, STEPS = "members", "steps"
"""Where each loop has its checkpoints and lines, and where finished steps are stored."""
FORMAT = 1
"""The version of run.json."""

_FILES = (WEIGHTS, NOTE, REPORT, MEASURES, ARRAYS, "checkpoint", "metrics.jsonl", "events.jsonl", "samples.jsonl")
_BLOCK = 1 << 20


@dataclass(frozen=True)
class RunFolder:
    """The folder of a run of one task."""

    task: Task
    path: Path

    @property
    def resume_command(self) -> str:
        """The command that continues the run."""
        return f"recurra train {self.task.command} --out {quote(str(self.path))} --resume"

    def settings(self) -> Any:
        """Return the settings of the run; CheckpointError where the folder is none, or a run of another task."""
        name = task_in(self.path)
        if name not in {None, self.task.name}:
            fact = f"is a run of the task {name}, one of {self.task.name} was expected"
            raise CheckpointError(message(str(self.path), fact))
        return config.load(self.task.settings, self.path / CONFIG)

    def check(self, settings: Any, resume: bool) -> None:
        """Raise CheckpointError where a new run would overwrite something, or one to resume is none or another."""
        folder = self.path
        if folder.exists() and not folder.is_dir():
            raise CheckpointError(message(str(folder), "is a file; a run is a folder", hint="name another one."))
        exists = (folder / CONFIG).exists()
        names = (*_FILES, MEMBERS, STEPS, self.task.prepared_file)
        present = [name for name in names if (folder / name).exists()]
        if exists and not resume:
            hint = f"continue it: {self.resume_command}; or name another folder."
            raise CheckpointError(message(str(folder), "holds a run already; nothing was changed", hint=hint))
        if resume and not exists:
            hint = f"restore its {CONFIG}." if present else "leave out --resume to begin one there."
            raise CheckpointError(message(str(folder), "holds no run that could be continued", hint=hint))
        if present and not exists:
            fact = f"is no run, but has files that a run would overwrite: {', '.join(present)}; nothing was changed"
            raise CheckpointError(message(str(folder), fact, hint="name another folder."))
        if exists:
            self._check_settings(settings)

    def check_inputs(self, settings: Any) -> None:
        """Raise DataError where a file that a resumed run reads is gone, CheckpointError where it has changed."""
        before = read_note(self.path).get("inputs", {})
        for setting in inputs_of(self.task.settings):
            value = value_at(settings, setting.path)
            paths = [path for path in (value if setting.several else [value]) if path]
            for path in paths:
                if not Path(path).exists():
                    fact = f"the data of the run in {self.path} is gone"
                    option = f"--{setting.name} FILE" if setting.input and setting.input.name else "FILE"
                    command = f"recurra train {self.task.command} {option} --out {quote(str(self.path))} --resume"
                    raise DataError(message(path, fact, hint=f"name the file where it is now: {command}"))
            present = [_identity(path) for path in paths]
            known = before.get(setting.path, present)
            if known != present:
                sizes = f"{_bytes(known):,} bytes then, {_bytes(present):,} now"
                fact = f"the data ({setting.path}) has changed since this run began: {sizes}"
                hint = "a run continues on the data it began with; train on other data in another folder."
                raise CheckpointError(message(str(self.path), fact, hint=hint))

    @contextmanager
    def opened(self, settings: Any, resume: bool, **facts: Any) -> Iterator[Callable[[], None]]:
        """Lock the folder for this process; the function that is yielded writes settings and first notes, once.

        Until that is called the folder stays as it was, and one that was not there goes again: what is found to be
        wrong before training begins leaves nothing behind. Raises CheckpointError as `check` does, and where another
        process trains there.
        """
        self.check(settings, resume)
        new, begun = not self.path.exists(), False

        def begin() -> None:
            nonlocal begun
            if not begun:
                begun = True
                self._begin(settings, resume, dict(facts))

        try:
            with locked(self.path):
                # Again: another process may have begun here since.
                self.check(settings, resume)
                yield begin
        finally:
            if new and not begun:
                with suppress(OSError):
                    self.path.rmdir()

    def _begin(self, settings: Any, resume: bool, facts: dict[str, Any]) -> None:
        note = read_note(self.path) if resume else {}
        config.save(settings, self.path / CONFIG)
        command = facts.pop("command", "")
        commands = [*note.get("commands", []), *([command] if command else [])]
        write_note(
            self.path,
            format=FORMAT,
            task=self.task.name,
            commands=commands,
            environment=environment(),
            inputs=note.get("inputs") or input_identities(settings),
            **facts,
        )

    def prepared(self) -> Any:
        """Return what the run prepared; CheckpointError where that is not there or damaged."""
        if self.task.prepared is None:
            return None
        path = self.path / self.task.prepared_file
        if not path.exists():
            raise self.unfinished(self.task.prepared_file)
        content = path.read_bytes()
        try:
            prepared = msgspec.json.decode(content, type=self.task.prepared)
        except (msgspec.DecodeError, msgspec.ValidationError, ValueError) as error:
            raise CheckpointError(message(str(path), f"is damaged: {error}")) from error
        digest = read_note(self.path).get("prepared_digest")
        if digest is not None and digest != _digest(content):
            hint = "restore the file, or train anew: labels and symbols would stand for others."
            raise CheckpointError(message(str(path), "is not what this run was trained with", hint=hint))
        return prepared

    def save_prepared(self, prepared: Any) -> None:
        """Store what was prepared."""
        if self.task.prepared is not None:
            content = msgspec.json.encode(prepared) + b"\n"
            write_bytes(self.path / self.task.prepared_file, content)
            write_note(self.path, prepared_digest=_digest(content))

    def measures(self) -> dict[str, Any]:
        """Return the plain data of the last measurement; empty where there is none yet."""
        try:
            return json.loads((self.path / MEASURES).read_text(encoding="utf-8"))
        except OSError:
            # Runs of earlier releases have the measures of text models and benchmarks among their notes.
            result = read_note(self.path).get("result", {})
            return dict(result) if self.task.metric in result or "metrics" in result else {}
        except ValueError as error:
            raise CheckpointError(message(str(self.path / MEASURES), f"is damaged: {error}")) from error

    def finished(self) -> Path:
        """Return where the weights of the run are; CheckpointError where it has none yet."""
        if not (self.path / WEIGHTS).exists():
            raise self.unfinished(WEIGHTS, "this run has no weights yet")
        return self.path / WEIGHTS

    def unfinished(self, name: str, fact: str = "this run is not finished") -> CheckpointError:
        """Make the error for a run that lacks the file `name`."""
        hint = f"finish it: {self.resume_command}"
        return CheckpointError(message(str(self.path / name), f"no such file: {fact}", hint=hint))

    def _check_settings(self, settings: Any) -> None:
        before, now = (_flat(config.to_dict(values)) for values in (self.settings(), settings))
        faults = [
            f"{name}: {before.get(name, 'unset')} then, {now.get(name, 'unset')} now"
            for name in sorted(before.keys() | now.keys())
            if before.get(name) != now.get(name) and not self.task.may_change(name)
        ]
        if faults:
            fact = "a run goes on with the settings it began with; nothing was changed"
            hint = "leave those options out, or train in another folder."
            raise CheckpointError(message(str(self.path), fact, *faults, hint=hint))


def input_identities(settings: Any) -> dict[str, list[Any]]:
    """Return size and digest of every file that the settings name, by setting."""
    identities: dict[str, list[Any]] = {}
    for setting in inputs_of(type(settings)):
        value = value_at(settings, setting.path)
        identities[setting.path] = [_identity(path) for path in (value if setting.several else [value]) if path]
    return {name: files for name, files in identities.items() if files}


def _identity(path: str) -> dict[str, Any] | None:
    if not Path(path).is_file():
        return None
    digest = hashlib.blake2b(digest_size=16)
    with Path(path).open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
        return {"bytes": file.tell(), "digest": digest.hexdigest()}


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def _bytes(files: list[Any]) -> int:
    return sum(file["bytes"] for file in files if file)


def task_in(folder: Path) -> str | None:
    """Return the task that a run's config.toml names; None where it names none, or cannot be read.

    Raises CheckpointError where the folder is no run, naming those beside it, or where its task is no name.
    """
    path = folder / CONFIG
    if not path.exists():
        fact = "no such run" if not folder.exists() else f"is no run: it has no {CONFIG}"
        siblings = [path.parent.name for path in folder.parent.glob(f"*/{CONFIG}")]
        there = f"Runs in {folder.parent}: {', '.join(nearest(folder.name, siblings)[:8])}." if siblings else ""
        raise CheckpointError(message(str(folder), fact, there))
    try:
        task = tomllib.loads(path.read_text(encoding="utf-8")).get("task")
    except (OSError, ValueError):
        # What is wrong with it is reported by those who read the settings.
        return None
    if task is not None and not isinstance(task, str):
        raise CheckpointError(message(str(folder), f"config.toml names no task, but {task!r}"))
    return task


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes from training in `folder` within the block; the folder is made where it is not there.

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
    """Return the facts of a run that are no settings (command, data, baseline, result); empty where there are none."""
    try:
        note = json.loads((folder / NOTE).read_text(encoding="utf-8"))
    except OSError:
        return {}
    except ValueError as error:
        hint = "restore it; or remove it, then the report lacks the command, the data and the baseline."
        raise CheckpointError(message(str(folder / NOTE), f"is damaged: {error}", hint=hint)) from error
    if not isinstance(note, dict) or note.get("format", FORMAT) != FORMAT:
        other = repr(note.get("format")) if isinstance(note, dict) else "none"
        fact = f"is of format {other}, this Recurra reads format {FORMAT}"
        raise CheckpointError(message(str(folder / NOTE), fact, hint="read it with the Recurra that wrote it."))
    return note


def write_note(folder: Path, **facts: Any) -> None:
    """Add to the facts of a run."""
    write_text(folder / NOTE, json.dumps({**read_note(folder), **facts}, ensure_ascii=False, indent=1) + "\n")


def environment() -> dict[str, Any]:
    """Return software and machine, for the notes."""
    try:
        installed = version("recurra")
    except PackageNotFoundError:
        installed = "(not installed)"
    return {
        "recurra": installed,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": version("numpy"),
        "threads": torch.get_num_threads(),
        "cpus": os.cpu_count(),
        "machine": platform.machine(),
    }


def footer(note: Mapping[str, Any]) -> str:
    """Return the last line of a report: software and machine."""
    known = note.get("environment", {})
    software = {"Recurra": "recurra", "Python": "python", "NumPy": "numpy", "torch": "torch"}
    words = [f"{name} {known[key]}" for name, key in software.items() if key in known]
    if {"threads", "cpus", "machine"} <= known.keys():
        words.append(f"{known['threads']} threads on {known['cpus']} CPUs, {known['machine']}")
    return " · ".join(words)


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value}
    return flat
