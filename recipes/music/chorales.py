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
import time
from pathlib import Path

import torch
from torch import Tensor, nn

from recurra.base.rng import Streams
from recurra.data.batch import Batch
from recurra.data.buckets import BucketStream, padded
from recurra.data.sets import piano_rolls
from recurra.layers import Recurrent
from recurra.training.config import (
    AverageConfig,
    ClipConfig,
    OptimConfig,
    ScheduleConfig,
    StoppingConfig,
    TrainConfig,
)
from recurra.training.loop import Trainer


class Keys(nn.Module):
    """Frames (B, T, 88) -> logits of the next frame (B, T, 88)."""

    def __init__(self, cell: str, hidden: int, dropout: float, generator: torch.Generator) -> None:
        super().__init__()
        self.dropout = dropout
        self.recurrent = Recurrent(cell, piano_rolls.KEYS, hidden, generator=generator)
        self.output = nn.Linear(self.recurrent.output_width, piano_rolls.KEYS)
        # As rare as keys are: the first updates need not learn that most of them are silent.
        nn.init.constant_(self.output.bias, -3.0)
        nn.init.normal_(self.output.weight, std=hidden**-0.5, generator=generator)

    def forward(
        self, x: Tensor, state: object = None, lengths: Tensor | None = None, resets: Tensor | None = None
    ) -> tuple[Tensor, object]:
        """Dropout on frames and outputs."""
        x = nn.functional.dropout(x, self.dropout / 2, self.training)
        y, state = self.recurrent(x, state, lengths=lengths, resets=resets)
        return self.output(nn.functional.dropout(y, self.dropout, self.training)), state


def loss(logits: Tensor, batch: Batch) -> tuple[Tensor, int]:
    """Summed over keys and valid frames, and how many frames."""
    each = nn.functional.binary_cross_entropy_with_logits(logits, batch.y, reduction="none").sum(-1)
    if batch.lengths is not None:
        each = each[torch.arange(each.shape[1]) < batch.lengths[:, None]]
    return each.sum(), each.numel()


def score(model: nn.Module, pieces: list[Tensor]) -> float:
    """Nats per frame over all pieces."""
    batch = padded(piano_rolls.next_frame(pieces))
    with torch.no_grad():
        total, frames = loss(model(batch.x, lengths=batch.lengths)[0], batch)
    return float(total) / frames


def once(rolls: piano_rolls.PianoRolls, cell: str, seed: int, options: argparse.Namespace) -> dict[str, object]:
    """One run."""
    streams = Streams(seed)
    torch.manual_seed(seed)
    model = Keys(cell, options.hidden, options.dropout, streams["init"])
    stream = BucketStream(piano_rolls.next_frame(rolls.train), options.batch, generator=streams["data"])
    settings = TrainConfig(
        epochs=options.epochs,
        optim=OptimConfig(name="adamw", learning_rate=options.rate, beta2=0.999, weight_decay=options.decay),
        average=AverageConfig(kind="ema", decay=0.99),
        schedule=ScheduleConfig(name="cosine", total=options.epochs * len(stream)),
        clip=ClipConfig(norm=1.0),
        stopping=StoppingConfig(patience=options.patience),
        evaluate_every=len(stream),
    )
    trainer = Trainer(
        model, loss, stream, settings, evaluate=lambda m: {"loss": score(m, rolls.validation)}, streams=streams
    )
    began = time.monotonic()
    result = trainer.train()
    model.eval()
    return {
        "cell": cell,
        "seed": seed,
        "validation": score(model, rolls.validation),
        "test": score(model, rolls.test),
        "iterations": result.iteration,
        "parameters": sum(p.numel() for p in model.parameters()),
        "seconds": time.monotonic() - began,
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
    rolls = piano_rolls.read(options.data)
    out = Path(options.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    done = [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []
    for cell in options.cells.split(","):
        for seed in range(options.seeds):
            if any(row["cell"] == cell and row["seed"] == seed for row in done):
                continue
            row = once(rolls, cell, seed, options)
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
