"""Our cells beside torchrecurrent's, forward and backward: `python -m benchmarks.cells`.

Both sides get the same weights. No figure is printed for a cell whose outputs or gradients do not agree. The goal is 3
times torchrecurrent's speed (issue 4).
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torchrecurrent
from tests.contract.torchrecurrent_peers import PEERS
from torch import Tensor, nn

from recurra import __version__
from recurra.base.files import write_text
from recurra.layers import Recurrent

__all__ = ["main"]

RESULTS = Path(__file__).resolve().parent / "results"
GOAL = 3.0
# What float32 rounding leaves over these steps; a wrong gate is off by a thousand times that.
AGREE = 2e-3
SIZES = {"batch": 32, "steps": 100, "input": 64, "hidden": 128}


def main() -> int:
    """0 when every cell agrees and was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--only", default="", help="cells whose name contains this")
    for name, size in SIZES.items():
        parser.add_argument(f"--{name}", type=int, default=size)
    parser.add_argument("--write", action="store_true", help="keep the figures in benchmarks/results")
    arguments = parser.parse_args()
    if arguments.rounds < 7:
        parser.error("--rounds: at least 7, for a spread")
    torch.set_num_threads(arguments.threads)
    torch.set_flush_denormal(True)
    load = os.getloadavg()[0]
    rows = []
    print(f"{'cell':22} {'ours ms':>9} {'theirs ms':>10}  ratio (middle half)   goal {GOAL:g}")
    for name in PEERS:
        if arguments.only in name:
            rows.append(row := measured(name, arguments))
            print(line(row), flush=True)
    if arguments.write:
        write(rows, load, arguments)
    return int(any("differs" in row for row in rows))


def pair(name: str, arguments: argparse.Namespace) -> tuple[Recurrent, nn.Module]:
    """Our layer and torchrecurrent's with the same weights."""
    peer = PEERS[name]
    layer = Recurrent(name, arguments.input, arguments.hidden, generator=torch.Generator().manual_seed(0))
    theirs = getattr(torchrecurrent, peer.cell.removesuffix("Cell"))(
        arguments.input, arguments.hidden, batch_first=True, **peer.options
    )
    named = layer.units[0].named()
    with torch.no_grad():
        for key, value in theirs.cells[0].named_parameters():
            value.copy_(peer.weights[key](named))
    return layer, theirs


def training(layer: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """One pass forward and back: outputs and the gradient of x."""
    layer.zero_grad(set_to_none=True)
    x = x.detach().requires_grad_()
    y, _ = layer(x)
    y.square().mean().backward()
    if x.grad is None:
        raise RuntimeError("no gradient reached x")
    return y.detach(), x.grad


def measured(name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Alternating rounds, who goes first changing too; the ratio is taken round by round."""
    torch.manual_seed(0)
    ours, theirs = pair(name, arguments)
    x = torch.randn(arguments.batch, arguments.steps, arguments.input)
    for have, want in zip(training(ours, x), training(theirs, x), strict=True):
        error = float((have - want).norm() / want.norm())
        if not error < AGREE:
            return {"cell": name, "differs": error}
    spent: dict[str, list[float]] = {"ours": [], "theirs": []}
    for index in range(arguments.rounds):
        turns = [("ours", ours), ("theirs", theirs)]
        for side, layer in turns if index % 2 else turns[::-1]:
            spent[side].append(timed(lambda layer=layer: training(layer, x)))
    ratios = sorted(b / a for a, b in zip(spent["ours"], spent["theirs"], strict=True))
    return {
        "cell": name,
        "against": f"torchrecurrent.{PEERS[name].cell.removesuffix('Cell')}",
        "ours_ms": statistics.median(spent["ours"]) * 1e3,
        "theirs_ms": statistics.median(spent["theirs"]) * 1e3,
        "ratio": statistics.median(ratios),
        "ratio_middle_half": [ratios[len(ratios) // 4], ratios[-1 - len(ratios) // 4]],
        "rounds": arguments.rounds,
        "goal": GOAL,
    }


def timed(function: Callable[[], object]) -> float:
    """Seconds of one run."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def line(row: dict[str, Any]) -> str:
    """One row as text; a ratio above 1 means ours is faster."""
    if "differs" in row:
        return f"{row['cell']:22} not measured: the two sides differ by {row['differs']:.1e}"
    low, high = row["ratio_middle_half"]
    met = "" if row["ratio"] >= GOAL else "  below the goal"
    figures = f"{row['ours_ms']:9.2f} {row['theirs_ms']:10.2f}  {row['ratio']:5.2f} ({low:.2f} .. {high:.2f})"
    return f"{row['cell']:22} {figures}{met}"


def write(rows: list[dict[str, Any]], load: float, arguments: argparse.Namespace) -> None:
    """The figures with what they were measured on."""
    found = {
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        "command": "python -m benchmarks.cells " + " ".join(sys.argv[1:]),
        "versions": {
            "recurra": __version__,
            "torch": torch.__version__,
            "torchrecurrent": importlib.metadata.version("torchrecurrent"),
        },
        "sizes": {name: getattr(arguments, name) for name in SIZES},
        "threads": arguments.threads,
        "load": [load, os.getloadavg()[0]],
        "rows": rows,
    }
    path = RESULTS / f"{found['date']}-cells.json"
    write_text(path, json.dumps(found, indent=1) + "\n")
    print(f"written to {path.name}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
