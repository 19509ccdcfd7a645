"""The run folder of an anomaly detector: written by training, read back as a detector."""

from __future__ import annotations

import json
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from shlex import quote
from typing import Any, NamedTuple

import numpy as np
import torch

from recurra.base import config
from recurra.base.errors import CheckpointError, message, nearest
from recurra.base.files import write_text
from recurra.tasks.anomaly.detector import Detector, Judged, NetDetector, OnlineRun
from recurra.tasks.anomaly.network import net_of
from recurra.tasks.anomaly.settings import AnomalySettings
from recurra.tasks.anomaly.table import Rows, read_rows
from recurra.tasks.anomaly.train import fit, note, seen_rows
from recurra.tasks.text.folder import held
from recurra.tasks.text.run import CONFIG, FORMAT, NOTE, REPORT, WEIGHTS, read_note, write_note
from recurra.training import checkpoint
from recurra.training.arrays import packed_state, unpacked_state
from recurra.training.progress import Progress

__all__ = ["DETECTOR", "STATE", "AnomalyOutcome", "continuing", "load", "settings_of", "train_run"]

DETECTOR, STATE = "detector.json", "state.safetensors"

_OURS = (WEIGHTS, NOTE, REPORT, DETECTOR, STATE, "training")
_FREE = ("threads", "train.iterations", "train.minutes", "train.log_every", "train.checkpoint_every", "data.file")


class AnomalyOutcome(NamedTuple):
    """What a run came to."""

    folder: Path
    detector: Detector | None
    """None where training was interrupted."""
    series: list[Rows]
    judged: tuple[Judged, ...] = ()
    """Of all rows, where training has judged them: the online detector does."""


def continuing(folder: Path) -> str:
    """The command that goes on with the run in `folder`."""
    return f"recurra train anomaly --out {quote(str(folder))} --resume"


def train_run(
    settings: AnomalySettings,
    folder: Path | str,
    *,
    resume: bool = False,
    progress: Progress | None = None,
    command: str = "",
) -> AnomalyOutcome:
    """Train into `folder`.

    Raises CheckpointError where the folder holds a run already or, with resume, none or one of other settings;
    DataError for data that cannot be used.
    """
    folder = Path(folder)
    _check(folder, settings, resume)
    series, channels = read_rows(settings.data.file, settings.data)
    seen = seen_rows(series, settings.data.test)
    with held(folder):
        _check(folder, settings, resume)
        before = read_note(folder) if resume else {}
        config.save(settings, folder / CONFIG)
        commands = [*before.get("commands", []), *([command] if command else [])]
        write_note(folder, format=FORMAT, task="anomaly", commands=commands, environment=_environment())
        options: dict[str, Any] = {"progress": progress, "resume": resume, "resume_hint": continuing(folder)}
        trained = fit(seen, channels, settings, folder=folder / "training", **options)
        if trained.result is not None and trained.result.reason == "interrupted":
            return AnomalyOutcome(folder, None, series)
        detector = trained.detector
        facts: dict[str, Any] = {"channels": channels, "threshold": detector.threshold}
        if isinstance(detector, NetDetector):
            facts["scales"] = detector.scales
            checkpoint.save_weights(folder / WEIGHTS, dict(detector.net.state_dict()), {"task": "anomaly"})
        elif isinstance(detector, OnlineRun):
            checkpoint.save(folder / STATE, packed_state(detector.state))
        write_text(folder / DETECTOR, json.dumps(facts, ensure_ascii=False) + "\n")
        rows = sum(len(one.values) for one in series)
        write_note(folder, result={"series": len(series), "rows": rows, "channels": len(channels), **note(trained)})
        return AnomalyOutcome(folder, detector, series, () if settings.data.test else trained.judged)


def load(folder: Path | str) -> Detector:
    """The detector of a finished run.

    Raises CheckpointError where the folder is no run, is not finished, or its parts are damaged.
    """
    folder = Path(folder)
    settings = settings_of(folder)
    path = folder / DETECTOR
    if not path.exists():
        fact, hint = "no such file: this run is not finished", f"finish it: {continuing(folder)}"
        raise CheckpointError(message(str(path), fact, hint=hint))
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        channels, threshold = tuple(facts["channels"]), float(facts["threshold"])
        scales = {name: (list(mean), list(spread)) for name, (mean, spread) in facts.get("scales", {}).items()}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(message(str(path), f"is damaged: {error!r}")) from error
    if settings.model == "online":
        return OnlineRun(settings, channels, threshold, unpacked_state(checkpoint.load(folder / STATE)))
    net = net_of(settings, len(channels))
    weights, _ = checkpoint.load_weights(folder / WEIGHTS)
    checkpoint.restore_weights(net, weights, str(folder / WEIGHTS))
    return NetDetector(settings, channels, threshold, net.eval(), scales)


def settings_of(folder: Path) -> AnomalySettings:
    """The settings of a run; CheckpointError where the folder is none."""
    path = folder / CONFIG
    if not path.exists():
        fact = "no such run" if not folder.exists() else f"is no run: it has no {CONFIG}"
        siblings = [found.parent.name for found in folder.parent.glob(f"*/{CONFIG}")]
        there = f"Runs in {folder.parent}: {', '.join(nearest(folder.name, siblings)[:8])}." if siblings else ""
        raise CheckpointError(message(str(folder), fact, there))
    return config.load(AnomalySettings, path)


def _check(folder: Path, settings: AnomalySettings, resume: bool) -> None:
    if folder.exists() and not folder.is_dir():
        raise CheckpointError(message(str(folder), "is a file; a run is a folder", hint="name another one."))
    exists = (folder / CONFIG).exists()
    found = [name for name in _OURS if (folder / name).exists()]
    if exists and not resume:
        hint = f"continue it: {continuing(folder)}; or name another folder."
        raise CheckpointError(message(str(folder), "holds a run already; nothing was changed", hint=hint))
    if resume and not exists:
        raise CheckpointError(message(str(folder), "holds no run that could be continued"))
    if found and not exists:
        fact = f"is no run, but has files that a run would overwrite: {', '.join(found)}; nothing was changed"
        raise CheckpointError(message(str(folder), fact, hint="name another folder."))
    if exists:
        before, now = (_flat(config.to_dict(one)) for one in (settings_of(folder), settings))
        faults = [
            f"{name}: {before.get(name, 'unset')} then, {now.get(name, 'unset')} now"
            for name in sorted(before.keys() | now.keys())
            if before.get(name) != now.get(name) and name not in _FREE
        ]
        if faults:
            fact = "a run goes on with the settings it began with; nothing was changed"
            raise CheckpointError(message(str(folder), fact, *faults))


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
    software = {"recurra": own, "python": platform.python_version(), "torch": torch.__version__}
    return {**software, "numpy": np.__version__, "threads": torch.get_num_threads(), "machine": platform.machine()}
