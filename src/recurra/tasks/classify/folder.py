"""The run folder of a task on series: what may be begun or continued there, and the notes that a run keeps."""

from __future__ import annotations

import os
import platform
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from shlex import quote
from typing import Any, TypeVar

import msgspec
import torch

from recurra.base import config
from recurra.base.errors import CheckpointError, message, nearest
from recurra.tasks.text.folder import held
from recurra.tasks.text.run import CONFIG, FORMAT, NOTE, REPORT, WEIGHTS, read_note, write_note

__all__ = ["MEMBERS", "continuing", "footer", "opened", "read_json", "settings_of"]

MEMBERS = "members"
"""Where the loop of each member keeps its checkpoints and lines."""

_FREE = ("threads", "train.iterations", "train.epochs", "train.minutes", "train.log_every", "train.checkpoint_every")
_FREE += ("data.file", "data.test", "data.events")

Kind = TypeVar("Kind", bound=msgspec.Struct)


def continuing(task: str, folder: Path) -> str:
    """The command that goes on with the run in `folder`."""
    return f"recurra train {task} --out {quote(str(folder))} --resume"


@contextmanager
def opened(
    task: str, folder: Path, settings: msgspec.Struct, resume: bool, command: str, files: Sequence[str] = ()
) -> Iterator[None]:
    """The folder, held for this process, with the settings written. files: what the task writes beside the usual.

    Raises CheckpointError where a new run would overwrite something, where there is nothing to continue, or where
    settings differ on which its checkpoints depend.
    """
    ours = (WEIGHTS, NOTE, REPORT, MEMBERS, *files)
    _check(task, folder, settings, resume, ours)
    with held(folder):
        _check(task, folder, settings, resume, ours)
        note = read_note(folder) if resume else {}
        config.save(settings, folder / CONFIG)
        commands = [*note.get("commands", []), *([command] if command else [])]
        write_note(folder, format=FORMAT, task=task, commands=commands, environment=_environment())
        yield


def settings_of(kind: type[Kind], folder: Path) -> Kind:
    """The settings of a run; CheckpointError where the folder is none, or a run of another task."""
    path = folder / CONFIG
    if not path.exists():
        fact = "no such run" if not folder.exists() else f"is no run: it has no {CONFIG}"
        siblings = [found.parent.name for found in folder.parent.glob(f"*/{CONFIG}")]
        there = f"Runs in {folder.parent}: {', '.join(nearest(folder.name, siblings)[:8])}." if siblings else ""
        raise CheckpointError(message(str(folder), fact, there))
    task, found = getattr(kind(), "task", None), _task_in(path)
    if task is not None and found is not None and found != task:
        fact = f"is a run of the task {found}, one of {task} was expected"
        raise CheckpointError(message(str(folder), fact))
    return config.load(kind, path)


def read_json(task: str, folder: Path, name: str, kind: Any) -> Any:
    """A file of a finished run as `kind`; CheckpointError where it is not there or damaged."""
    path = folder / name
    if not path.exists() or not (folder / WEIGHTS).exists():
        hint = f"finish it: {continuing(task, folder)}"
        raise CheckpointError(message(str(path), "no such file: this run is not finished", hint=hint))
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise CheckpointError(message(str(path), f"is damaged: {error}")) from error


def footer(note: Mapping[str, Any]) -> str:
    """The last line of a report: software and machine."""
    where = note.get("environment", {})
    software = {"Recurra": "recurra", "Python": "python", "torch": "torch"}
    parts = [f"{name} {where[key]}" for name, key in software.items() if key in where]
    if "threads" in where:
        parts.append(f"{where['threads']} threads on {where['cpus']} CPUs, {where['machine']}")
    return " · ".join(parts)


def _check(task: str, folder: Path, settings: msgspec.Struct, resume: bool, ours: Sequence[str]) -> None:
    if folder.exists() and not folder.is_dir():
        raise CheckpointError(message(str(folder), "is a file; a run is a folder", hint="name another one."))
    exists = (folder / CONFIG).exists()
    found = [name for name in ours if (folder / name).exists()]
    if exists and not resume:
        hint = f"continue it: {continuing(task, folder)}; or name another folder."
        raise CheckpointError(message(str(folder), "holds a run already; nothing was changed", hint=hint))
    if resume and not exists:
        raise CheckpointError(message(str(folder), "holds no run that could be continued"))
    if found and not exists:
        fact = f"is no run, but has files that a run would overwrite: {', '.join(found)}; nothing was changed"
        raise CheckpointError(message(str(folder), fact, hint="name another folder."))
    if exists:
        own = settings_of(type(settings), folder)
        before, now = (_flat(config.to_dict(one)) for one in (own, settings))
        faults = [
            f"{name}: {before.get(name, 'unset')} then, {now.get(name, 'unset')} now"
            for name in sorted(before.keys() | now.keys())
            if before.get(name) != now.get(name) and name not in _FREE
        ]
        if faults:
            fact = "a run goes on with the settings it began with; nothing was changed"
            raise CheckpointError(message(str(folder), fact, *faults))


def _task_in(path: Path) -> str | None:
    """The task that a config.toml names; None where it says nothing, or nothing that can be read."""
    try:
        task = tomllib.loads(path.read_text(encoding="utf-8")).get("task")
    except (OSError, ValueError):
        return None
    return task if isinstance(task, str) else None


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value}
    return flat


def _environment() -> dict[str, Any]:
    try:
        own = version("recurra")
    except PackageNotFoundError:
        own = "(not installed)"
    return {
        "recurra": own,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "cpus": os.cpu_count(),
        "machine": platform.machine(),
    }
