"""Forecast from past origins and compare with what came: recurra backtest RUN data.csv --origins 20.

Writes MASE, sMAPE, MSE, MAE, CRPS and coverage, by step and by series, beside the naive forecasts. Rows that the run
was trained on flatter it: give newer data, train with --test ROWS, or use --refit.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shlex
import sys
from pathlib import Path

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this verb."""
    parser.add_argument("run", metavar="RUN", help="the folder of a trained run")
    parser.add_argument("file", nargs="?", metavar="FILE", help="the series (default: the run's own file)")
    parser.add_argument("--origins", type=int, default=10, help="how many, counted from the end (default 10)")
    parser.add_argument("--stride", type=int, default=0, help="steps between them (default: the horizon)")
    parser.add_argument("--refit", action="store_true", help="train anew before each, on what lies before it")
    parser.add_argument("--scaled", action="store_true", help="errors in units of each series' training deviation")
    parser.add_argument("--out", metavar="FOLDER", help="where backtest.json and report.html go")
    parser.add_argument("--seed", type=int, default=0, help="of sample paths (default 0)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON, nothing else")
    parser.add_argument("--quiet", action="store_true", help="no progress")


def run(arguments: argparse.Namespace) -> int:
    """Measure, print, and write what was asked for."""
    from recurra.base.files import write_text
    from recurra.cli.train_forecast import show_scores
    from recurra.tasks.forecast.backtest import backtest
    from recurra.tasks.forecast.prepare import read_data
    from recurra.tasks.forecast.report import write_backtest_report
    from recurra.tasks.forecast.run import load

    forecaster = load(arguments.run)
    series = read_data(forecaster.settings.data, arguments.file)
    quiet = arguments.quiet or arguments.json
    found = backtest(
        forecaster,
        series,
        origins=arguments.origins,
        stride=arguments.stride,
        refit=arguments.refit,
        scaled=arguments.scaled,
        said=None if quiet else lambda text: print(text, file=sys.stderr),
        seed=arguments.seed,
    )
    numbers = found.numbers()
    examples = [dataclasses.asdict(example) for example in found.examples]
    kept = {"levels": found.levels, "refit": arguments.refit, **numbers, "examples": examples}
    if arguments.out:
        folder = Path(arguments.out)
        write_text(folder / "backtest.json", json.dumps(kept) + "\n")
        command = shlex.join(["recurra", *arguments.words])
        write_backtest_report(kept, folder / "report.html", f"Backtest of {Path(arguments.run).name}", command)
    if arguments.json:
        print(json.dumps({"run": arguments.run, **numbers}))
        return 0
    show_scores(numbers, f"{found.origins:,} forecasts", forecaster.settings.model.name)
    if arguments.out:
        print(f"\nThe report is {Path(arguments.out) / 'report.html'}")
    return 0
