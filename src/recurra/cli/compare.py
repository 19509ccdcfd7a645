"""Compare cells on one task: recurra compare embedded_reber --cells lstm,gru,elman --parameters 1000.

Every cell gets the hidden size whose parameter count comes nearest to the budget, then the learning rate that does best
of N drawn at random (one in each N-th of the range on a log scale, the same for all cells), then a run per seed with
that rate. A trial that ended is a line of results.jsonl at once: stopped or killed, the same command goes on. Other
cells or seeds add to the folder.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recurra.base import config
from recurra.base.code import load_code
from recurra.base.errors import ConfigError, message, nearest
from recurra.cells import CELLS
from recurra.cli.arguments import add_inputs, add_options, input_files, overrides_from
from recurra.cli.style import bold, dim
from recurra.tasks.registry import TASKS, settings_named

__all__ = ["configure", "rate_range", "run", "seeds_of"]

_OWN = ("cell", "hidden", "rate", "iterations", "seed", "threads", "test", "code")
"""Options that the comparison itself has, or decides; a task's own by these names are settings (--set) here."""


def configure(parser: argparse.ArgumentParser, words: Sequence[str]) -> list[str]:
    """Add the arguments of this verb."""
    parser.add_argument("task", help="a task, as of recurra train, or a classic one by its name")
    kind = settings_named(words[0]) if words and words[0] in TASKS else None
    if kind is not None:
        add_inputs(parser, kind, but=_OWN)
        add_options(parser.add_argument_group("settings of the task"), kind, but=_OWN)
    parser.set_defaults(kind=kind)
    parser.add_argument("--code", action="append", default=[], metavar="FILE:NAME", help="a task or cell of your own")
    parser.add_argument("--cells", default="lstm,gru,elman", help="names, by commas (default lstm,gru,elman)")
    parser.add_argument(
        "--parameters", default="20000", metavar="N", help="parameters of every network (default 20000)"
    )
    parser.add_argument("--seeds", default="0-4", help="as 0-4 or 0,3,7 (default 0-4)")
    parser.add_argument("--trials", default="8", metavar="N", help="learning rates tried per cell (default 8)")
    parser.add_argument(
        "--rate", metavar="LOW,HIGH", help="range of the rates, or one rate for all (default: task's / 10 to x 10)"
    )
    parser.add_argument("--iterations", default="0", metavar="N", help="updates per trial (default: the task's own)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="any setting of the task by its dotted name"
    )
    parser.add_argument("--jobs", default=None, metavar="N", help="processes at a time (default: one per core)")
    parser.add_argument("--out", metavar="FOLDER", help="where results go (default runs/compare-TASK)")
    parser.add_argument("--test", default="welch", choices=["welch", "mann-whitney"], help="of significance")
    parser.add_argument("--json", action="store_true", help="print the table as JSON, nothing else")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    return list(words)


def run(arguments: argparse.Namespace) -> int:
    """Compare, and print the table."""
    from recurra.tasks.compare import CompareSettings, compare
    from recurra.tasks.compare.progress import Ticker
    from recurra.tasks.compare.table import lines

    cells = [name.strip() for name in arguments.cells.split(",") if name.strip()]
    cells = [load_code(name).reference if ":" in name else name for name in cells]
    for name in cells:
        if name not in CELLS:
            close = ", ".join(nearest(name, CELLS))
            raise ConfigError(message("recurra compare", f"no cell is called {name!r}", f"There are: {close}."))
    if ":" in arguments.task:
        arguments.task = load_code(arguments.task).reference
    overrides = [*arguments.set]
    if arguments.kind is not None:
        overrides += overrides_from(arguments, arguments.kind, but=_OWN)
        overrides += [
            f"{path}={json.dumps(file)}" for path, file in input_files(arguments, arguments.kind, but=_OWN).items()
        ]
    low, high = rate_range(arguments.rate, arguments.task, overrides)
    values = {"task": arguments.task, "low": low, "high": high, "overrides": overrides}
    numbers = [f"{name}={getattr(arguments, name)}" for name in ("parameters", "trials", "iterations")]
    settings = config.parse(CompareSettings, values, numbers, where="recurra compare")
    folder = Path(arguments.out or f"runs/compare-{arguments.task.replace(':', '-')}")
    try:
        jobs = int(arguments.jobs) if arguments.jobs is not None else max(1, len(os.sched_getaffinity(0)))
    except ValueError as error:
        raise ConfigError(message("recurra compare", f"--jobs must be a number, got {arguments.jobs!r}")) from error
    ticker = Ticker("quiet" if arguments.quiet or arguments.json else "auto")
    command = shlex.join(["recurra", *arguments.words])
    try:
        found = compare(
            settings,
            cells,
            seeds_of(arguments.seeds),
            folder,
            jobs=jobs,
            test=arguments.test,
            ticker=ticker,
            command=command,
        )
    except KeyboardInterrupt:
        if not arguments.json:
            print(dim(f"Stopped; what ended is in {folder}, the same command goes on."))
        raise
    if arguments.json:
        print(json.dumps({"folder": str(folder), "report": str(found.report), "rows": [_plain(r) for r in found.rows]}))
        return 0
    head, columns, *rest = lines(settings, found.rows, arguments.test)
    print(bold(head))
    print(dim(columns))
    print("\n".join(rest))
    print(f"\nThe report is {found.report}")
    return 0


def seeds_of(text: str) -> list[int]:
    """The seeds that `0-4` or `0,3,7-9` names.

    >>> seeds_of("0-2,7")
    [0, 1, 2, 7]
    """
    found: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        try:
            found += range(int(first), int(last) + 1) if dash else [int(first)]
        except ValueError as error:
            fact = f"--seeds reads 0-4 or 0,3,7, got {text!r}"
            raise ConfigError(message("recurra compare", fact)) from error
    if not found:
        raise ConfigError(message("recurra compare", f"--seeds {text!r} names no seed"))
    return found


def rate_range(text: str | None, task: str, overrides: list[str]) -> tuple[float, float]:
    """LOW and HIGH as typed; one rate is both; nothing typed: a tenth to ten times that of the task."""
    if text is None:
        from recurra.tasks.registry import task_named
        from recurra.tasks.settings import settings_from

        settings: Any = settings_from(task_named(task).settings, overrides, where=f"task {task}")
        own = settings.train.optim.learning_rate
        # Without the last bit's noise: the range stands in a file that is compared.
        return float(f"{own / 10:.6g}"), float(f"{own * 10:.6g}")
    try:
        rates = [float(part) for part in text.split(",")]
    except ValueError:
        rates = []
    if len(rates) not in (1, 2) or not all(math.isfinite(rate) and rate > 0 for rate in rates):
        raise ConfigError(message("recurra compare", f"--rate reads LOW,HIGH or one rate above 0, got {text!r}"))
    return rates[0], rates[-1]


def _plain(row: Any) -> dict[str, Any]:
    def known(value: Any) -> Any:
        return None if isinstance(value, float) and math.isnan(value) else value

    return {name: known(value) for name, value in row._asdict().items()}
