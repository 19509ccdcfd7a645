"""What may be begun or continued in a run folder: nobody's files are overwritten, and a run goes on as it began."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from recurra.base import config
from recurra.base.errors import CheckpointError, DataError, message
from recurra.tasks.text.run import CONFIG, NOTE, REPORT, VOCABULARY, WEIGHTS, read_note, settings_of
from recurra.tasks.text.settings import TextSettings

__all__ = ["CHECKPOINT", "check_folder", "check_settings", "check_text", "continuing", "held"]

CHECKPOINT = "checkpoint/latest.safetensors"

_OURS = (VOCABULARY, WEIGHTS, NOTE, REPORT, "checkpoint", "metrics.jsonl", "samples.jsonl", "events.jsonl")

_FIXED = (
    *("seed", "data.level", "data.train", "data.test", "data.batch_size", "data.chunk"),
    *("model.cell", "model.hidden_size", "model.num_layers", "model.embedding_size", "model.tied", "model.residual"),
    *("model.learned_initial_state", "train.gradient", "train.optim.name", "train.average.kind"),
)
"""Settings on which the checkpoint depends; the others (rates, limits, dropout, how often what) may change."""


def continuing(folder: Path) -> str:
    """The command that continues the run in `folder`."""
    return f"recurra train text --out {shlex.quote(str(folder))} --resume"


def check_folder(folder: Path, resume: bool) -> None:
    """CheckpointError where a new run would overwrite something, or where there is nothing to continue."""
    if folder.exists() and not folder.is_dir():
        raise CheckpointError(message(str(folder), "is a file; a run is a folder", hint="name another one."))
    exists = (folder / CONFIG).exists()
    found = [name for name in _OURS if (folder / name).exists()]
    if exists and not resume:
        raise CheckpointError(
            message(
                str(folder),
                "holds a run already; nothing was changed",
                hint=f"continue it: {continuing(folder)}; or name another folder.",
            )
        )
    if resume and not exists:
        hint = f"restore its {CONFIG}." if found else "leave out --resume to begin one there."
        raise CheckpointError(message(str(folder), "holds no run that could be continued", hint=hint))
    if found and not exists:
        fact = f"is no run, but has files that a run would overwrite: {', '.join(found)}; nothing was changed"
        raise CheckpointError(message(str(folder), fact, hint="name another folder."))


def check_settings(folder: Path, settings: TextSettings) -> None:
    """CheckpointError naming each setting that differs from the run's own and on which its checkpoint depends."""
    before, now = (_flat(config.to_dict(one)) for one in (settings_of(folder), settings))
    faults = [
        f"{name}: {before.get(name, 'unset')} then, {now.get(name, 'unset')} now"
        for name in sorted(before.keys() | now.keys())
        if before.get(name) != now.get(name) and any(f"{name}.".startswith(f"{fixed}.") for fixed in _FIXED)
    ]
    if faults:
        fact = "a run goes on with the settings it began with; nothing was changed"
        hint = "leave those options out, or train in another folder."
        raise CheckpointError(message(str(folder), fact, *faults, hint=hint))
    gone = [name for name in settings.data.files if not Path(name).exists()]
    if gone:
        fact = f"the text of the run in {folder} is gone"
        command = f"recurra train text FILE --out {shlex.quote(str(folder))} --resume"
        raise DataError(message(gone[0], fact, hint=f"say where it is now: {command}"))


def check_text(folder: Path, text: Mapping[str, Any]) -> None:
    """CheckpointError where the text is not the one that the run began with."""
    before = read_note(folder).get("text", {})
    if before and before["digest"] != text["digest"]:
        raise CheckpointError(
            message(
                str(folder),
                f"the text has changed since this run began: {before['symbols']:,} symbols then, "
                f"{text['symbols']:,} now",
                hint="a run continues on the text it began with; train on another text in another folder.",
            )
        )


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


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value}
    return flat
