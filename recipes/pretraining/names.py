"""Which language is a surname from? Few labels, many names without: what pre-training gives (Dai and Le 2015).

    python recipes/pretraining/names.py ../shared/data/names/by_language --seeds 0-4 --out runs/pretraining.jsonl

A character LSTM is trained on a few labelled names a language: from random weights, from a language model of all
training names, or from an autoencoder of them. The measure is the share of right answers on held-out names, averaged
over the languages (they differ in size by 100). A name that several languages have is left out. Every finished run is
a line of --out; started again, the command skips those.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import time
from pathlib import Path

import torch
from scipy import stats
from torch import Generator, Tensor, nn

from recurra.base.rng import Streams
from recurra.cli.compare import seeds_of
from recurra.data.batch import Batch
from recurra.data.buckets import BucketStream, padded
from recurra.training.config import ClipConfig, OptimConfig, ScheduleConfig, TrainConfig
from recurra.training.loop import Trainer
from recurra.training.pretraining import (
    Autoencoder,
    Classifier,
    Encoder,
    NextSymbol,
    class_loss,
    symbol_loss,
    transfer,
)

KINDS = ("none", "language model", "autoencoder")
END = 0


class Names:
    """Names by language as symbols, split into training and test by the order of a fixed draw."""

    def __init__(self, folder: Path, held_out: float = 0.3) -> None:
        lists = {path.stem: path.read_text(encoding="utf-8").split("\n") for path in sorted(folder.glob("*.txt"))}
        if not lists:
            sys.exit(f"{folder}: no *.txt files, one per language, were found")
        seen: dict[str, set[str]] = {}
        for language, names in lists.items():
            for name in names:
                if name.strip():
                    seen.setdefault(name.strip().lower(), set()).add(language)
        self.languages = [*lists]
        own = {name: next(iter(where)) for name, where in seen.items() if len(where) == 1}
        letters = sorted({letter for name in own for letter in name})
        self.symbols = {letter: index + 1 for index, letter in enumerate(letters)}
        self.train: list[tuple[Tensor, int]] = []
        self.test: list[tuple[Tensor, int]] = []
        chance = Generator().manual_seed(0)
        for index, language in enumerate(self.languages):
            found = sorted(name for name, where in own.items() if where == language)
            found = [found[place] for place in torch.randperm(len(found), generator=chance).tolist()]
            cut = max(10, int(len(found) * held_out))
            coded = [(torch.tensor([self.symbols[letter] for letter in name]), index) for name in found]
            self.test += coded[:cut]
            self.train += coded[cut:]

    @property
    def size(self) -> int:
        """Symbols, the end's included."""
        return len(self.symbols) + 1

    def labelled(self, each: int, seed: int) -> list[tuple[Tensor, int]]:
        """So many training names a language, drawn by the seed; a small language gives what it has."""
        chance = Generator().manual_seed(seed)
        found: list[tuple[Tensor, int]] = []
        for index in range(len(self.languages)):
            own = [pair for pair in self.train if pair[1] == index]
            found += [own[place] for place in torch.randperm(len(own), generator=chance)[:each].tolist()]
        return found


def train(model: nn.Module, objective, pairs, options: argparse.Namespace, iterations: int, streams: Streams) -> None:
    """By the one loop, with a cosine."""
    config = TrainConfig(
        iterations=iterations,
        optim=OptimConfig(name="adamw", learning_rate=options.rate, beta2=0.999),
        schedule=ScheduleConfig(name="cosine"),
        clip=ClipConfig(norm=1.0),
        evaluate_every=0,
        checkpoint_every=0,
        log_every=1000,
    )
    stream = BucketStream(pairs, options.batch, generator=streams["data"])
    Trainer(model, objective, stream, config, streams=streams).train()


def pretrained(names: Names, kind: str, seed: int, options: argparse.Namespace) -> tuple[nn.Module, float]:
    """A model that has read all training names without their labels, and its bits a symbol."""
    streams = Streams(seed)
    torch.manual_seed(seed)
    encoder = Encoder(names.size, options.embedding, options.hidden, generator=streams["init"])
    end = torch.tensor([END])
    if kind == "language model":
        # Fed the end, then the name; asked for the name, then the end.
        model: nn.Module = NextSymbol(encoder, streams["init"])
        pairs = [(torch.cat([end, name]), torch.cat([name, end])) for name, _ in names.train]
    else:
        model = Autoencoder(encoder, END, streams["init"])
        pairs = [(name, name) for name, _ in names.train]
    train(model, symbol_loss, pairs, options, options.pretraining, streams)
    with torch.no_grad():
        sample = padded(pairs[:500])
        loss, count = symbol_loss(model.eval()(sample.x, lengths=sample.lengths)[0], sample)
    return model, float(loss) / count / math.log(2)


