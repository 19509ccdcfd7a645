"""Train a classifier of whole series: recurra train classify cases.ts --test more.ts --out runs/x.

Files: .ts (UCR/UEA), a UCR .txt or .tsv, .npz with X (cases, channels, time) and y, and long tables (.csv, .parquet)
with columns unique_id, ds, the channels and the class. Settings come from, each over the one before: the defaults,
--config FILE, --set key=value, and the options below. With --resume they come from the run itself.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from pathlib import Path
from typing import Any

from recurra.base.errors import ConfigError, message
from recurra.cli.style import bold, dim
from recurra.tasks.classify.settings import MODELS, ClassifySettings

__all__ = ["INTERRUPTED", "add_options", "configure", "from_options", "run", "show_scores"]

INTERRUPTED = 130

_OPTIONS = {
    "label": ("data.label", "column of classes in a table (default: label, class or target)"),
    "id": ("data.id", "column that tells cases apart (default: unique_id)"),
    "time": ("data.time", "column of stamps (default: ds, date, timestamp ...)"),
    "model": ("model.name", f"one of {', '.join(MODELS)} (default recurrent)"),
    "cell": ("model.cell", "recurrent cell (default lstm)"),
    "hidden": ("model.hidden", "units (default 64)"),
    "layers": ("model.layers", "recurrent layers (default 1)"),
    "pooling": ("model.pooling", "last, mean, max or attention (default attention)"),
    "members": ("members", "nets of as many seeds, whose probabilities are averaged (default 1)"),
    "validation": ("data.validation", "share of the cases that chooses the weights; 0: none (default 0.2)"),
    "iterations": ("train.iterations", "updates of the weights at most (default 500)"),
    "minutes": ("train.minutes", "stop each net after so many; 0: no limit"),
    "rate": ("train.optim.learning_rate", "highest learning rate (default 0.002)"),
    "batch": ("batch", "cases at once (default 128)"),
    "seed": ("seed", "of weights, dropout, order and the validation cases (default 0)"),
    "threads": ("threads", "CPU threads; 0: torch's choice"),
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this verb."""
    parser.add_argument("file", nargs="?", metavar="FILE", help="cases with their classes")
    parser.add_argument("--test", metavar="FILE", help="cases that are measured at the end, and never looked at before")
    parser.add_argument("--channels", metavar="NAMES", help="columns of values, between commas (default: all numbers)")
    add_options(parser, _OPTIONS)


def run(arguments: argparse.Namespace) -> int:
    """Train, and print how good it is."""
    folder = Path(arguments.out)
    settings = from_options(ClassifySettings, arguments, _OPTIONS, {"file": arguments.file, "test": arguments.test})
    if settings is None:
        return 0
    from recurra.tasks.classify.report import write_report
    from recurra.tasks.classify.run import RUNS, train_run
    from recurra.training.progress import Progress

    progress = Progress("quiet" if arguments.quiet or arguments.json else "auto")
    command = shlex.join(["recurra", *arguments.words])
    outcome = train_run(settings, folder, resume=arguments.resume, progress=progress, command=command)
    if outcome.scores is None:
        print(f"interrupted; continue with: {RUNS.continuing(folder)}", file=sys.stderr)
        return INTERRUPTED
    report = write_report(folder)
    classes = outcome.trained.classifier.classes
    numbers = outcome.scores.numbers(classes)
    if arguments.json:
        print(json.dumps({"folder": str(folder), "report": str(report), "part": outcome.part, **numbers}))
        return 0
    show_scores(numbers, f"On {numbers['cases']:,} {outcome.part} cases")
    print(f"\nThe run is in {folder}, its report in {report}")
    print(dim(f"recurra classify {shlex.quote(str(folder))} FILE --out classes.csv"))
    return 0


def show_scores(numbers: dict[str, Any], title: str) -> None:
    """A small table: the whole, and each class."""
    print(bold(title))
    print(
        f"  accuracy {100 * numbers['accuracy']:.2f} %, balanced {100 * numbers['balanced_accuracy']:.2f} %, "
        f"F1 {numbers['macro_f1']:.4f} (mean of the classes), log loss {numbers['log_loss']:.4f}"
    )
    width = max(8, *(len(name) for name in numbers["by_class"]))
    print(dim(f"  {'class':<{width}}{'cases':>8}{'precision':>12}{'recall':>10}{'F1':>10}"))
    for name, row in numbers["by_class"].items():
        cells = [_cell(row[measure]) for measure in ("precision", "recall", "f1")]
        print(f"  {name:<{width}}{row['cases']:>8,}{cells[0]:>12}{cells[1]:>10}{cells[2]:>10}")


def add_options(parser: argparse.ArgumentParser, options: dict[str, tuple[str, str]]) -> None:
    """What training on series has in common, and an option for each of some settings."""
    parser.add_argument("--out", metavar="FOLDER", required=True, help="the run folder to write")
    parser.add_argument("--resume", action="store_true", help="continue the run in that folder")
    parser.add_argument("--config", metavar="FILE", help="settings in TOML, such as a recipe")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="any setting by its dotted name"
    )
    parser.add_argument("--show-config", action="store_true", help="print the settings as TOML and stop")
    parser.add_argument("--json", action="store_true", help="print the result as JSON, nothing else")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    for option, (_, about) in options.items():
        parser.add_argument(f"--{option}", metavar=option.upper(), help=about)


def from_options(
    kind: type[Any], arguments: argparse.Namespace, options: dict[str, tuple[str, str]], files: dict[str, str | None]
) -> Any:
    """Defaults, config file (or the run's own), --set, options; ConfigError with every fault at once.

    files: settings of `data` that name files. Gives None where the settings were only to be shown.
    """
    from recurra.base import config
    from recurra.tasks.classify.defaults import settings_from

    if not arguments.out:
        raise ConfigError(message("recurra train", "--out is empty", hint="name the run folder: --out runs/x"))
    overrides = [*arguments.set]
    for option, (path, _) in options.items():
        if (value := getattr(arguments, option.replace("-", "_"))) is not None:
            overrides.append(f"{path}={value}")
    if arguments.channels is not None:
        names = [name.strip() for name in arguments.channels.split(",") if name.strip()]
        overrides.append(f"data.channels={json.dumps(names, ensure_ascii=False)}")
    for name, path in files.items():
        if path:
            overrides.append(f"data.{name}={json.dumps(str(Path(path).resolve()), ensure_ascii=False)}")
    own = Path(arguments.out) / "config.toml"
    if arguments.resume and arguments.config:
        fact = "--resume continues with the run's own settings, --config names others"
        raise ConfigError(message("recurra train", fact))
    source = own if arguments.resume and own.exists() else arguments.config
    settings = settings_from(kind, overrides, source)
    if not arguments.show_config:
        return settings
    import tomli_w

    print(tomli_w.dumps(config.to_dict(settings)), end="")
    return None


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
