"""Bach chorales, the next frame from those before: cells side by side, as in Greff et al. 2017.

    python recipes/music/chorales.py JSB_Chorales.mat --cells lstm,nig,nfg --seeds 3 --out runs/chorales.jsonl

One layer, a linear layer to 88 independent keys; negative log-likelihood in nats per frame, summed over the keys, the
first frame of a piece given (Bai et al. 2018). The test figure is that of the weights with the best validation figure.
Every finished run is a line of --out; started again, the command skips those.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import Any

from recurra.data.sets import piano_rolls
from recurra.tasks.classic import run_task, task_settings


def once(cell: str, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """One run."""
    batches = -(-len(piano_rolls.read(options.data).train) // options.batch)
    sets = [f"data={options.data}", f"dropout={options.dropout}", f"batch={options.batch}"]
    sets += [f"train.optim.weight_decay={options.decay}", f"train.stopping.patience={options.patience}"]
    sets += [f"train.evaluate_every={batches}", "train.checkpoint_every=0"]
    named = {"cell": cell, "hidden": options.hidden, "seed": seed, "rate": options.rate}
    settings = task_settings("chorales", sets, iterations=options.epochs * batches, **named)
    result = run_task("chorales", settings=settings)
    if result.reason == "interrupted":
        raise KeyboardInterrupt
    return {
        "cell": cell,
        "seed": seed,
        **result.metrics,
        "iterations": result.updates,
        "parameters": result.parameters,
        "seconds": result.seconds,
        "options": {name: getattr(options, name) for name in ("hidden", "dropout", "rate", "decay", "batch", "epochs")},
    }


def main() -> int:
    """Run what is missing, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--cells", default="lstm")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--hidden", type=int, default=300)
    parser.add_argument("--dropout", type=float, default=0.5)
    parser.add_argument("--rate", type=float, default=1e-2)
    parser.add_argument("--decay", type=float, default=0.0)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--patience", type=int, default=15)
    parser.add_argument("--out", default="runs/chorales.jsonl")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    out = Path(options.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    done = [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []
    for cell in options.cells.split(","):
        for seed in range(options.seeds):
            if any(row["cell"] == cell and row["seed"] == seed for row in done):
                continue
            row = once(cell, seed, options)
            done.append(row)
            with out.open("a") as file:
                file.write(json.dumps(row) + "\n")
            print(f"{cell} seed {seed}: {row['test']:.3f} ({row['seconds']:.0f} s)", file=sys.stderr)
    for cell in options.cells.split(","):
        rows = [row for row in done if row["cell"] == cell]
        test = sorted(row["test"] for row in rows)
        line = {"cell": cell, "seeds": len(rows), "median": statistics.median(test), "best": test[0], "worst": test[-1]}
        line["validation"] = statistics.median(row["validation"] for row in rows)
        spread = f"({test[0]:.3f} to {test[-1]:.3f})"
        text = f"{cell:16} test {line['median']:.3f} {spread}, validation {line['validation']:.3f}"
        print(json.dumps(line) if options.json else text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
