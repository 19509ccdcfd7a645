"""Train a detector of events in a stream: recurra train events data.csv --events events.csv --out runs/x.

The table has columns of stamps and channels, and unique_id where there are several streams. Events are a column of it
with the class of each step (--label), or a table of their own: start, and where there are any end, label, unique_id.
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

from recurra.cli.style import bold, dim
from recurra.cli.train_classify import INTERRUPTED, add_options, from_options
from recurra.tasks.events.settings import EventSettings

__all__ = ["configure", "run", "show_tally"]

_OPTIONS = {
    "label": ("data.label", "column with the class of each step (default: label, class or event)"),
    "id": ("data.id", "column that tells streams apart (default: unique_id)"),
    "time": ("data.time", "column of stamps (default: ds, date, timestamp ...)"),
    "rate-hz": ("data.rate_hz", "steps in a second, where the stamps do not say"),
    "tolerance": ("decode.tolerance_s", "seconds by which a detection may be off (default: five frames)"),
    "look-ahead": ("model.look_ahead_s", "seconds that the answer may come later (default 0)"),
    "frame": ("model.frame", "steps that are read as one (default 1)"),
    "cell": ("model.cell", "recurrent cell (default gru)"),
    "hidden": ("model.hidden", "units (default 64)"),
    "layers": ("model.layers", "recurrent layers (default 1)"),
    "validation": ("data.validation", "share of each stream that chooses weights and thresholds (default 0.2)"),
    "test": ("data.test", "share at the end of each stream that training never sees (default 0)"),
    "iterations": ("train.iterations", "updates of the weights at most (default 600)"),
    "minutes": ("train.minutes", "stop after so many; 0: no limit"),
    "rate": ("train.optim.learning_rate", "highest learning rate (default 0.003)"),
    "seed": ("seed", "of weights, dropout and order (default 0)"),
    "threads": ("threads", "CPU threads; 0: torch's choice"),
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this verb."""
    parser.add_argument("file", nargs="?", metavar="FILE", help="the table of signals")
    parser.add_argument("--events", metavar="FILE", help="a table of events: start, end, label, unique_id")
    parser.add_argument("--channels", metavar="NAMES", help="columns of values, between commas (default: all numbers)")
    add_options(parser, _OPTIONS)


def run(arguments: argparse.Namespace) -> int:
    """Train, and print how good it is."""
    folder = Path(arguments.out)
    settings = from_options(EventSettings, arguments, _OPTIONS, {"file": arguments.file, "events": arguments.events})
    if settings is None:
        return 0
    from recurra.tasks.events.report import write_report
    from recurra.tasks.events.run import RUNS, train_run
    from recurra.training.progress import Progress

    progress = Progress("quiet" if arguments.quiet or arguments.json else "auto")
    command = shlex.join(["recurra", *arguments.words])
    outcome = train_run(settings, folder, resume=arguments.resume, progress=progress, command=command)
    if outcome.tally is None:
        print(f"interrupted; continue with: {RUNS.continuing(folder)}", file=sys.stderr)
        return INTERRUPTED
    report = write_report(folder)
    numbers = outcome.tally.numbers(outcome.trained.detector.classes)
    if arguments.json:
        print(json.dumps({"folder": str(folder), "report": str(report), "part": outcome.part, **numbers}))
        return 0
    show_tally(numbers, f"On the {outcome.part} part, {numbers['hours']:.3g} hours")
    print(f"\nThe run is in {folder}, its report in {report}")
    print(
        dim(f"recurra detect {shlex.quote(str(folder))} FILE --out found.csv; recurra watch {shlex.quote(str(folder))}")
    )
    return 0


def show_tally(numbers: dict[str, Any], title: str) -> None:
    """A small table: each class, and all."""
    print(bold(title))
    rows = dict(numbers["by_class"])
    if len(rows) > 1:
        rows["any class"] = numbers["any_class"]
    width = max(10, *(len(name) for name in rows))
    head = ("events", "precision", "recall", "F1", "false/h", "delay s", "95 %")
    print(dim(f"  {'class':<{width}}" + "".join(f"{title:>11}" for title in head)))
    for name, row in rows.items():
        measures = ("precision", "recall", "f1", "false_per_hour", "delay_median_s", "delay_95_s")
        cells = "".join(f"{'-' if row[one] is None else format(row[one], '.4g'):>11}" for one in measures)
        print(f"  {name:<{width}}{row['events']:>11,}{cells}")
