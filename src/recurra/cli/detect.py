"""Find events in a whole file with a trained run: recurra detect RUN data.csv --out found.csv.

The result has a row per event: unique_id, start, end, time, label, probability, and when it was decided; on a live
stream (recurra watch) a detector finds the same. recurra eval RUN data.csv measures instead.
"""

from __future__ import annotations

import argparse
import csv
import io
import json

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this verb."""
    parser.add_argument("run", metavar="RUN", help="the folder of a trained run")
    parser.add_argument("file", metavar="FILE", help="the table of signals")
    parser.add_argument("--out", metavar="FILE", help="CSV to write (default: standard output)")
    parser.add_argument("--json", action="store_true", help="print JSON lines, one per event")
    parser.add_argument("--quiet", action="store_true", help="say nothing beside the result")


def run(arguments: argparse.Namespace) -> int:
    """Write the events."""
    from recurra.base.files import write_text
    from recurra.cli.classify import written
    from recurra.tasks.events.run import load

    detector = load(arguments.run)
    series, _ = detector.read(arguments.file, labelled=False)
    columns = detector.columns(series)
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*(c.tolist() for c in columns.values()), strict=True)]
    if arguments.json:
        for row in rows:
            print(json.dumps(row))
        return 0
    text = io.StringIO()
    writer = csv.DictWriter(text, list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows({**row, "probability": f"{row['probability']:.6g}"} for row in rows)
    return written(text.getvalue(), arguments, f"{len(rows):,} events", write_text)
