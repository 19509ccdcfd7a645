"""Hold a task of your own to what ours are held to: recurra check-task mine.py:Mine.

Its `example` is trained, killed, resumed, moved, evaluated and refused, each check by the command line.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

from recurra.base.code import load_code
from recurra.base.errors import ConfigError, message, nearest
from recurra.cli.style import bold

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser, words: Sequence[str]) -> list[str]:
    """Add the arguments of this verb."""
    parser.add_argument("task", metavar="TASK", help="mine.py:Name, package.module:Name, or the name of a task")
    parser.add_argument("--only", action="append", default=[], metavar="CHECK", help="a check (may be repeated)")
    return list(words)


def run(arguments: argparse.Namespace) -> int:
    """Run the checks; exit code 1 where one failed."""
    if ":" in arguments.task:
        load_code(arguments.task)
    from recurra.checks.task import CHECKS, Battery, CheckFailed
    from recurra.cli.main import main

    for name in arguments.only:
        if name not in CHECKS:
            fact = f"no check is called {name!r}"
            raise ConfigError(message("check-task", fact, f"There are: {', '.join(nearest(name, CHECKS))}."))
    failed = 0
    for name in arguments.only or CHECKS:
        with tempfile.TemporaryDirectory() as folder:
            try:
                CHECKS[name](Battery(main, arguments.task, Path(folder) / "check"))
                print(f"  {name:<18} passed")
            except CheckFailed as error:
                failed += 1
                print(bold(f"  {name:<18} failed: {error}"))
    print(f"{len(arguments.only or CHECKS) - failed} passed, {failed} failed")
    return 1 if failed else 0
