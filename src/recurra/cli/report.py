"""Write the report of a run anew: one HTML file that opens without network."""

from __future__ import annotations

import argparse
from importlib import import_module
from pathlib import Path

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this verb."""
    parser.add_argument("run", metavar="RUN", help="the folder of a run, finished or not")


def run(arguments: argparse.Namespace) -> int:
    """Write it, and print where it is."""
    from recurra.serving.loading import task_of

    task = task_of(arguments.run)
    # Whatever else trains on its own words is a classic task.
    room = task if task in ("text", "forecast", "anomaly", "classify", "events") else "classic"
    print(import_module(f"recurra.tasks.{room}.report").write_report(Path(arguments.run)))
    return 0
