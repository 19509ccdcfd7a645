"""Tree-LSTMs climbed by height beside one node at a time: `python -m benchmarks.trees`.

Both sides have the same weights, and the input products of all words in one matrix product; the other side then visits
the nodes one by one, as programs for trees in PyTorch commonly do. No figure is printed where outputs or gradients do
not agree. Trees: sentences of the Stanford Sentiment Treebank (--data), or random binary trees of as many leaves. The
goal is 10 times the speed (issue 4).
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from recurra import __version__
from recurra.base.files import write_text
from recurra.base.forest import Forest
from recurra.data.sets import sst
from recurra.layers.tree import ChildSumTreeLSTM, NaryTreeLSTM, TreeNet
from recurra.layers.tree_step import tree_lstm

__all__ = ["main"]

RESULTS = Path(__file__).resolve().parent / "results"
GOAL = 10.0
AGREE = 1e-4


def main() -> int:
    """0 when both sides agree everywhere and all was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("RECURRA_DATA", "../shared/data")) / "sst")
    parser.add_argument("--input", type=int, default=300)
    parser.add_argument("--hidden", type=int, default=150)
    parser.add_argument("--batch", type=int, nargs="+", default=[25, 128], help="trees at once")
    parser.add_argument("--write", action="store_true", help="keep the figures in benchmarks/results")
    arguments = parser.parse_args()
    if arguments.rounds < 7:
        parser.error("--rounds: at least 7, for a spread")
    torch.set_num_threads(arguments.threads)
    torch.set_flush_denormal(True)
    load, rows = os.getloadavg()[0], []
    print(f"{'case':44} {'ours ms':>9} {'theirs ms':>10}  ratio (middle half)   goal {GOAL:g}")
    for net, name in ((NaryTreeLSTM, "binary"), (ChildSumTreeLSTM, "child-sum")):
        for batch in arguments.batch:
            for training in (True, False):
                rows.append(row := measured(net, name, batch, training, arguments))
                print(line(row), flush=True)
    if arguments.write:
        found = {
            "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
            "command": "python -m benchmarks.trees " + " ".join(sys.argv[1:]),
            "versions": {"recurra": __version__, "torch": torch.__version__},
            "threads": arguments.threads,
            "load": [load, os.getloadavg()[0]],
            "rows": rows,
        }
        write_text(RESULTS / f"{found['date']}-trees.json", json.dumps(found, indent=1) + "\n")
    return int(any("differs" in row for row in rows))


def sentences(batch: int, folder: Path) -> tuple[list[list[int]], str]:
    """Parents of `batch` trees, and where they come from."""
    if folder.is_dir():
        return [tree.parents for tree in sst.read(folder, "dev")[:batch]], "SST dev"
    generator = torch.Generator().manual_seed(0)
    trees = []
    for _ in range(batch):
        parents, waiting = [-1], [(0, int(torch.randint(5, 36, (), generator=generator)))]
        while waiting:
            node, leaves = waiting.pop()
            if leaves > 1:
                left = int(torch.randint(1, leaves, (), generator=generator))
                for share in (left, leaves - left):
                    parents.append(node)
                    waiting.append((len(parents) - 1, share))
        trees.append(parents)
    return trees, "random"


def one_at_a_time(net: TreeNet, x: Tensor, parents: list[list[int]]) -> Tensor:
    """h of all nodes, each from its children's rows."""
    size, outputs = net.hidden_size, []
    words = iter(torch.nn.functional.linear(x, net.weight, net.bias).unbind(0))
    for tree in parents:
        children: list[list[int]] = [[] for _ in tree]
        for node, parent in enumerate(tree):
            if parent >= 0:
                children[parent].append(node)
        done: list[Tensor] = [net.bias] * len(tree)
        said = [net.bias if below else next(words) for below in children]
        # Every node stands behind its parent, so that from the end each finds its children done.
        for node in range(len(tree) - 1, -1, -1):
            gates, of_input = said[node].split((3 * size, size))
            if not children[node]:
                done[node] = tree_lstm(gates, None, None, torch.sum)
                continue
            h, c = torch.stack([done[child] for child in children[node]]).chunk(2, -1)
            if isinstance(net, ChildSumTreeLSTM):
                gates, forget = gates + net.hidden @ h.sum(0), of_input + h @ net.forget.t()
            elif isinstance(net, NaryTreeLSTM):
                heard = net.hidden @ h.flatten()
                gates, forget = gates + heard[: 3 * size], of_input + heard[3 * size :].view(-1, size)
            done[node] = tree_lstm(gates, forget, c, lambda parts: parts.sum(0))
        outputs += done
    return torch.stack(outputs)[:, :size]


def measured(
    kind: type[TreeNet], name: str, batch: int, training: bool, arguments: argparse.Namespace
) -> dict[str, Any]:
    """Alternating rounds; the ratio is taken round by round. Ours makes its index tensors anew in every round."""
    torch.manual_seed(0)
    parents, source = sentences(batch, arguments.data)
    net = kind(arguments.input, arguments.hidden, inputs="leaves")
    x = torch.randn(len(Forest.from_parents(parents).leaves), arguments.input)

    def ours() -> Tensor:
        return net(x, Forest.from_parents(parents))[0]

    def theirs() -> Tensor:
        return one_at_a_time(net, x, parents)

    def run(function: Callable[[], Tensor]) -> Tensor:
        if not training:
            with torch.no_grad():
                return function()
        net.zero_grad(set_to_none=True)
        y = function()
        y.square().mean().backward()
        return y.detach()

    case = f"{name} {'training' if training else 'inference'}, {batch} trees of {source}, H={arguments.hidden}"
    found = []
    for function in (ours, theirs):
        parts = [run(function), *(p.grad.clone() for p in net.parameters() if p.grad is not None)]
        found.append(parts)
    error = max(float((a - b).norm() / b.norm()) for a, b in zip(*found, strict=True))
    if not error < AGREE:
        return {"case": case, "differs": error}
    spent: dict[str, list[float]] = {"ours": [], "theirs": []}
    for index in range(arguments.rounds):
        turns = [("ours", ours), ("theirs", theirs)]
        for side, function in turns if index % 2 else turns[::-1]:
            begin = time.perf_counter()
            run(function)
            spent[side].append(time.perf_counter() - begin)
    ratios = sorted(b / a for a, b in zip(spent["ours"], spent["theirs"], strict=True))
    return {
        "case": case,
        "ours_ms": statistics.median(spent["ours"]) * 1e3,
        "theirs_ms": statistics.median(spent["theirs"]) * 1e3,
        "ratio": statistics.median(ratios),
        "ratio_middle_half": [ratios[len(ratios) // 4], ratios[-1 - len(ratios) // 4]],
        "rounds": arguments.rounds,
        "goal": GOAL,
    }


def line(row: dict[str, Any]) -> str:
    """One row as text; a ratio above 1 means ours is faster."""
    if "differs" in row:
        return f"{row['case']:44} not measured: the two sides differ by {row['differs']:.1e}"
    low, high = row["ratio_middle_half"]
    met = "" if row["ratio"] >= GOAL else "  below the goal"
    figures = f"{row['ours_ms']:9.2f} {row['theirs_ms']:10.2f}  {row['ratio']:5.2f} ({low:.2f} .. {high:.2f})"
    return f"{row['case']:44} {figures}{met}"


if __name__ == "__main__":
    raise SystemExit(main())
