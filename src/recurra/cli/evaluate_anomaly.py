"""Judge data with an anomaly detector: recurra eval RUN data.csv [--scores FILE] [--windows FILE] [--report FILE].

With labels (a column of 0 and 1, or --windows with {"id": [["first stamp", "last stamp"], ...]}) it says what the
alarms are worth: precision, recall and F1 by event, PR-AUC by row, false alarms a day, delay.
"""

from __future__ import annotations

import argparse
import json
import shlex
from pathlib import Path

from recurra.base.errors import DataError, message

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this verb."""
    parser.add_argument("run", metavar="RUN", help="the folder of a run of recurra train anomaly")
    parser.add_argument("files", nargs=1, metavar="FILE", help="the table of series")
    parser.add_argument(
        "--windows", metavar="FILE", help="true anomalies as JSON: id -> [[first stamp, last stamp], ...]"
    )
    parser.add_argument(
        "--tolerance", type=int, default=0, metavar="ROWS", help="alarms so near count as hits (default 0)"
    )
    parser.add_argument("--threshold", type=float, metavar="X", help="instead of the run's own")
    parser.add_argument("--scores", metavar="FILE", help="write score and alarm of every row there, as CSV")
    parser.add_argument("--report", metavar="FILE", help="write a page with time-lines there")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Print the figures."""
    from recurra.base.files import write_text
    from recurra.cli.train_anomaly import show_measured
    from recurra.tasks.anomaly.evaluate import judged_rows, labelled
    from recurra.tasks.anomaly.report import write_found_report
    from recurra.tasks.anomaly.run import load
    from recurra.tasks.anomaly.table import read_rows

    if arguments.tolerance < 0:
        raise DataError(message("recurra eval", f"--tolerance must be at least 0, got {arguments.tolerance}"))
    detector = load(arguments.run)
    if arguments.threshold is not None:
        detector.threshold = arguments.threshold
    series, _ = read_rows(arguments.files[0], detector.settings.data, detector.channels)
    if arguments.windows:
        series = labelled(series, _windows(arguments.windows), arguments.windows)
    found = judged_rows(detector, series, tolerance=arguments.tolerance)
    if arguments.scores:
        write_text(Path(arguments.scores), found.table())
    if arguments.report:
        title = f"{Path(arguments.run).name} on {Path(arguments.files[0]).name}"
        write_found_report(found, Path(arguments.report), title, shlex.join(["recurra", *arguments.words]))
    if arguments.json:
        print(json.dumps({"run": arguments.run, "file": arguments.files[0], **found.numbers()}))
        return 0
    show_measured(found.numbers(), Path(arguments.files[0]).name)
    return 0


def _windows(path: str) -> dict[str, list[list[str]]]:
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(message(path, f"could not be read: {error}")) from error
    fits = isinstance(found, dict) and all(
        isinstance(part, list) and all(isinstance(pair, list) and len(pair) == 2 for pair in part)
        for part in found.values()
    )
    if not fits:
        raise DataError(message(path, 'must hold {"id": [["first stamp", "last stamp"], ...]}'))
    return found
