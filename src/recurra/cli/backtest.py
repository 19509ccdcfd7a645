"""Forecast from past origins and compare with what came: recurra backtest RUN data.csv --origins 20.

Writes MASE, sMAPE, MSE, MAE, CRPS and coverage, by step and by series, beside the naive forecasts. Rows that the run
was trained on flatter it: give newer data, train with --test ROWS, or use --refit.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from recurra.base.errors import ConfigError, message
from recurra.cli.arguments import add_options, options_from
from recurra.cli.output import print_table
from recurra.cli.spool import spooled
from recurra.tasks.capability import BacktestOptions, Backtests, abilities

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser, words: Sequence[str]) -> list[str]:
    """Add the arguments of this verb."""
    parser.add_argument("run", metavar="RUN", help="the folder of a trained run")
    parser.add_argument("file", nargs="?", metavar="FILE", help="the series (default: the run's own file)")
    add_options(parser, BacktestOptions)
    parser.add_argument("--out", metavar="FOLDER", help="where backtest.json and report.html go")
    parser.add_argument("--code", action="append", default=[], metavar="FILE:NAME", help="a task or cell of your own")
    parser.add_argument("--json", action="store_true", help="print the result as JSON, nothing else")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    return list(words)


def run(arguments: argparse.Namespace) -> int:
    """Measure, print, and write what was asked for."""
    options = options_from(arguments, BacktestOptions, "recurra backtest")
    from recurra.base.files import write_text
    from recurra.base.option import inputs_of
    from recurra.tasks.load import dumped, load, task_of
    from recurra.tasks.report import write_evaluation_report
    from recurra.tasks.settings import with_inputs
    from recurra.tasks.task import View

    task, predictor = task_of(arguments.run), load(arguments.run)
    if not issubclass(type(predictor), Backtests):
        raise ConfigError(message(arguments.run, f"holds no forecaster; it {', '.join(abilities(predictor))}"))
    settings = predictor.settings
    if arguments.file:
        settings = with_inputs(settings, {inputs_of(task.settings)[0].path: spooled(arguments.file)})
    data = task.read(settings, predictor.prepared)
    quiet = arguments.quiet or arguments.json
    measures = predictor.backtests(data, options, lambda text: None if quiet else print(text, file=sys.stderr))
    if arguments.out:
        folder = Path(arguments.out)
        write_text(folder / "backtest.json", dumped(measures.plain) + "\n")
        title, command = f"Backtest of {Path(arguments.run).name}", shlex.join(["recurra", *arguments.words])
        write_evaluation_report(task, predictor, measures, folder / "report.html", title, command)
    if arguments.json:
        print(dumped({"run": arguments.run, **measures.numbers}))
        return 0
    for table in task.tables(View(settings=settings, measures=measures.plain, predictor=predictor)):
        print_table(table)
    if arguments.out:
        print(f"\nThe report is {Path(arguments.out) / 'report.html'}")
    return 0
