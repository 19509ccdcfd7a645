"""Reservoir states and readouts beside reservoirpy's, with its own weights: `python -m benchmarks.reservoir`.

Both sides in one process and in turns; the ratio is taken round by round. No figure is printed while the tests of the
reservoirs are red, and none of a case whose states differ by more than 1e-12. Results go to benchmarks/results/.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from reservoirpy.nodes import Reservoir as TheirReservoir
from reservoirpy.nodes import Ridge as TheirRidge

from benchmarks.run import ROOT, line, timed
from recurra import __version__
from recurra.base.files import write_text
from recurra.reservoir.reservoir import Reservoir
from recurra.reservoir.ridge import Ridge

GATE = ["tests/unit/reservoir"]
AGREE = 1e-12
# Units, density, steps of one series, and how often ours must fit in the peer's time for one series and for 32.
SIZES = [(500, 0.1, 4000), (2000, 0.1, 400), (2000, 0.01, 2000)]


@dataclass(frozen=True)
class Case:
    """Two functions that compute the same numbers, within `agree`."""

    name: str
    against: str
    ours: Callable[[], np.ndarray]
    peer: Callable[[], np.ndarray]
    goal: float
    steps: int
    agree: float = AGREE


def cases() -> Iterator[Case]:
    """States of one series and of 32; then a readout for one ridge, and for twenty."""
    for units, density, steps in SIZES:
        ours = Reservoir(units, 1, density=density, leak=0.3, seed=0)
        peer = TheirReservoir(
            W=ours.recurrent_weights, Win=ours.input_weights, bias=ours.bias, lr=0.3, dtype=np.float64
        )
        for batch, goal in ((1, 1.0), (32, 3.0)):
            length = steps if batch == 1 else max(20, steps // 20)
            x = np.random.default_rng(0).uniform(-1, 1, (batch, length, 1))
            peer.initialize(x)

            def theirs(peer: Any = peer, x: np.ndarray = x) -> np.ndarray:
                peer.reset()
                return np.asarray(peer.run(x))

            name = f"N={units} density {density:g}, {batch} series of {length} steps"
            mine = lambda ours=ours, x=x: ours(x)[0]  # noqa: E731
            yield Case(name, "reservoirpy Reservoir", mine, theirs, goal, batch * length)
    reservoir = Reservoir(500, 1, seed=0)
    x = np.random.default_rng(0).uniform(-1, 1, (1, 5001, 1))
    features, targets = reservoir(x)[0][0, 100:-1], x[0, 90:-11]
    many = np.logspace(-6, 3, 20)

    def one(ridge: float) -> np.ndarray:
        return np.asarray(TheirRidge(ridge=ridge).fit(features, targets).run(features))

    def path() -> np.ndarray:
        fitted = Ridge(features, targets)
        return np.stack([fitted.readout(value)(features) for value in many])

    normal = "reservoirpy Ridge (normal equations)"
    single = lambda: Ridge(features, targets).readout(1e-3)(features)  # noqa: E731
    yield Case("readout N=500, 4900 rows, 1 ridge", normal, single, lambda: one(1e-3), 0.0, 0, 1e-7)
    yield Case(
        "readout N=500, 4900 rows, 20 ridges", normal, path, lambda: np.stack([one(v) for v in many]), 1.0, 0, 1e-4
    )


def measure(case: Case, rounds: int) -> dict[str, Any]:
    """The row of a case: medians, and quartiles of the ratio over the rounds; who goes first alternates."""
    difference = float(np.abs(case.ours() - case.peer()).max())
    if not difference <= case.agree:
        return {"case": case.name, "missing": f"the two sides differ by {difference:.1e}"}
    ours, peer = [], []
    for index in range(rounds):
        for function, times in ((case.ours, ours), (case.peer, peer))[:: 1 if index % 2 else -1]:
            times.append(timed(function))
    ratios = sorted(b / a for a, b in zip(ours, peer, strict=True))
    row: dict[str, Any] = {
        "case": case.name,
        "against": case.against,
        "ours_ms": statistics.median(ours) * 1e3,
        "peer_ms": statistics.median(peer) * 1e3,
        "ratio": statistics.median(ratios),
        "ratio_middle_half": [ratios[len(ratios) // 4], ratios[-1 - len(ratios) // 4]],
        "rounds": rounds,
        "difference": difference,
    }
    if case.goal:
        row["goal"] = case.goal
    if case.steps:
        row["steps_per_second"] = case.steps / statistics.median(ours)
    return row


def main() -> int:
    """0 when the gate is green and everything was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--json", action="store_true", help="one JSON object per case instead of the table")
    parser.add_argument("--skip-gate", action="store_true", help="for trying out; nothing is written")
    arguments = parser.parse_args()
    if not arguments.skip_gate:
        print("gate: the tests of the reservoirs", file=sys.stderr, flush=True)
        if subprocess.run([sys.executable, "-m", "pytest", "-q", "-x", *GATE], cwd=ROOT, check=False).returncode:
            print("the gate is red: no figures", file=sys.stderr)
            return 1
    torch.set_num_threads(arguments.threads)
    load = [os.getloadavg()[0]]
    rows = []
    if not arguments.json:
        print(f"{'case':62} {'ours ms':>9} {'peer ms':>9}  ratio (middle half)  goal  against")
    for case in cases():
        if arguments.only in case.name:
            rows.append(measure(case, arguments.rounds))
            print(json.dumps(rows[-1]) if arguments.json else line(rows[-1]), flush=True)
    load.append(os.getloadavg()[0])
    if not arguments.skip_gate and not arguments.only:
        found = {
            "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
            "cores": os.cpu_count(),
            "threads": arguments.threads,
            "load": load,
            "command": "python -m benchmarks.reservoir " + " ".join(sys.argv[1:]),
            "versions": {
                "recurra": __version__,
                "python": platform.python_version(),
                **{name: importlib.metadata.version(name) for name in ("numpy", "scipy", "reservoirpy", "torch")},
            },
            "rows": rows,
        }
        path = ROOT / "benchmarks" / "results" / f"{found['date']}-reservoir.json"
        write_text(path, json.dumps(found, indent=1) + "\n")
        print(f"written to {path.relative_to(ROOT)}", file=sys.stderr)
    return 1 if any("missing" in row for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
