"""Nets beside the same nets written step by step in torch: `python -m benchmarks.nets`.

Each case has a fast form of ours and a slow twin with the same weights; where outputs or gradients differ, no figure is
printed. Forward and backward, both sides in turn, the ratio of each round, its median and middle half.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from recurra import __version__
from recurra.base.files import write_text
from recurra.layers import Recurrent
from recurra.layers.decoder import Decoder
from recurra.layers.feedback import OutputFeedback
from recurra.layers.monotonic import expected_alignment
from recurra.layers.tdnn import TDNN
from recurra.layers.transition import deep_transition

__all__ = ["main"]

RESULTS = Path(__file__).resolve().parent / "results"
AGREE = 1e-4


class Case(NamedTuple):
    """ours, theirs: give the outputs. weights: whose gradients must agree."""

    name: str
    ours: Callable[[], Tensor]
    theirs: Callable[[], Tensor]
    weights: Sequence[Tensor]


def jordan(batch: int, steps: int, hidden: int) -> Case:
    """A Jordan net told the truth: all steps at once, and one after the other."""
    net = OutputFeedback("jordan", 32, hidden, 32)
    x, targets = torch.randn(batch, steps, 32), torch.randn(batch, steps, 32)
    w = net.recurrent.units[0].named()

    def loop() -> Tensor:
        read = nn.functional.linear(x, w["W.h"], w["b.h"]).unbind(1)
        y, outputs = x.new_zeros(batch, 32), []
        for t in range(steps):
            h = torch.tanh(read[t] + y @ w["U.h"].t())
            outputs.append(nn.functional.linear(h, w["V.y"], w["b.y"]))
            y = targets[:, t]
        return torch.stack(outputs, 1)

    return Case(
        f"jordan, told B={batch} T={steps} H={hidden}", lambda: net(x, targets=targets)[0], loop, list(w.values())
    )


def deep(batch: int, steps: int, hidden: int) -> Case:
    """DT(S)-RNN, two layers a step, by the engine and as a loop."""
    layer = Recurrent(deep_transition("elman", 2, shortcut=True), 64, hidden)
    x, w = torch.randn(batch, steps, 64), layer.units[0].named()

    def loop() -> Tensor:
        read = nn.functional.linear(x, w["W"], w["b"]).unbind(1)
        h, outputs = x.new_zeros(batch, hidden), []
        for pre in read:
            first = torch.tanh(torch.addmm(pre, h, w["U"].t()))
            h = torch.tanh(torch.addmm(w["b2"], first, w["U2"].t()) + h @ w["Us2"].t())
            outputs.append(h)
        return torch.stack(outputs, 1)

    return Case(f"DT(S)-RNN B={batch} T={steps} H={hidden}", lambda: layer(x)[0], loop, list(w.values()))


def decoder(batch: int, steps: int, hidden: int) -> Case:
    """Luong's decoder told the truth: all steps at once, and one after the other."""
    net = Decoder("lstm", 500, hidden, memory_size=hidden, embedding_size=64)
    memory, tokens = torch.randn(batch, steps, hidden), torch.randint(500, (batch, steps))

    def loop() -> Tensor:
        state, outputs = net.begin(None, memory), []
        for token in tokens.unbind(1):
            y, state = net.step(token, state)
            outputs.append(y)
        return torch.stack(outputs, 1)

    return Case(
        f"attention decoder B={batch} T={steps} H={hidden}",
        lambda: net(tokens, net.begin(None, memory))[0],
        loop,
        list(net.parameters()),
    )


def time_delay(batch: int, steps: int, hidden: int) -> Case:
    """A TDNN and torch's convolutions."""
    net = TDNN(40, [(hidden, 5), (hidden, (-2, 0, 2)), (hidden, (-3, 0, 3))])
    convs = []
    for layer in net.layers:
        gap = layer.offsets[1] - layer.offsets[0]
        conv = nn.Conv1d(layer.input_size, hidden, len(layer.offsets), dilation=gap)
        with torch.no_grad():
            conv.weight.copy_(layer.weight.unflatten(1, (-1, layer.input_size)).transpose(1, 2))
            conv.bias.copy_(layer.bias)  # pyright: ignore[reportOptionalMemberAccess]
        convs += [conv, nn.Tanh()]
    stack = nn.Sequential(*convs)
    x = torch.randn(batch, steps, 40, requires_grad=True)
    name = f"TDNN, torch's Conv1d B={batch} T={steps} H={hidden}"
    return Case(name, lambda: net(x)[0], lambda: stack(x.transpose(1, 2)).transpose(1, 2), [x])


