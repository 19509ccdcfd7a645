"""What a run of repeat-copy copies: bits by length and repeats, and what sequences with an all-zero vector cost.

    python recipes/classic/seeds.py repeat_copy --seeds 0 --iterations 60000 --keep runs/repeat --out runs/repeat.jsonl
    python recipes/classic/repeat_copy.py runs/repeat/0

The mean over lengths and repeats from 1 to 10 is what Graves et al. 2014 plot. An all-zero vector (one of 256) looks to
a feed-forward controller as no input does.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from recurra.base.errors import ConfigError, RecurraError, message
from recurra.base.rng import stream
from recurra.data.sets import repeat_copy
from recurra.tasks.classic.machine import answer_losses
from recurra.tasks.classic.trained import load

ENDS = (1, 3, 5, 7, 10, 12, 15, 20)


def main() -> int:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--sequences", type=int, default=100, help="of each length and number of repeats")
    options = parser.parse_args()
    try:
        trained = load(options.run)
        if trained.task.name != "repeat_copy":
            raise ConfigError(message(str(options.run), f"holds a run of {trained.task.name}, not of repeat_copy"))
        if options.sequences < 1:
            raise ConfigError(message("--sequences", f"must be from 1, got {options.sequences}"))
    except RecurraError as error:
        print(f"repeat_copy.py: {error}", file=sys.stderr)
        return 2
    generator = stream(0, "repeat copy by length")

    def bits(length: int, repeats: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Bits of every sequence, and whether it has an all-zero vector."""
        batch = repeat_copy.batch(options.sequences, length, repeats, generator=generator)
        losses = answer_losses(trained.predict(batch.x), batch.y).sum(1) / torch.log(torch.tensor(2.0))
        return losses, (batch.x[:, 1 : length + 1, :8].sum(-1) == 0).any(1)

    print("bits: length down, repeats across")
    print("      " + "".join(f"{repeats:>9}" for repeats in ENDS))
    for length in ENDS:
        print(f"{length:>6}" + "".join(f"{float(bits(length, repeats)[0].mean()):9.2f}" for repeats in ENDS))
    pairs = [bits(length, repeats) for length in range(1, 11) for repeats in range(1, 11)]
    cost, zero = (torch.cat(parts) for parts in zip(*pairs, strict=True))
    print(f"1 to 10 vectors, 1 to 10 times: {float(cost.mean()):.3f} bits, median {float(cost.median()):.4f}")
    print(f"  {float((cost > 1).float().mean()):.2%} of the sequences cost more than 1 bit")
    print(f"  without an all-zero vector {float(cost[~zero].mean()):.4f}")
    print(f"  with one, which are {float(zero.float().mean()):.1%}: {float(cost[zero].mean()):.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
