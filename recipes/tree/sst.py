"""Sentiment of sentences and all their phrases by a binary Tree-LSTM (Tai et al. 2015) on the Stanford Treebank.

    python recipes/tree/sst.py ../shared/data/sst --task fine --seed 0 --out runs/sst-fine-0
    python recipes/tree/sst.py ../shared/data/sst --task binary --seed 0 --out runs/sst-binary-0

A few minutes on one core each. Word vectors are learned from the treebank alone, so the figures stand below the paper's
(51.0 fine, 88.0 binary), which begin with GloVe vectors trained on 840 billion words. Training that was stopped goes
on with its last epoch.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from recurra.base.forest import Forest
from recurra.base.rng import Streams
from recurra.data.sets import sst
from recurra.data.trees import Tree, forest
from recurra.layers.tree import NaryTreeLSTM
from recurra.training import checkpoint

UNKNOWN = 0
IGNORE = -100


class Sentiment(nn.Module):
    """Word vectors at the leaves, a binary Tree-LSTM over them, and one softmax at every node."""

    def __init__(self, words: int, width: int, hidden: int, classes: int, dropout: float, generator: torch.Generator):
        super().__init__()
        self.words = nn.Embedding(words, width)
        nn.init.normal_(self.words.weight, 0, 0.1, generator=generator)
        self.tree = NaryTreeLSTM(width, hidden, inputs="leaves", generator=generator)
        self.output = nn.Linear(hidden, classes)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)
        self.dropout = dropout

    def forward(self, tokens: Tensor, trees: Forest) -> Tensor:
        """Logits of every node (N, classes)."""
        x = functional.dropout(self.words(tokens), self.dropout, self.training)
        h, _ = self.tree(x, trees)
        return self.output(functional.dropout(h, self.dropout, self.training))


def targets(tree: Tree, task: str) -> list[int]:
    """The class of each node; IGNORE where it counts for nothing."""
    if task == "fine":
        return [int(label) for label in tree.labels]
    found = (sst.binary(label) for label in tree.labels)
    return [IGNORE if label is None else label for label in found]


def batches(
    trees: Sequence[Tree], size: int, vocabulary: dict[str, int], task: str, generator: torch.Generator | None
) -> Iterator[tuple[Tensor, Forest, Tensor]]:
    """Word numbers, trees and classes; shuffled with a generator."""
    order = range(len(trees)) if generator is None else torch.randperm(len(trees), generator=generator).tolist()
    for start in range(0, len(trees), size):
        some = [trees[index] for index in order[start : start + size]]
        tokens = [vocabulary.get(word.lower(), UNKNOWN) for tree in some for word in tree.words]
        classes = [label for tree in some for label in targets(tree, task)]
        yield torch.tensor(tokens), forest(some), torch.tensor(classes)


@torch.no_grad()
def judge(model: Sentiment, trees: Sequence[Tree], vocabulary: dict[str, int], task: str) -> tuple[float, float]:
    """Share of the roots, and of all labelled nodes, that are right, in percent."""
    model.eval()
    right = torch.zeros(2)
    count = torch.zeros(2)
    for tokens, some, classes in batches(trees, 250, vocabulary, task, None):
        good = model(tokens, some).argmax(-1) == classes
        labelled = classes != IGNORE
        for index, picked in enumerate((some.roots, labelled.nonzero().squeeze(1))):
            right[index] += good[picked].sum()
            count[index] += len(picked)
    root, nodes = (100 * right / count).tolist()
    return root, nodes


def main() -> None:
    """Train, keep the epoch that is best on dev, and judge that one on test once."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--task", choices=("fine", "binary"), default="fine")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/sst"))
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--batch", type=int, default=25)
    parser.add_argument("--width", type=int, default=100)
    parser.add_argument("--hidden", type=int, default=100)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--dropout", type=float, default=0.5)
    parser.add_argument("--decay", type=float, default=1e-4)
    a = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    parts = {part: sst.read(a.data, part) for part in sst.PARTS}
    if a.task == "binary":
        parts = {part: [tree for tree in trees if tree.labels[0] != "2"] for part, trees in parts.items()}
    counts = Counter(word.lower() for tree in parts["train"] for word in tree.words)
    vocabulary = {word: number for number, word in enumerate(sorted(w for w, n in counts.items() if n > 1), 1)}
    streams = Streams(a.seed)
    model = Sentiment(len(vocabulary) + 1, a.width, a.hidden, 5 if a.task == "fine" else 2, a.dropout, streams["init"])
    optimizer = torch.optim.AdamW(model.parameters(), lr=a.rate, weight_decay=a.decay)
    a.out.mkdir(parents=True, exist_ok=True)
    kept, log, first = a.out / "last.safetensors", [], 0
    if kept.exists():
        state = checkpoint.load(kept)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        streams.load_state_dict(state["streams"])
        log, first = state["log"], state["epoch"]
    for epoch in range(first, a.epochs):
        begin, total, nodes = time.monotonic(), 0.0, 0
        model.train()
        # Dropout draws from torch's global stream.
        torch.manual_seed(1000 * a.seed + epoch)
        for tokens, some, classes in batches(parts["train"], a.batch, vocabulary, a.task, streams["data"]):
            loss = functional.cross_entropy(model(tokens, some), classes, ignore_index=IGNORE)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            total += float(loss.detach()) * len(classes)
            nodes += len(classes)
        root, every = judge(model, parts["dev"], vocabulary, a.task)
        log.append({"loss": total / nodes, "dev": root, "dev_nodes": every, "seconds": time.monotonic() - begin})
        if root == max(entry["dev"] for entry in log):
            checkpoint.save_weights(a.out / "best.safetensors", model.state_dict())
        sys.stdout.write(f"epoch {epoch + 1}: " + ", ".join(f"{k} {v:.3f}" for k, v in log[-1].items()) + "\n")
        sys.stdout.flush()
        state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "streams": streams.state_dict()}
        checkpoint.save(kept, {**state, "log": log, "epoch": epoch + 1})
    model.load_state_dict(checkpoint.load_weights(a.out / "best.safetensors")[0])
    root, every = judge(model, parts["test"], vocabulary, a.task)
    result = {"task": a.task, "seed": a.seed, "test": root, "test_nodes": every, "dev": max(e["dev"] for e in log)}
    result["seconds"] = sum(entry["seconds"] for entry in log)
    (a.out / "result.json").write_text(json.dumps({**result, "log": log}) + "\n", encoding="utf-8")
    sys.stdout.write(f"test: {root:.2f} % of the sentences, {every:.2f} % of all phrases\n")


if __name__ == "__main__":
    main()
