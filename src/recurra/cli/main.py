"""The command `recurra`: finds the verb, runs it, and turns what goes wrong into one message and an exit code.

Built on argparse. tyro was measured first: importing it and building the parser of `train` takes 0.25 s before torch is
even asked for (half of what `recurra cells` may take in all), it does not see the ranges that the settings carry, and
it hands back whole structs, in which a flag that was given cannot be told from a default, so flags could not be laid
over a config file. Here flags become `key=value` overrides, and `recurra.base.config` checks everything in one place.

Exit codes: 0 done; 1 a bug of ours (with traceback); 2 something the user can mend, said in one message on standard
error; 130 interrupted; 141 the reader of a pipe went away.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from recurra import __version__
from recurra.base.errors import RecurraError, nearest
from recurra.cli.arguments import load_named_code
from recurra.cli.output import inert
from recurra.tasks.capability import CAPABILITIES

__all__ = ["VERBS", "main"]

VERBS = {
    "cells": "list the recurrent cells: equations, parameters, sources",
    "train": "train a model: recurra train TASK ...; recurra train lists the tasks",
    "generate": "let a trained model write",
    "eval": "measure a trained model, on its held-out data or on files",
    "compare": "train several cells on one task: equal sizes, seeds, a search for each one's rate",
    "forecast": "forecast series with a trained run: recurra forecast RUN data.csv --out FILE",
    "backtest": "forecast from past origins and compare: recurra backtest RUN data.csv",
    "watch": "watch a stream with a trained run: answers as JSON lines, row by row",
    "classify": "classify series with a trained run: recurra classify RUN cases.ts --out FILE",
    "detect": "find events in a file with a trained run: recurra detect RUN data.csv --out FILE",
    "tag": "label the tokens of a file with a trained run: recurra tag RUN FILE --out FILE",
    "report": "write the report of a run anew",
    "inspect": "look inside a trained run: memory, gradients, gates, units, saliency",
    "filter": "cancel noise in a recording: recurra filter FILE --reference FILE --out FILE",
    "check-task": "hold a task of your own to what ours are held to: recurra check-task mine.py:Mine",
    "demo": "train a small model on text that is already on this machine (under 3 minutes)",
}
"""Verb -> what it does; the verb's module is imported when it is asked for, and torch only when it is needed."""

MODULES = {"eval": "evaluate", "check-task": "check_task", **dict.fromkeys(CAPABILITIES, "predict")}
"""Verb -> the module behind it, where that is called otherwise."""

INTERRUPTED, BROKEN_PIPE, REFUSED = 130, 141, 2


class _Parser(argparse.ArgumentParser):
    """Faults on one line each, without the usage dump that hides them."""

    def error(self, message: str) -> NoReturn:
        self.exit(REFUSED, f"{self.prog}: {message}\n  Hint: {self.prog} --help\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line (default: this process's); gives the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    # Text is UTF-8 here whatever the locale says; a lone surrogate must not end a stream of generated text.
    for output in (sys.stdout, sys.stderr):
        if hasattr(output, "reconfigure"):
            output.reconfigure(encoding="utf-8", errors="replace")  # pyright: ignore[reportAttributeAccessIssue]
    try:
        code = _run(arguments)
        sys.stdout.flush()
    except RecurraError as error:
        sys.stdout.flush()
        text = inert(str(error))
        print(text if text.startswith("recurra ") else f"recurra: {text}", file=sys.stderr)
        return REFUSED
    except KeyboardInterrupt:
        print("\nrecurra: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # Python flushes standard output once more at exit; let that go nowhere instead of failing again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    return code


def _run(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_overview())
        return 0
    if arguments[0] in ("-V", "--version"):
        print(f"recurra {__version__}")
        return 0
    verb = arguments[0]
    if verb not in VERBS:
        print(
            f"recurra: no command is called {verb!r}\n  There are: {', '.join(nearest(verb, VERBS))}.", file=sys.stderr
        )
        return REFUSED
    module = importlib.import_module(f"recurra.cli.{MODULES.get(verb, verb)}")
    parser = _Parser(
        prog=f"recurra {verb}",
        description=(module.__doc__ or "").strip(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    load_named_code(arguments[1:])
    try:
        parsed = parser.parse_intermixed_args(module.configure(parser, arguments[1:]))
    except SystemExit as stop:
        # argparse exits by itself after --help or a fault; a caller of main() gets a code instead.
        return int(stop.code or 0)
    # What was typed, for the record that a run has of itself.
    parsed.words = arguments
    return int(module.run(parsed))


def _overview() -> str:
    lines = [
        "Recurra: recurrent sequence models. A cell is its equations, written once.",
        "",
        "usage: recurra COMMAND ...",
    ]
    lines += ["", *(f"  {verb:<10}{about}" for verb, about in VERBS.items())]
    return "\n".join([*lines, "", "recurra COMMAND --help says more; recurra demo is the place to begin."])
