"""Let a trained model write: recurra generate runs/x --prompt "Once" --temperature 0.8.

The text appears on standard output as it is made. Without --length it goes on until interrupted.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import unicodedata
from collections.abc import Sequence

import msgspec

from recurra.base.errors import ConfigError, DataError, message
from recurra.cli.arguments import add_options, options_from
from recurra.tasks.capability import Generates, GenerationOptions, abilities

__all__ = ["configure", "run"]

_NAMED = 12


def configure(parser: argparse.ArgumentParser, words: Sequence[str]) -> list[str]:
    """Add the arguments of this verb."""
    parser.add_argument("run", metavar="RUN", help="the folder of a trained run")
    add_options(parser, GenerationOptions)
    parser.add_argument("--code", action="append", default=[], metavar="FILE:NAME", help="a task or cell of your own")
    parser.add_argument("--json", action="store_true", help="print prompt and text as JSON when all is made")
    return list(words)


def run(arguments: argparse.Namespace) -> int:
    """Stream the text."""
    options = options_from(arguments, GenerationOptions, "recurra generate")
    if arguments.json and not options.length:
        raise DataError(message("recurra generate", "--json needs an end: give --length"))
    import torch

    from recurra.tasks.load import load

    torch.set_flush_denormal(True)
    # One stream of small matrices: threads would wait for each other.
    torch.set_num_threads(1)
    predictor = load(arguments.run)
    if not isinstance(predictor, Generates):
        able = ", ".join(abilities(predictor))
        raise ConfigError(message(arguments.run, f"holds a model that does not write; it {able}"))
    unseen = predictor.unseen(options.prompt)
    if unseen and options.unknown == "error":
        fact = f"the prompt has characters that the model never saw: {_names(unseen)}"
        hint = "--unknown skip leaves them out, --unknown replace takes their nearest relatives."
        raise DataError(message("recurra generate", fact, hint=hint))
    if unseen:
        done = "leaves them out" if options.unknown == "skip" else "takes their nearest relatives"
        hint = "--unknown error refuses such a prompt"
        print(f"recurra: the model never saw {_names(unseen)}; it {done} ({hint})", file=sys.stderr)
    if options.seed is None:
        options = msgspec.structs.replace(options, seed=torch.seed() % 2**31)
    pieces = predictor.generated(options)
    if options.length:
        pieces = itertools.islice(pieces, options.length)
    if arguments.json:
        record = {"prompt": options.prompt, "text": "".join(pieces), "seed": options.seed, "run": arguments.run}
        print(json.dumps(record, ensure_ascii=False))
        return 0
    sys.stdout.write(options.prompt)
    for piece in pieces:
        sys.stdout.write(piece)
        sys.stdout.flush()
    sys.stdout.write("\n")
    return 0


def _names(characters: list[str]) -> str:
    names = [f"{c!r} (U+{ord(c):04X} {unicodedata.name(c, 'unnamed').lower()})" for c in characters[:_NAMED]]
    more = [f"and {len(characters) - _NAMED} more"] if len(characters) > _NAMED else []
    return ", ".join([*names, *more])
