"""Write the report of a run anew: one HTML file that opens without network."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser, words: Sequence[str]) -> list[str]:
    """Add the arguments of this verb."""
    parser.add_argument("run", metavar="RUN", help="the folder of a run, finished or not")
    parser.add_argument("--code", action="append", default=[], metavar="FILE:NAME", help="a task or cell of your own")
    return list(words)


def run(arguments: argparse.Namespace) -> int:
    """Write it, and print where it is."""
    from recurra.tasks.report import write_report

    print(write_report(Path(arguments.run)))
    return 0
