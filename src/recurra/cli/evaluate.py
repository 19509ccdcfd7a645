"""Measure a trained model on a text: nats and bits per character (or byte), perplexity.

The text is read as one stream with the state carried from beginning to end; every symbol but the first counts once.
"""

from __future__ import annotations

import argparse
import json

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this verb."""
    parser.add_argument("run", metavar="RUN", help="the folder of a trained run")
    parser.add_argument("files", nargs="+", metavar="FILE", help="text files, read as one text")
    parser.add_argument(
        "--rows",
        type=int,
        default=1,
        help="read so many stretches side by side, each warmed up on the 256 symbols before it: faster, and no longer "
        "exact (default 1)",
    )
    parser.add_argument(
        "--unknown",
        choices=["error", "skip", "replace"],
        default="error",
        help="characters that the model never saw (default error)",
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Print the figures."""
    import torch

    from recurra.data.corpus import read
    from recurra.tasks.text.run import load

    torch.set_flush_denormal(True)
    trained = load(arguments.run)
    corpus = read(arguments.files, trained.vocabulary.level, trained.vocabulary, arguments.unknown)
    found = trained.score(corpus.tokens, rows=arguments.rows)
    if arguments.json:
        print(json.dumps({"run": arguments.run, "files": arguments.files, **found.numbers()}))
        return 0
    unit = "character" if trained.vocabulary.level == "char" else "byte"
    print(f"{corpus.name}: {found.positions:,} {unit}{'' if found.positions == 1 else 's'} predicted")
    print(f"  bits per {unit}  {found.bits:.4f}")
    print(f"  nats per {unit}  {found.nats:.4f}")
    print(f"  perplexity{' ' * (len(unit) - 1)}  {found.perplexity:.4f}")
    return 0
