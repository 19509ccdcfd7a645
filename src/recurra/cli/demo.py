"""Train a small character model on text that every CPython carries, in under 3 minutes on 2 cores, and let it write.

No network, no files: the text is the language reference behind Python's help("topics"). Beside the model stands an
n-gram model with modified Kneser-Ney smoothing of the same text: a network above it has lost to counting.
"""

from __future__ import annotations

import argparse
import itertools
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recurra.base import config
from recurra.base.errors import CheckpointError, message
from recurra.cli.output import progress_of
from recurra.cli.style import bold, dim
from recurra.cli.train import INTERRUPTED, show, written_report
from recurra.tasks.registry import settings_named

__all__ = ["SETTINGS", "configure", "run"]

SETTINGS = (
    # Two threads on a machine that does something else too wait for each other more than they work.
    "threads=1",
    "model.num_layers=1",
    "model.dropout=0.1",
    "model.input_dropout=0.0",
    "data.batch_size=16",
    "data.chunk=64",
    "train.epochs=0",
    "train.iterations=2700",
    # A slow machine stops here rather than at the end of the schedule.
    "train.minutes=2.3",
    "train.optim.learning_rate=7e-3",
    "train.optim.weight_decay=0.01",
    "train.average.decay=0.99",
    "train.evaluate_every=600",
    "train.checkpoint_every=600",
    "data.evaluate_tokens=0",
    "sample.length=200",
    "sample.prompt=The ",
)
"""What differs from the defaults: less of everything."""


def configure(parser: argparse.ArgumentParser, words: Sequence[str]) -> list[str]:
    """Add the arguments of this verb."""
    parser.add_argument("--out", default="runs/demo", metavar="FOLDER", help="the run folder (default runs/demo)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON, nothing else")
    parser.add_argument("--quiet", action="store_true", help="no progress, no samples")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="any setting by its dotted name"
    )
    return list(words)


def run(arguments: argparse.Namespace) -> int:
    """Train, measure, write, report."""
    began = time.monotonic()
    settings: Any = config.parse(settings_named("text"), {}, [*SETTINGS, *arguments.set])
    folder = Path(arguments.out)
    _make_room(folder)
    from recurra.data.corpus import from_text
    from recurra.data.sets import pydoc_topics
    from recurra.decoding.sampling import Sampling
    from recurra.tasks.registry import task_named
    from recurra.tasks.train import train

    corpus = from_text(pydoc_topics.text(), name="the Python language reference (pydoc_data.topics)")
    progress = progress_of(arguments)
    progress.say(
        f"{len(corpus.tokens):,} characters of {corpus.name}, {len(corpus.vocabulary)} different ones.\n"
        f"The first 90 % are learned from, the last 10 % held out. Training a {settings.model.cell} of "
        f"{settings.model.hidden_size} units:"
    )
    hint = "a demo is begun anew: recurra demo"
    task: Any = task_named(settings.task)
    options: dict[str, Any] = {"progress": progress, "command": "recurra demo", "hint": hint}
    outcome = train(task, settings, folder, data=task.of(corpus, settings), **options)
    if outcome.interrupted:
        return INTERRUPTED
    report = written_report(folder)
    show(outcome, report, as_json=arguments.json)
    if not arguments.json:
        pieces = outcome.predictor.stream("The ", how=Sampling(temperature=0.7), seed=1)
        print("\n" + bold("It writes") + "\nThe " + "".join(itertools.islice(pieces, 500)))
        hint = f" Open {report} in a browser." if report else ""
        print(dim(f"\n{time.monotonic() - began:.0f} s in all.{hint}"))
    return 0


def _make_room(folder: Path) -> None:
    """An earlier demo gives way; anything else in its place is left alone."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    from recurra.tasks.folder import read_note

    if not folder.is_dir() or read_note(folder).get("commands") != ["recurra demo"]:
        raise CheckpointError(
            message(str(folder), "exists and is no earlier demo", hint="recurra demo --out another/folder")
        )
    from recurra.tasks.folder import locked

    with locked(folder):
        shutil.rmtree(folder)
