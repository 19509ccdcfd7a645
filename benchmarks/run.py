"""Run the cases, alternating ours and the peer's in one process: `python -m benchmarks.run`.

No figure is printed while the contract tests of the code under measurement are red, and none of a case whose two sides
do not agree. Results go to benchmarks/results/ as JSON, with the machine and the versions; a run of
some cases only puts its rows in place of the same day's.
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
import time
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.cases import GROUPS, Case, Missing
from benchmarks.memory import memory_rows
from recurra import __version__
from recurra.base.files import write_text

ROOT = Path(__file__).resolve().parents[1]
GATE = ["tests/contract/test_torch_oracle.py", "tests/contract/test_cells.py"]
# As float32 through 100 to 1000 steps allows: a wrong gate is off by a thousand times that.
AGREE = 2e-3


def main() -> int:
    """0 when the gate is green and everything was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15, help="at most; fewer where a case takes long, at least 5")
    parser.add_argument("--group", action="append", choices=GROUPS, help="one group; may be given several times")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--json", action="store_true", help="one JSON object per case instead of the table")
    parser.add_argument("--skip-gate", action="store_true", help="for trying out; nothing is written")
    arguments = parser.parse_args()
    if not arguments.skip_gate:
        print("gate: the contract tests", file=sys.stderr, flush=True)
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-n", str(os.cpu_count()), *GATE]
        if subprocess.run(command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False).returncode:
            print("the gate is red: no figures", file=sys.stderr)
            return 1
    torch.set_flush_denormal(True)
    torch.set_num_threads(arguments.threads)
    load = [os.getloadavg()[0]]
    rows: list[dict] = []
    if not arguments.json:
        print(f"{'case':62} {'ours ms':>9} {'peer ms':>9}  ratio (middle half)  goal  against")
    for group in arguments.group or GROUPS:
        for case in GROUPS[group]():
            if arguments.only not in case.name:
                continue
            torch.manual_seed(0)
            row = {"group": group, **measured(case, arguments.rounds)}
            rows.append(row)
            print(json.dumps(row) if arguments.json else line(row), flush=True)
    part = bool(arguments.group or arguments.only)
    memory = [] if part else memory_rows()
    load.append(os.getloadavg()[0])
    if not arguments.skip_gate:
        print(f"written to {write(rows, memory, load, arguments).relative_to(ROOT)}", file=sys.stderr)
    return 0


def measured(case: Case | Missing, rounds: int) -> dict[str, object]:
    """The row of a case; a peer that is missing is a row too."""
    if isinstance(case, Missing):
        return {"case": case.name, "missing": case.why}
    if case.same is not None:
        ours, peer = (value.detach() for value in case.same())
        error = float((ours - peer).norm() / peer.norm().clamp(min=1e-6))
        if not error < AGREE:
            return {"case": case.name, "missing": f"the two sides differ by {error:.1e}"}
    return measure(case, rounds)


def measure(case: Case, rounds: int) -> dict[str, object]:
    """Alternate, so that what else the machine does hits both; the ratio is taken round by round."""
    case.ours()
    # The first call compiles; the second is the measure of how many rounds there is time for.
    case.peer()
    spent = timed(case.ours) + timed(case.peer)
    rounds = max(5, min(rounds, int(4 / spent)))
    ours, peer = [], []
    for index in range(rounds):
        # Who goes first changes too.
        for function, times in ((case.ours, ours), (case.peer, peer))[:: 1 if index % 2 else -1]:
            times.append(timed(function))
    ratios = sorted(b / a for a, b in zip(ours, peer, strict=True))
    row = {
        "case": case.name,
        "against": case.against,
        "ours_ms": statistics.median(ours) * 1e3,
        "peer_ms": statistics.median(peer) * 1e3,
        "ratio": statistics.median(ratios),
        "ratio_middle_half": [ratios[len(ratios) // 4], ratios[-1 - len(ratios) // 4]],
        "rounds": rounds,
    }
    if case.goal:
        row["goal"] = case.goal
    if case.flops:
        row["gflops"] = case.flops / statistics.median(ours) / 1e9
    return row


def timed(function: Callable[[], object]) -> float:
    """Seconds of one run."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def line(row: dict) -> str:
    """One row as text; a ratio above 1 means ours is faster."""
    if "missing" in row:
        return f"{row['case']:62} not measured: {row['missing']}"
    low, high = row["ratio_middle_half"]
    figures = f"{row['ours_ms']:9.2f} {row['peer_ms']:9.2f}  {row['ratio']:5.2f} ({low:.2f} .. {high:.2f})"
    goal = f"{row['goal']:5.2f}" if "goal" in row else "     "
    return f"{row['case']:62} {figures:40} {goal}  {row['against']}"


def write(rows: list[dict], memory: list[dict], load: list[float], arguments: argparse.Namespace) -> Path:
    """The results with what they were measured on."""
    known = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    fields = {part.split(":")[0].strip(): part.split(":")[1].strip() for part in known.splitlines() if ":" in part}
    flags = [flag for flag in fields.get("flags", "").split() if flag.startswith(("avx2", "avx512", "amx", "fma"))]
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    peers = {}
    for name in ("jax", "keras", "onnxruntime", "numpy"):
        try:
            peers[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            peers[name] = "not installed"
    found = {
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        "cpu": fields.get("model name", platform.processor()),
        "cores": os.cpu_count(),
        "flags": flags,
        "threads": arguments.threads,
        "load": load,
        "command": "python -m benchmarks.run " + " ".join(sys.argv[1:]),
        "versions": {
            "recurra": f"{__version__} ({commit.stdout.strip()})",
            "torch": torch.__version__,
            "python": platform.python_version(),
            **peers,
        },
        "rows": rows,
        "memory": memory,
    }
    path = ROOT / "benchmarks" / "results" / f"{found['date']}-native.json"
    if (arguments.group or arguments.only) and path.exists():
        found = merged(json.loads(path.read_text(encoding="utf-8")), found)
    write_text(path, json.dumps(found, indent=1) + "\n")
    return path


def merged(whole: dict, part: dict) -> dict:
    """Today's results with the rows measured again in place of the old ones; how they were measured is kept too."""
    new = {name_of(row): row for row in part["rows"]}
    rows = [new.pop(name_of(row), row) for row in whole["rows"]]
    again = {"command": part["command"], "load": part["load"], "cases": [row["case"] for row in part["rows"]]}
    return {**whole, "rows": [*rows, *new.values()], "again": [*whole.get("again", []), again]}


def name_of(row: dict) -> tuple[object, ...]:
    """What a row measures, and against what."""
    return row["group"], row["case"], row.get("against")


if __name__ == "__main__":
    sys.exit(main())
