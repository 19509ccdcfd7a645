"""The run folder of a forecast: written by training, read back as a forecaster."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import msgspec

from recurra.base.files import write_text
from recurra.data.series.series_set import SeriesSet
from recurra.tasks.folder import WEIGHTS, Runs, free, write_note
from recurra.tasks.forecast.backtest import Backtest, evaluate
from recurra.tasks.forecast.build import members_of
from recurra.tasks.forecast.forecaster import Forecaster
from recurra.tasks.forecast.looked import looked
from recurra.tasks.forecast.prepare import Preparation, read_data
from recurra.tasks.forecast.settings import ForecastSettings
from recurra.tasks.forecast.train import Trained, fit, summary
from recurra.training import checkpoint
from recurra.training.progress import Progress

__all__ = ["HELD", "RUNS", "SERIES", "ForecastOutcome", "load", "train_run"]

SERIES, HELD = "series.json", "held_out.json"

RUNS = Runs("forecast", ForecastSettings, (SERIES, HELD), free("data.file"))


class ForecastOutcome(msgspec.Struct):
    """What a run came to."""

    folder: Path
    trained: Trained
    held: Backtest | None
    """On the test rows where there are any, else on the validation rows."""
    part: str


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
    RUNS.check(folder, settings, resume)
    series = read_data(settings.data) if series is None else series
    with RUNS.opened(folder, settings, resume, command):
        hint = RUNS.continuing(folder)
        trained = fit(series, settings, folder=folder, progress=progress, resume=resume, resume_hint=hint)
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
    settings = RUNS.settings(folder)
    path = RUNS.finished(folder)
    preparation: Preparation = RUNS.read_json(folder, SERIES, Preparation)
    net = members_of(settings, preparation)
    weights, _ = checkpoint.load_weights(path)
    checkpoint.restore_weights(net, weights, str(path))
    return Forecaster(net, preparation, settings, folder)
