"""Train a forecaster: recurra train forecast data.csv --target y --horizon 24 --out runs/x.

The table is long (unique_id, ds, y) or wide (one column per series); .csv, .tsv, .parquet, .gz. Settings come from,
each over the one before: the defaults, --config FILE, --set key=value, and the options below. With --resume they come
from the run itself.
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
from recurra.tasks.forecast.settings import MODELS, ForecastSettings

__all__ = ["configure", "run", "show_scores"]

INTERRUPTED = 130

_LISTS = {
    "target": ("data.target", "columns of values (default: y, or all columns of numbers), separated by commas"),
    "past": ("data.past", "covariates known up to now"),
    "known": ("data.known", "covariates known ahead"),
    "static": ("data.static", "covariates of a series as a whole"),
    "quantiles": ("quantiles", "such as 0.1,0.5,0.9"),
}

_OPTIONS = {
    "horizon": ("horizon", "steps ahead (default 24)"),
    "freq": ("data.freq", "spacing of the stamps, such as h, 15min, D (default: inferred)"),
    "id": ("data.id", "column that tells series apart (default: unique_id)"),
    "time": ("data.time", "column of time stamps (default: ds, date ...)"),
    "zone": ("data.zone", "time zone of stamps without an offset"),
    "season": ("season", "steps in a season (default: that of the frequency)"),
    "model": ("model.name", f"one of {', '.join(MODELS)} (default segment)"),
    "cell": ("model.cell", "recurrent cell (default gru)"),
    "hidden": ("model.hidden", "units (default 64)"),
    "look-back": ("model.look_back", "values that are read (default: three horizons or seven seasons)"),
    "members": ("members", "nets of as many seeds, joined by the median (default 1)"),
    "test": ("data.test", "rows at the end of each series that training never sees (default 0)"),
    "iterations": ("train.iterations", "updates of the weights at most (default 500)"),
    "minutes": ("train.minutes", "stop each net after so many; 0: no limit"),
    "rate": ("train.optim.learning_rate", "highest learning rate (default 0.001)"),
    "seed": ("seed", "of weights, dropout and order (default 0)"),
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
    for option, (_, about) in {**_LISTS, **_OPTIONS}.items():
        parser.add_argument(f"--{option}", metavar=option.upper(), help=about)


def run(arguments: argparse.Namespace) -> int:
    """Train, and print how good it is."""
    folder = Path(arguments.out)
    settings = _settings(arguments, folder)
    if arguments.show_config:
        import tomli_w

        print(tomli_w.dumps(config.to_dict(settings)), end="")
        return 0
    from recurra.tasks.forecast.report import write_report
    from recurra.tasks.forecast.run import RUNS, train_run
    from recurra.training.progress import Progress

    progress = Progress("quiet" if arguments.quiet or arguments.json else "auto")
    command = shlex.join(["recurra", *arguments.words])
    outcome = train_run(settings, folder, resume=arguments.resume, progress=progress, command=command)
    if outcome.held is None:
        print(f"interrupted; continue with: {RUNS.continuing(folder)}", file=sys.stderr)
        return INTERRUPTED
    report = write_report(folder)
    numbers = outcome.held.numbers()
    if arguments.json:
        facts = {"folder": str(folder), "report": str(report), "part": outcome.part, **numbers}
        print(json.dumps(facts))
        return 0
    show_scores(numbers, f"On the {outcome.part} rows, {numbers['origins']:,} forecasts", settings.model.name)
    print(f"\nThe run is in {folder}, its report in {report}")
    print(dim(f"recurra forecast {shlex.quote(str(folder))} data.csv --out forecast.csv"))
    return 0


def show_scores(numbers: dict[str, Any], title: str, name: str) -> None:
    """A small table: the model and the naive forecasts."""
    overall = numbers["overall"]
    print(bold(title))
    print(dim(f"  {'':<16}{'MAE':>12}{'MSE':>12}{'sMAPE':>10}{'MASE':>10}{'CRPS':>12}"))
    for prefix, row in (("", name), ("seasonal_naive.", "seasonal naive"), ("naive.", "last value")):
        cells = [_cell(overall.get(prefix + measure)) for measure in ("mae", "mse", "smape", "mase", "crps")]
        print(f"  {row:<16}{cells[0]:>12}{cells[1]:>12}{cells[2]:>10}{cells[3]:>10}{cells[4]:>12}")
    for measure in ("coverage_80", "coverage_90"):
        if overall.get(measure) is not None:
            print(f"  {100 * overall[measure]:.1f} % lie inside the {measure[-2:]} % interval")
    for other, test in numbers["against"].items():
        print(dim(f"  against {other.replace('_', ' ')}: {test['says']} (p = {test['p']:.2g}, Diebold and Mariano)"))


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _settings(arguments: argparse.Namespace, folder: Path) -> ForecastSettings:
    """Defaults, config file (or the run's own), --set, options; ConfigError with every fault at once."""
    overrides = [*arguments.set]
    for option, (path, _) in _OPTIONS.items():
        if (value := getattr(arguments, option.replace("-", "_"))) is not None:
            overrides.append(f"{path}={value}")
    own = folder / "config.toml"
    if arguments.resume and arguments.config:
        fact = "--resume continues with the run's own settings, --config names others"
        raise ConfigError(message("recurra train forecast", fact))
    source = own if arguments.resume and own.exists() else arguments.config
    if source:
        settings = config.load(ForecastSettings, source, overrides)
    else:
        settings = config.parse(ForecastSettings, {}, overrides)
    return _with_lists(settings, arguments)


def _with_lists(settings: ForecastSettings, arguments: argparse.Namespace) -> ForecastSettings:
    """What was given as names or numbers between commas, and the file."""
    changes: dict[str, Any] = {}
    for option in ("target", "past", "known", "static"):
        if (value := getattr(arguments, option)) is not None:
            changes[option] = tuple(part.strip() for part in value.split(",") if part.strip())
    if arguments.file:
        changes["file"] = str(Path(arguments.file).resolve())
    values = config.to_dict(msgspec.structs.replace(settings, data=msgspec.structs.replace(settings.data, **changes)))
    if arguments.quantiles is not None:
        try:
            values["quantiles"] = [float(part) for part in arguments.quantiles.split(",")]
        except ValueError as error:
            raise ConfigError(message("--quantiles", f"numbers between commas, got {arguments.quantiles!r}")) from error
    return config.parse(ForecastSettings, values)
