"""Let a trained model write: recurra generate runs/x --prompt "Once" --temperature 0.8.

The text appears on standard output as it is made. Without --length it goes on until interrupted.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import unicodedata

from recurra.base.errors import DataError, message

__all__ = ["configure", "run"]

_SHOWN = 12


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this verb."""
    parser.add_argument("run", metavar="RUN", help="the folder of a trained run")
    parser.add_argument("--prompt", default="", metavar="TEXT", help="what the text begins with (default: a new line)")
    parser.add_argument("--length", type=int, default=500, help="how many symbols to make; 0: no end (default 500)")
    parser.add_argument("--temperature", type=float, default=0.8, help="0: always the likeliest symbol (default 0.8)")
    parser.add_argument("--top-k", type=int, default=0, help="choose among the k likeliest symbols; 0: all (default 0)")
    parser.add_argument(
        "--top-p", type=float, default=1.0, help="choose among the likeliest that make up p (default 1)"
    )
    parser.add_argument(
        "--repetition-penalty", type=float, default=1.0, help="above 1: avoid the symbols used last (default 1)"
    )
    parser.add_argument("--seed", type=int, help="the same seed gives the same text (default: another each time)")
    parser.add_argument(
        "--unknown",
        choices=["skip", "replace", "error"],
        default="skip",
        help="characters of the prompt that the model never saw: leave out, take the nearest relative, or refuse "
        "(default skip, with a warning)",
    )
    parser.add_argument("--json", action="store_true", help="print prompt and text as JSON when all is made")


def run(arguments: argparse.Namespace) -> int:
    """Stream the text."""
    if arguments.length < 0:
        raise DataError(message("recurra generate", f"--length must be >= 0, got {arguments.length}"))
    if arguments.json and not arguments.length:
        raise DataError(message("recurra generate", "--json needs an end: give --length"))
    import torch

    from recurra.decoding.sampling import Sampling
    from recurra.tasks.text.run import load

    torch.set_flush_denormal(True)
    # One stream of small matrices: threads would wait for each other.
    torch.set_num_threads(1)
    how = Sampling(
        temperature=arguments.temperature,
        top_k=arguments.top_k,
        top_p=arguments.top_p,
        repetition_penalty=arguments.repetition_penalty,
    )
    trained = load(arguments.run)
    unseen = trained.unseen(arguments.prompt)
    if unseen and arguments.unknown != "error":
        done = "leaves them out" if arguments.unknown == "skip" else "takes their nearest relatives"
        print(
            f"recurra: the model never saw {_named(unseen)}; it {done} (--unknown error refuses such a prompt)",
            file=sys.stderr,
        )
    if unseen and arguments.unknown == "error":
        raise DataError(
            message(
                "recurra generate",
                f"the prompt has characters that the model never saw: {_named(unseen)}",
                hint="--unknown skip leaves them out, --unknown replace takes their nearest relatives.",
            )
        )
    seed = arguments.seed if arguments.seed is not None else torch.seed() % 2**31
    pieces = trained.stream(arguments.prompt, how=how, seed=seed, unknown=arguments.unknown)
    if arguments.length:
        pieces = itertools.islice(pieces, arguments.length)
    if arguments.json:
        text = "".join(pieces)
        print(
            json.dumps(
                {"prompt": arguments.prompt, "text": text, "seed": seed, "run": arguments.run}, ensure_ascii=False
            )
        )
        return 0
    write = sys.stdout.write
    write(arguments.prompt)
    for piece in pieces:
        write(piece)
        sys.stdout.flush()
    write("\n")
    return 0


def _named(characters: list[str]) -> str:
    names = [f"{one!r} (U+{ord(one):04X} {unicodedata.name(one, 'unnamed').lower()})" for one in characters[:_SHOWN]]
    more = [f"and {len(characters) - _SHOWN} more"] if len(characters) > _SHOWN else []
    return ", ".join([*names, *more])
