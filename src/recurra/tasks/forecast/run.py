"""The run folder of a forecast: written by training, read back as a forecaster."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from shlex import quote
from typing import Any

import msgspec
import torch

from recurra.base import config
from recurra.base.errors import CheckpointError, message, nearest
from recurra.base.files import write_text
from recurra.data.series.series_set import SeriesSet
from recurra.tasks.forecast.backtest import Backtest, evaluate
from recurra.tasks.forecast.build import members_of
from recurra.tasks.forecast.forecaster import Forecaster
from recurra.tasks.forecast.looked import looked
from recurra.tasks.forecast.prepare import Preparation, read_data
from recurra.tasks.forecast.settings import ForecastSettings
from recurra.tasks.forecast.train import Trained, fit, summary
from recurra.tasks.text.folder import held
from recurra.tasks.text.run import CONFIG, FORMAT, NOTE, REPORT, WEIGHTS, read_note, write_note
from recurra.training import checkpoint
from recurra.training.progress import Progress

__all__ = ["HELD", "SERIES", "ForecastOutcome", "continuing", "load", "settings_of", "train_run"]

SERIES, HELD = "series.json", "held_out.json"

_OURS = (WEIGHTS, NOTE, REPORT, SERIES, HELD, "members")

# What a continued run may change; on the rest its checkpoints depend.
_FREE = ("threads", "train.iterations", "train.minutes", "train.log_every", "train.checkpoint_every", "data.file")


class ForecastOutcome(msgspec.Struct):
    """What a run came to."""

    folder: Path
    trained: Trained
    held: Backtest | None
    """On the test rows where there are any, else on the validation rows."""
    part: str


def continuing(folder: Path) -> str:
    """The command that goes on with the run in `folder`."""
    return f"recurra train forecast --out {quote(str(folder))} --resume"


def train_run(
    settings: ForecastSettings,
    folder: Path | str,
    *,
    series: SeriesSet | None = None,
    resume: bool = False,
    progress: Progress | None = None,
    command: str = "",
) -> ForecastOutcome:
    """Train into `folder`, and measure on the test rows (or, without any, the validation rows).

    Raises CheckpointError where the folder holds a run already or, with resume, none or one of other settings;
    DataError for data that cannot be used.
    """
    folder = Path(folder)
    _check(folder, settings, resume)
    series = read_data(settings.data) if series is None else series
    with held(folder):
        _check(folder, settings, resume)
        note = read_note(folder) if resume else {}
        config.save(settings, folder / CONFIG)
        commands = [*note.get("commands", []), *([command] if command else [])]
        write_note(folder, format=FORMAT, task="forecast", commands=commands, environment=_environment())
        trained = fit(series, settings, folder=folder, progress=progress, resume=resume, resume_hint=continuing(folder))
        if trained.interrupted:
            return ForecastOutcome(folder, trained, None, "")
        preparation = trained.forecaster.preparation
        write_text(folder / SERIES, json.dumps(dataclasses.asdict(preparation), ensure_ascii=False) + "\n")
        checkpoint.save_weights(folder / WEIGHTS, dict(trained.forecaster.net.state_dict()), {"task": "forecast"})
        part = "test" if settings.data.test else "validation"
        first = trained.ends if settings.data.test else trained.stops
        shown = series.until(series.ends) if settings.data.test else series.until(series.offsets[:-1] + trained.ends)
        stride = max(1, len(series) * int((shown.lengths - first).max()) // 20_000)
        found = evaluate(trained.forecaster, shown, first, stride=stride)
        examples = [dataclasses.asdict(example) for example in found.examples]
        kept = {"part": part, "levels": found.levels, **found.numbers(), "examples": examples}
        if (seen := looked(trained.forecaster, shown)) is not None:
            kept["attention"] = seen
        write_text(folder / HELD, json.dumps(kept, ensure_ascii=False) + "\n")
        facts = {"series": len(series), "rows": int(series.lengths.sum()), "overall": kept["overall"], "part": part}
        write_note(folder, result={**summary(trained), **facts})
        return ForecastOutcome(folder, trained, found, part)


def load(folder: Path | str) -> Forecaster:
    """The forecaster of a finished run.

    Raises CheckpointError where the folder is no run, is not finished, or its parts are damaged.
    """
    folder = Path(folder)
    settings = settings_of(folder)
    path = folder / WEIGHTS
    if not path.exists() or not (folder / SERIES).exists():
        hint = f"finish it: {continuing(folder)}"
        raise CheckpointError(message(str(path), "no such file: this run is not finished", hint=hint))
    try:
        preparation = msgspec.json.decode((folder / SERIES).read_bytes(), type=Preparation)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise CheckpointError(message(str(folder / SERIES), f"is damaged: {error}")) from error
    net = members_of(settings, preparation)
    weights, _ = checkpoint.load_weights(path)
    checkpoint.restore_weights(net, weights, str(path))
    return Forecaster(net, preparation, settings, folder)


def settings_of(folder: Path) -> ForecastSettings:
    """The settings of a run; CheckpointError where the folder is none."""
    path = folder / CONFIG
    if not path.exists():
        fact = "no such run" if not folder.exists() else f"is no run: it has no {CONFIG}"
        siblings = [found.parent.name for found in folder.parent.glob(f"*/{CONFIG}")]
        there = f"Runs in {folder.parent}: {', '.join(nearest(folder.name, siblings)[:8])}." if siblings else ""
        raise CheckpointError(message(str(folder), fact, there))
    return config.load(ForecastSettings, path)


def _check(folder: Path, settings: ForecastSettings, resume: bool) -> None:
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
    return {
        "recurra": own,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "cpus": os.cpu_count(),
        "machine": platform.machine(),
    }
