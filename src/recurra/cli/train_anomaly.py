"""Make an anomaly detector: recurra train anomaly data.csv --out runs/x.

The table is long (unique_id, ds, y) or wide (columns are channels of one series); rows are taken as they stand, stamps
may repeat and leave gaps. --model online (the default) learns while a stream runs and needs no training: the run keeps
its settings, and where the streams of the data stood. forecast and autoencoder train a recurrent net on rows that are
mostly normal; a column of labels (0 and 1) keeps known anomalies out of it.

Settings come from, each over the one before: the defaults, --config FILE, --set key=value, and the options below. With
--resume they come from the run itself.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from pathlib import Path
from typing import Any

import msgspec

from recurra.base import config
from recurra.base.errors import ConfigError, message
from recurra.cli.style import bold, dim
from recurra.tasks.anomaly.settings import MODELS, AnomalySettings

__all__ = ["configure", "run", "show_measured"]

INTERRUPTED = 130

_OPTIONS = {
    "model": ("model", f"one of {', '.join(MODELS)} (default online)"),
    "id": ("data.id", "column that tells series apart (default: unique_id)"),
    "time": ("data.time", "column of time stamps (default: ds, timestamp, date ...)"),
    "zone": ("data.zone", "whose clock tells the time of day, for stamps with an offset"),
    "label": ("data.label", "column of 0 and 1 (default: label or anomaly, where there is one)"),
    "test": ("data.test", "rows at the end of each series that training never sees (default 0)"),
    "cell": ("net.cell", "recurrent cell (default gru)"),
    "hidden": ("net.hidden", "units (default 32)"),
    "window": ("net.window", "rows that the autoencoder sees (default 32)"),
    "false-alarms": ("threshold.rate", "share of normal rows that may reach the threshold (default 0.001)"),
    "quiet-rows": ("quiet", "an alarm is odder than each of so many rows before it (default 30)"),
    "iterations": ("train.iterations", "updates of the weights at most (default 600)"),
    "seed": ("seed", "of weights and order (default 0)"),
    "threads": ("threads", "CPU threads; 0: torch's choice"),
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this verb."""
    parser.add_argument("file", nargs="?", metavar="FILE", help="the table of series")
    parser.add_argument("--out", metavar="FOLDER", required=True, help="the run folder to write")
    parser.add_argument("--resume", action="store_true", help="continue the run in that folder")
    parser.add_argument("--config", metavar="FILE", help="settings in TOML, such as a recipe")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="any setting by its dotted name"
    )
    parser.add_argument("--show-config", action="store_true", help="print the settings as TOML and stop")
    parser.add_argument("--json", action="store_true", help="print the result as JSON, nothing else")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    parser.add_argument("--target", metavar="NAMES", help="columns of values, separated by commas")
    for option, (_, about) in _OPTIONS.items():
        parser.add_argument(f"--{option}", metavar=option.upper(), help=about)


def run(arguments: argparse.Namespace) -> int:
    """Train, judge the data, print what was found."""
    folder = Path(arguments.out)
    settings = _settings(arguments, folder)
    if arguments.show_config:
        import tomli_w

        print(tomli_w.dumps(config.to_dict(settings)), end="")
        return 0
    from recurra.tasks.anomaly.evaluate import judged_rows
    from recurra.tasks.anomaly.report import keep, write_report
    from recurra.tasks.anomaly.run import RUNS, train_run
    from recurra.training.progress import Progress

    progress = Progress("quiet" if arguments.quiet or arguments.json else "auto")
    command = shlex.join(["recurra", *arguments.words])
    outcome = train_run(settings, folder, resume=arguments.resume, progress=progress, command=command)
    if outcome.detector is None:
        print(f"interrupted; continue with: {RUNS.continuing(folder)}", file=sys.stderr)
        return INTERRUPTED
    found = judged_rows(outcome.detector, outcome.series, judged=outcome.judged, test=settings.data.test)
    keep(folder, found)
    report = write_report(folder)
    if arguments.json:
        print(json.dumps({"folder": str(folder), "report": str(report), **found.numbers()}))
        return 0
    show_measured(found.numbers(), f"{settings.model}: {found.part}")
    print(f"\nThe run is in {folder}, its report in {report}")
    print(dim(f"recurra watch {shlex.quote(str(folder))} stream.csv"))
    return 0


def show_measured(numbers: dict[str, Any], title: str) -> None:
    """A few lines: rows, alarms, and against the labels where there are any."""
    print(bold(title))
    rows, series = numbers["rows"], numbers["series"]
    print(f"  {rows:,} rows of {series:,} series, threshold {numbers['threshold']:.4g}: {numbers['alarms']:,} alarms")
    if numbers.get("windows") is None:
        return
    told = f"{_shown(numbers['found'])} found, {_shown(numbers['false_alarms'])} false alarms"
    print(f"  {numbers['windows']} anomalies: {told}")
    print(
        f"  precision {_shown(numbers['precision'])}, recall {_shown(numbers['recall'])}, F1 {_shown(numbers['f1'])}"
        f" (by event), PR-AUC {_shown(numbers['pr_auc'])} (by row)"
    )
    per_day = numbers.get("false_alarms_per_day")
    if per_day is not None:
        print(f"  {_shown(per_day)} false alarms a day")
    if numbers.get("delay_rows") is not None:
        print(f"  median delay {_shown(numbers['delay_rows'])} rows")


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _settings(arguments: argparse.Namespace, folder: Path) -> AnomalySettings:
    """Defaults, config file (or the run's own), --set, options; ConfigError with every fault at once."""
    overrides = [*arguments.set]
    for option, (path, _) in _OPTIONS.items():
        if (value := getattr(arguments, option.replace("-", "_"))) is not None:
            overrides.append(f"{path}={value}")
    own = folder / "config.toml"
    if arguments.resume and arguments.config:
        fact = "--resume continues with the run's own settings, --config names others"
        raise ConfigError(message("recurra train anomaly", fact))
    source = own if arguments.resume and own.exists() else arguments.config
    if source:
        settings = config.load(AnomalySettings, source, overrides)
    else:
        settings = config.parse(AnomalySettings, {}, overrides)
    changes: dict[str, Any] = {}
    if arguments.target is not None:
        changes["target"] = tuple(part.strip() for part in arguments.target.split(",") if part.strip())
    if arguments.file:
        changes["file"] = str(Path(arguments.file).resolve())
    return msgspec.structs.replace(settings, data=msgspec.structs.replace(settings.data, **changes))