def monotonic(batch: int, outputs: int, steps: int) -> Case:
    """Expected alignments: by diagonals, and output by output with a loop over the memory."""
    p = torch.rand(batch, outputs, steps, requires_grad=True)
    start = torch.zeros(batch, steps)
    start[:, 0] = 1

    def loop() -> Tensor:
        previous, found = start, []
        for stop in p.unbind(1):
            q, row = torch.zeros(batch), []
            for t in range(steps):
                q = (q * (1 - stop[:, t - 1]) if t else q) + previous[:, t]
                row.append(q * stop[:, t])
            previous = torch.stack(row, 1)
            found.append(previous)
        return torch.stack(found, 1)

    return Case(f"monotonic B={batch} S={outputs} T={steps}", lambda: expected_alignment(p, start), loop, [p])


CASES: Sequence[Callable[[], Case]] = (
    lambda: jordan(32, 200, 64),
    lambda: jordan(1, 1000, 64),
    lambda: deep(32, 100, 128),
    lambda: decoder(32, 40, 128),
    lambda: time_delay(8, 500, 64),
    lambda: monotonic(8, 40, 60),
)


def main() -> int:
    """0 when both sides agree everywhere."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--write", action="store_true", help="keep the figures in benchmarks/results")
    arguments = parser.parse_args()
    if arguments.rounds < 7:
        parser.error("--rounds: at least 7, for a spread")
    torch.set_num_threads(arguments.threads)
    torch.set_flush_denormal(True)
    load, rows = os.getloadavg()[0], []
    print(f"{'case':44} {'ours ms':>9} {'theirs ms':>10}  ratio (middle half)")
    for build in CASES:
        torch.manual_seed(0)
        rows.append(row := measured(build(), arguments.rounds))
        print(line(row), flush=True)
    if arguments.write:
        found = {
            "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
            "command": "python -m benchmarks.nets " + " ".join(sys.argv[1:]),
            "versions": {"recurra": __version__, "torch": torch.__version__},
            "threads": arguments.threads,
            "load": [load, os.getloadavg()[0]],
            "rows": rows,
        }
        write_text(RESULTS / f"{found['date']}-nets.json", json.dumps(found, indent=1) + "\n")
    return int(any("differs" in row for row in rows))


def once(run: Callable[[], Tensor], weights: Sequence[Tensor]) -> tuple[float, Tensor, Sequence[Tensor]]:
    """Seconds of a forward and backward pass, the outputs, the gradients."""
    begin = time.perf_counter()
    y = run()
    gradients = torch.autograd.grad((y * y).sum(), weights)
    return time.perf_counter() - begin, y.detach(), gradients


def measured(case: Case, rounds: int) -> dict[str, Any]:
    """The figures of a case, or what differs."""
    _, mine, first = once(case.ours, case.weights)
    _, other, second = once(case.theirs, case.weights)
    for have, want in [(mine, other), *zip(first, second, strict=True)]:
        error = float((have - want).norm() / want.norm().clamp(min=1))
        if not error <= AGREE:
            return {"case": case.name, "differs": error}
    taken = [(once(case.ours, case.weights)[0], once(case.theirs, case.weights)[0]) for _ in range(rounds)]
    ratios = sorted(theirs / ours for ours, theirs in taken)
    low, middle, high = statistics.quantiles(ratios, n=4)
    ours, theirs = (statistics.median(part) * 1e3 for part in zip(*taken, strict=True))
    return {"case": case.name, "ours_ms": ours, "theirs_ms": theirs, "ratio": middle, "low": low, "high": high}


def line(row: dict[str, Any]) -> str:
    """As printed."""
    if "differs" in row:
        return f"{row['case']:44} differs by {row['differs']:.1e}"
    spread = f"{row['ratio']:5.1f} ({row['low']:.1f}-{row['high']:.1f})"
    return f"{row['case']:44} {row['ours_ms']:9.2f} {row['theirs_ms']:10.2f}  {spread}"


if __name__ == "__main__":
    sys.exit(main())
