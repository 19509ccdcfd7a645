"""Handwritten digits by a two-dimensional net, and pixel by pixel by an IRNN and an LSTM beside it.

    python recipes/grid/digits.py --model grid --seeds 0-2
    python recipes/grid/digits.py --model irnn --seeds 0-2
    python recipes/grid/digits.py --model lstm --seeds 0-2
    python recipes/grid/digits.py --mnist ../shared/data/mnist --train 20000 --hidden 32 --epochs 2 --seeds 0

Without --mnist: scikit-learn's 1,797 digits of 8 x 8 pixels, the last 360 (other writers) held out; 1 to 3 minutes a
seed. IRNN and LSTM read 64 pixels one after the other (Le, Jaitly and Hinton 2015 read 784). Needs scikit-learn.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from recurra.base.rng import Streams
from recurra.data.sets import mnist
from recurra.layers import Recurrent
from recurra.layers.grid import Recurrent2d
from recurra.training import checkpoint

# Epochs, learning rate, batch.
SETTINGS = {"grid": (20, 1e-2, 64), "irnn": (240, 3e-4, 32), "lstm": (60, 5e-3, 32)}


class Grid(nn.Module):
    """Four walks over the image, one softmax over where each ends and the mean of what it says on the way."""

    def __init__(self, cell: str, hidden: int, block: tuple[int, int], generator: torch.Generator):
        super().__init__()
        self.walk = Recurrent2d(cell, 1, hidden, block=block, generator=generator)
        self.output = nn.Linear(2 * 4 * hidden, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, 10) of images (B, H, W, 1)."""
        y, corners = self.walk(images)
        ends = torch.cat([corner.h for corner in corners], -1)
        return self.output(functional.dropout(torch.cat((ends, y.mean((1, 2))), -1), 0.5, self.training))


class PixelByPixel(nn.Module):
    """A recurrent layer over the pixels row by row, one softmax over its last output."""

    def __init__(self, kind: str, hidden: int, generator: torch.Generator):
        super().__init__()
        if kind == "irnn":
            # Le et al. 2015: the identity, and small random input weights. Theirs deviate by 0.001; with so few images
            # (1,437 for their 60,000) the units then stay alike for hundreds of epochs.
            initial: dict[str, str | float] = {"U": "identity", "W": "irnn_input"}
            self.layer = Recurrent("relu_rnn", 1, hidden, initializers=initial, generator=generator)
            with torch.no_grad():
                for name, weight in self.layer.named_parameters():
                    if ".W" in name:
                        weight.mul_(100)
        else:
            self.layer = Recurrent("lstm", 1, hidden, generator=generator)
        self.output = nn.Linear(hidden, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, 10) of images (B, H, W, 1)."""
        y, _ = self.layer(images.flatten(1, 2))
        return self.output(y[:, -1])


def digits(folder: Path | None) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Training and test images (N, H, W, 1) from 0 to 1, each with its digits."""
    if folder is not None:
        return mnist.read(folder, "train"), mnist.read(folder, "test")
    from sklearn.datasets import load_digits

    found = load_digits()
    images = torch.tensor(found.images).float().unsqueeze(-1) / 16
    labels = torch.tensor(found.target)
    return (images[:-360], labels[:-360]), (images[-360:], labels[-360:])


@torch.no_grad()
def judge(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Percent right."""
    model.eval()
    right = [
        (model(some).argmax(-1) == wanted).sum()
        for some, wanted in zip(images.split(500), labels.split(500), strict=True)
    ]
    return 100 * float(sum(right)) / len(labels)


def train(a: argparse.Namespace, seed: int) -> float:
    """Percent of the test set that one seed gets right."""
    (images, labels), test = digits(a.mnist)
    images, labels = images[: a.train], labels[: a.train]
    streams = Streams(seed)
    block = (4, 4) if a.mnist else (1, 1)
    # The output layer's start, and dropout.
    torch.manual_seed(seed)
    model: nn.Module = (
        Grid(a.cell, a.hidden or 16, block, streams["init"])
        if a.model == "grid"
        else PixelByPixel(a.model, a.hidden or 100, streams["init"])
    )
    epochs, rate, size = SETTINGS[a.model]
    epochs, size = a.epochs or epochs, a.batch or size
    optimizer = torch.optim.Adam(model.parameters(), lr=a.rate or rate)
    updates = epochs * -(-len(labels) // size)
    cycle = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda update: max(0.02, 1 - update / updates))
    begin = time.monotonic()
    for epoch in range(epochs):
        total = 0.0
        model.train()
        for rows in torch.randperm(len(labels), generator=streams["data"]).split(size):
            loss = functional.cross_entropy(model(images[rows]), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            cycle.step()
            total += float(loss.detach()) * len(rows)
        if (epoch + 1) % max(1, epochs // 4) == 0:
            said = f"seed {seed} epoch {epoch + 1}: loss {total / len(labels):.4f}, test {judge(model, *test):.2f} %"
            sys.stdout.write(f"{said}, {time.monotonic() - begin:.0f} s\n")
            sys.stdout.flush()
    if a.out:
        a.out.mkdir(parents=True, exist_ok=True)
        checkpoint.save_weights(a.out / f"{a.model}-{seed}.safetensors", model.state_dict())
    return judge(model, *test)


def main() -> None:
    """Every seed in turn, then mean and range."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=("grid", "irnn", "lstm"), default="grid")
    parser.add_argument("--cell", default="stable_mdlstm", help="of the two-dimensional net")
    parser.add_argument("--seeds", default="0-2", help="3, or 0-2")
    parser.add_argument("--mnist", type=Path, help="folder of the idx files")
    parser.add_argument("--train", type=int, help="only the first so many images")
    parser.add_argument("--hidden", type=int)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--rate", type=float)
    parser.add_argument("--batch", type=int)
    parser.add_argument("--out", type=Path, help="where the weights go")
    a = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    first, _, last = a.seeds.partition("-")
    found = [train(a, seed) for seed in range(int(first), int(last or first) + 1)]
    low, high = min(found), max(found)
    sys.stdout.write(f"{a.model}: mean {statistics.mean(found):.2f} % of the test set, {low:.2f} to {high:.2f}\n")


if __name__ == "__main__":
    main()
