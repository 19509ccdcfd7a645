"""What a run of repeat-copy copies: bits by length and repeats, and what sequences with an all-zero vector cost.

    python recipes/classic/seeds.py repeat_copy --seeds 0 --iterations 60000 --keep runs/repeat --out runs/repeat.jsonl
    python recipes/classic/repeat_copy.py runs/repeat/0 --out recipes/classic/measured/repeat-copy-lengths.jsonl

The mean over lengths and repeats from 1 to 10 is what Graves et al. 2014 plot. An all-zero vector (one of 256) looks to
a feed-forward controller as no input does. A run is a line of --out, which table.py makes the table of; a line of the
same seed is replaced.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import torch
from seeds import written

from recurra.base.errors import ConfigError, RecurraError, message
from recurra.base.files import write_text
from recurra.base.rng import stream
from recurra.data.sets import repeat_copy
from recurra.tasks.classic.machine import answer_losses
from recurra.tasks.classic.trained import ClassicRun, load

ENDS = (1, 3, 5, 7, 10, 12, 15, 20)


def measure(trained: ClassicRun, sequences: int) -> dict[str, Any]:
    """Bits by length and repeats, and of all up to 10 what is of interest; `sequences` of each pair."""
    generator = stream(0, "repeat copy by length")

    def bits(length: int, repeats: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Bits of every sequence, and whether it has an all-zero vector."""
        batch = repeat_copy.batch(sequences, length, repeats, generator=generator)
        losses = answer_losses(trained.predict(batch.x), batch.y).sum(1) / torch.log(torch.tensor(2.0))
        return losses, (batch.x[:, 1 : length + 1, :8].sum(-1) == 0).any(1)

    grid = [[float(bits(length, repeats)[0].mean()) for repeats in ENDS] for length in ENDS]
    pairs = [bits(length, repeats) for length in range(1, 11) for repeats in range(1, 11)]
    cost, zero = (torch.cat(parts) for parts in zip(*pairs, strict=True))
    return {
        "seed": trained.settings.seed,
        "sequences": len(cost),
        "mean": float(cost.mean()),
        "median": float(cost.median()),
        "over_1_bit": float((cost > 1).float().mean()),
        "without_zero_vector": float(cost[~zero].mean()),
        "with_zero_vector": float(cost[zero].mean()),
        "zero_vector": float(zero.float().mean()),
        "ends": ENDS,
        "grid": grid,
    }


def show(found: dict[str, Any]) -> None:
    """Print both tables."""
    print("bits: length down, repeats across")
    print("      " + "".join(f"{repeats:>9}" for repeats in ENDS))
    for length, across in zip(ENDS, found["grid"], strict=True):
        print(f"{length:>6}" + "".join(f"{value:9.2f}" for value in across))
    print(f"1 to 10 vectors, 1 to 10 times: {found['mean']:.3f} bits, median {found['median']:.4f}")
    print(f"  {found['over_1_bit']:.2%} of the sequences cost more than 1 bit")
    print(f"  without an all-zero vector {found['without_zero_vector']:.4f}")
    print(f"  with one, which are {found['zero_vector']:.1%}: {found['with_zero_vector']:.1f}")


def main() -> int:
    """Measure a run, print it, keep it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--sequences", type=int, default=100, help="of each length and number of repeats")
    parser.add_argument("--out", type=Path, help="JSON lines, one a run")
    options = parser.parse_args()
    try:
        others = written(options.out) if options.out else []
        trained = load(options.run)
        if trained.task.name != "repeat_copy":
            raise ConfigError(message(str(options.run), f"holds a run of {trained.task.name}, not of repeat_copy"))
        if options.sequences < 1:
            raise ConfigError(message("--sequences", f"must be from 1, got {options.sequences}"))
        found = measure(trained, options.sequences)
        show(found)
        if options.out:
            kept = [line for line in others if line["seed"] != found["seed"]]
            lines = sorted([*kept, found], key=lambda line: line["seed"])
            write_text(options.out, "".join(json.dumps(line) + "\n" for line in lines))
    except RecurraError as error:
        print(f"repeat_copy.py: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
