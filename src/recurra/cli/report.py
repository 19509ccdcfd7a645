"""Write the report of a run anew: one HTML file that opens without network."""

from __future__ import annotations

import argparse
from pathlib import Path

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this verb."""
    parser.add_argument("run", metavar="RUN", help="the folder of a run, finished or not")


def run(arguments: argparse.Namespace) -> int:
    """Write it, and print where it is."""
    from recurra.tasks.text.report import write_report

    print(write_report(Path(arguments.run)))
    return 0