def once(
    names: Names, seed: int, each: int, source: nn.Module | None, options: argparse.Namespace
) -> dict[str, object]:
    """A classifier from random weights, or from those of `source`."""
    began, streams = time.monotonic(), Streams(seed)
    torch.manual_seed(seed)
    encoder = Encoder(names.size, options.embedding, options.hidden, generator=streams["init"])
    classifier = Classifier(encoder, len(names.languages), dropout=options.dropout, generator=streams["init"])
    if source is not None:
        transfer(source, classifier)
    labelled = [(name, torch.tensor([language])) for name, language in names.labelled(each, seed)]
    train(classifier, _class_of_row, labelled, options, options.iterations, streams)
    right = score(classifier.eval(), names)
    return {"right": right, "labels": len(labelled), "seconds": time.monotonic() - began}


def _class_of_row(logits: Tensor, batch: Batch) -> tuple[Tensor, int]:
    # The stream pads targets like inputs: a class is a sequence of length one.
    return class_loss(logits, batch._replace(y=batch.y[:, 0]))


@torch.no_grad()
def score(model: nn.Module, names: Names) -> float:
    """Share of right answers a language, averaged over the languages."""
    right = torch.zeros(len(names.languages), 2)
    for start in range(0, len(names.test), 500):
        part = names.test[start : start + 500]
        batch = padded([(name, name) for name, _ in part])
        guessed = model(batch.x, lengths=batch.lengths)[0].argmax(-1)
        wanted = torch.tensor([language for _, language in part])
        right[:, 0].index_add_(0, wanted, (guessed == wanted).float())
        right[:, 1].index_add_(0, wanted, torch.ones(len(part)))
    return float((right[:, 0] / right[:, 1]).mean())


def main() -> int:
    """Run what is missing, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="folder with a file of names per language")
    parser.add_argument("--each", default="20,100", help="labelled names a language, by commas")
    parser.add_argument("--seeds", default="0-4")
    parser.add_argument("--hidden", type=int, default=96)
    parser.add_argument("--embedding", type=int, default=32)
    parser.add_argument("--dropout", type=float, default=0.2)
    parser.add_argument("--rate", type=float, default=5e-3)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--pretraining", type=int, default=800, help="updates on all training names")
    parser.add_argument("--iterations", type=int, default=600, help="updates on the labelled ones")
    parser.add_argument("--out", default="runs/pretraining.jsonl")
    options = parser.parse_args()
    torch.set_num_threads(1)
    names = Names(Path(options.data))
    print(f"{len(names.train)} training and {len(names.test)} test names, {len(names.languages)} languages")
    out = Path(options.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    done = [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []
    budgets = [int(part) for part in options.each.split(",")]
    for seed in seeds_of(options.seeds):
        for kind in KINDS:
            missing = [
                each
                for each in budgets
                if not any((row["kind"], row["each"], row["seed"]) == (kind, each, seed) for row in done)
            ]
            source, bits = pretrained(names, kind, seed, options) if missing and kind != "none" else (None, None)
            for each in missing:
                row = {"kind": kind, "each": each, "seed": seed, "bits": bits}
                row |= once(names, seed, each, source, options)
                done.append(row)
                with out.open("a") as file:
                    file.write(json.dumps(row) + "\n")
                text = f"{kind}, {each} a language, seed {seed}: {row['right']:.3f} ({row['seconds']:.0f} s)"
                print(text, file=sys.stderr)
    for each in budgets:
        base = [row["right"] for row in done if row["each"] == each and row["kind"] == "none"]
        for kind in KINDS:
            rows = [row["right"] for row in done if row["each"] == each and row["kind"] == kind]
            if not rows:
                continue
            spread = f" +- {statistics.stdev(rows):.3f}" if len(rows) > 1 else ""
            text = f"{each:4} a language  {kind:16} {statistics.fmean(rows):.3f}{spread}"
            text += f"  ({min(rows):.3f} to {max(rows):.3f}, {len(rows)} seeds)"
            if kind != "none" and len(rows) == len(base) > 1:
                # The same seed draws the same labelled names: pairs.
                text += f"  p {float(stats.ttest_rel(rows, base)[1]):.4f}"  # pyright: ignore[reportArgumentType]
            print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
