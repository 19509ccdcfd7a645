"""Measure a detector of events on a stream: recurra eval RUN data.csv [EVENTS].

EVENTS is the table of true events; without one they are the column of classes in the data. Precision, recall and F1
within the tolerance, false alarms per hour, and how late events were known, for each class.
"""

from __future__ import annotations

import argparse
import json

from recurra.base.errors import DataError, message

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this verb."""
    parser.add_argument("run", metavar="RUN", help="the folder of a run of recurra train events")
    parser.add_argument("file", metavar="FILE", help="the table of signals")
    parser.add_argument("events", nargs="?", metavar="EVENTS", help="a table of events: start, end, label, unique_id")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Print the figures."""
    from recurra.cli.train_events import show_tally
    from recurra.tasks.events.run import load

    detector = load(arguments.run)
    series, truth = detector.read(arguments.file, arguments.events)
    if truth is None:
        hint = f"recurra eval {arguments.run} {arguments.file} EVENTS"
        raise DataError(message(arguments.file, "has no events to compare with", hint=hint))
    numbers = detector.evaluate(series, truth).numbers(detector.classes)
    if arguments.json:
        print(json.dumps({"run": arguments.run, "file": arguments.file, **numbers}))
        return 0
    show_tally(numbers, f"{arguments.file}: {numbers['hours']:.3g} hours, {numbers['events']:,} events")
    return 0
