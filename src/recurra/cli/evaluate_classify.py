"""Measure a classifier on cases with their classes: recurra eval RUN cases.ts.

Accuracy, balanced accuracy, log loss, and precision, recall and F1 of each class.
"""

from __future__ import annotations

import argparse
import json

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this verb."""
    parser.add_argument("run", metavar="RUN", help="the folder of a run of recurra train classify")
    parser.add_argument("files", nargs="+", metavar="FILE", help="cases with their classes; each file by itself")
    parser.add_argument("--json", action="store_true", help="print the result as JSON, a line for each file")


def run(arguments: argparse.Namespace) -> int:
    """Print the figures."""
    from recurra.cli.train_classify import show_scores
    from recurra.tasks.classify.run import load

    classifier = load(arguments.run)
    for file in arguments.files:
        numbers = classifier.evaluate(file).numbers(classifier.classes)
        if arguments.json:
            print(json.dumps({"run": arguments.run, "file": file, **numbers}))
        else:
            show_scores(numbers, f"{file}: {numbers['cases']:,} cases")
    return 0
