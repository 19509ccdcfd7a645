"""Tell the classes of series with a trained run: recurra classify RUN cases.ts --out classes.csv.

The cases need no classes; where they have some, they are not read. The result has a row per case: unique_id, class, and
the probability of every class. recurra eval RUN cases.ts measures instead.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import sys
from pathlib import Path
from typing import Any

__all__ = ["configure", "run", "written"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this verb."""
    parser.add_argument("run", metavar="RUN", help="the folder of a trained run")
    parser.add_argument("file", metavar="FILE", help="the cases")
    parser.add_argument("--out", metavar="FILE", help="CSV to write (default: standard output)")
    parser.add_argument("--json", action="store_true", help="print JSON lines, one per case")
    parser.add_argument("--quiet", action="store_true", help="say nothing beside the result")


def run(arguments: argparse.Namespace) -> int:
    """Write the classes."""
    from recurra.base.files import write_text
    from recurra.tasks.classify.cases import read_cases
    from recurra.tasks.classify.run import load

    classifier = load(arguments.run)
    cases = read_cases(classifier.settings.data, arguments.file, labelled=False)
    said = classifier.probabilities(cases)
    names = [classifier.classes[place] for place in said.argmax(1)]
    if arguments.json:
        for one, name, row in zip(cases.ids, names, said.tolist(), strict=True):
            shares = dict(zip(classifier.classes, row, strict=True))
            print(json.dumps({"unique_id": one, "class": name, "probabilities": shares}))
        return 0
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["unique_id", "class", *(f"p_{name}" for name in classifier.classes)])
    for one, name, row in zip(cases.ids, names, said.tolist(), strict=True):
        writer.writerow([one, name, *(f"{share:.6g}" for share in row)])
    return written(text.getvalue(), arguments, f"{len(cases):,} cases", write_text)


def written(text: str, arguments: argparse.Namespace, what: str, write: Any) -> int:
    """To the file that --out names, or to standard output."""
    if not arguments.out:
        print(text, end="")
        return 0
    write(Path(arguments.out), text)
    if not arguments.quiet:
        print(f"{what}: {arguments.out}", file=sys.stderr)
    return 0
