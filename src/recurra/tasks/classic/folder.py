"""The run folder of a classic task: what may be begun or continued there, and the notes that a run keeps."""

from __future__ import annotations

import os
import platform
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from recurra.base import config
from recurra.base.errors import CheckpointError, message, nearest
from recurra.tasks.classic.catalogue import TASKS
from recurra.tasks.classic.problem import ClassicSettings
from recurra.tasks.text.folder import CHECKPOINT, held
from recurra.tasks.text.run import CONFIG, FORMAT, NOTE, REPORT, WEIGHTS, read_note, write_note

__all__ = ["continuing", "opened", "settings_of", "write_result"]

_OURS = (WEIGHTS, NOTE, REPORT, "checkpoint", "metrics.jsonl", "events.jsonl")

_FREE = ("train.iterations", "train.epochs", "train.minutes", "train.log_every", "train.evaluate_every", "stop")
_FREE += ("train.checkpoint_every", "threads")
"""Settings that may change when a run is continued; on the others its checkpoint depends."""


def continuing(folder: Path, task: str) -> str:
    """The command that continues the run in `folder`."""
    return f"recurra train task {task} --out {shlex.quote(str(folder))} --resume"


@contextmanager
def opened(folder: Path, settings: ClassicSettings, resume: bool, command: str) -> Iterator[bool]:
    """The folder, held for this process, with the settings written; gives whether there is a checkpoint to go on from.

    Raises CheckpointError where a new run would overwrite something, where there is nothing to continue, or where
    settings differ on which the checkpoint depends.
    """
    _check(folder, settings, resume)
    with held(folder):
        _check(folder, settings, resume)
        note = read_note(folder) if resume else {}
        config.save(settings, folder / CONFIG)
        commands = [*note.get("commands", []), *([command] if command else [])]
        write_note(folder, format=FORMAT, task=settings.task, commands=commands, environment=_environment())
        yield resume and (folder / CHECKPOINT).exists()


def write_result(folder: Path, numbers: dict[str, Any]) -> None:
    """Add what came out to the run's notes."""
    write_note(folder, result=numbers)


def settings_of(folder: Path) -> ClassicSettings:
    """The settings of a classic run; CheckpointError where the folder is none."""
    import tomllib

    path = folder / CONFIG
    if not path.exists():
        fact = "no such run" if not folder.exists() else f"is no run: it has no {CONFIG}"
        siblings = [found.parent.name for found in folder.parent.glob(f"*/{CONFIG}")]
        there = f"Runs in {folder.parent}: {', '.join(nearest(folder.name, siblings)[:8])}." if siblings else ""
        raise CheckpointError(message(str(folder), fact, there))
    try:
        name = tomllib.loads(path.read_text(encoding="utf-8")).get("task", "")
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CheckpointError(message(str(path), f"is damaged: {error}")) from error
    if name not in TASKS:
        raise CheckpointError(message(str(folder), f"is no run of a classic task, but of {name!r}"))
    return config.load(TASKS[name].settings, path)


def _check(folder: Path, settings: ClassicSettings, resume: bool) -> None:
    if folder.exists() and not folder.is_dir():
        raise CheckpointError(message(str(folder), "is a file; a run is a folder", hint="name another one."))
    exists = (folder / CONFIG).exists()
    found = [name for name in _OURS if (folder / name).exists()]
    if exists and not resume:
        hint = f"continue it: {continuing(folder, settings.task)}; or name another folder."
        raise CheckpointError(message(str(folder), "holds a run already; nothing was changed", hint=hint))
    if resume and not exists:
        hint = f"restore its {CONFIG}." if found else "leave out --resume to begin one there."
        raise CheckpointError(message(str(folder), "holds no run that could be continued", hint=hint))
    if found and not exists:
        fact = f"is no run, but has files that a run would overwrite: {', '.join(found)}; nothing was changed"
        raise CheckpointError(message(str(folder), fact, hint="name another folder."))
    if exists:
        _check_settings(folder, settings)


def _check_settings(folder: Path, settings: ClassicSettings) -> None:
    kept = settings_of(folder)
    before, now = _flat(config.to_dict(kept)), _flat(config.to_dict(settings))
    faults = [
        f"{name}: {before.get(name, 'unset')} then, {now.get(name, 'unset')} now"
        for name in sorted(before.keys() | now.keys())
        if before.get(name) != now.get(name) and name not in _FREE
    ]
    if faults:
        fact = "a run goes on with the settings it began with; nothing was changed"
        hint = "leave those options out, or train in another folder."
        raise CheckpointError(message(str(folder), fact, *faults, hint=hint))


def _flat(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
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
