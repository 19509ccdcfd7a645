"""Run the cases, alternating ours and the peer's in one process: `python -m benchmarks.run`.

No figure is printed while the contract tests of the code under measurement are red. Results go to
benchmarks/results/ as JSON, with the machine and the versions.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.cases import Case, cases
from recurra import __version__
from recurra.base.files import write_text

ROOT = Path(__file__).resolve().parents[1]
GATE = ["tests/contract/test_torch_oracle.py", "tests/contract/test_cells.py"]


def main() -> int:
    """0 when the gate is green and everything was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--skip-gate", action="store_true", help="for trying out; nothing is written")
    arguments = parser.parse_args()
    if not arguments.skip_gate:
        print("gate: the contract tests", flush=True)
        if subprocess.run([sys.executable, "-m", "pytest", "-q", "-x", *GATE], cwd=ROOT, check=False).returncode:
            print("the gate is red: no figures")
            return 1
    torch.set_flush_denormal(True)
    rows = []
    print(f"{'case':62} {'ours ms':>9} {'peer ms':>9}  ratio (middle half)  against")
    for case in cases(arguments.threads):
        if arguments.only in case.name:
            rows.append(measure(case, arguments.rounds))
            print(line(rows[-1]), flush=True)
    if not arguments.skip_gate:
        print(f"written to {write(rows, arguments).relative_to(ROOT)}")
    return 0


def measure(case: Case, rounds: int) -> dict[str, object]:
    """Alternate, so that what else the machine does hits both; the ratio is taken round by round."""
    case.ours()
    case.peer()
    ours, peer = [], []
    for index in range(rounds):
        # Who goes first changes too.
        for function, times in ((case.ours, ours), (case.peer, peer))[:: 1 if index % 2 else -1]:
            times.append(timed(function))
    ratios = sorted(b / a for a, b in zip(ours, peer, strict=True))
    return {
        "case": case.name,
        "against": case.against,
        "ours_ms": statistics.median(ours) * 1e3,
        "peer_ms": statistics.median(peer) * 1e3,
        "ratio": statistics.median(ratios),
        "ratio_middle_half": [ratios[len(ratios) // 4], ratios[-1 - len(ratios) // 4]],
        "rounds": rounds,
    }


def timed(function: Callable[[], object]) -> float:
    """Seconds of one run."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def line(row: dict) -> str:
    """One row as text; a ratio above 1 means ours is faster."""
    low, high = row["ratio_middle_half"]
    figures = f"{row['ours_ms']:9.2f} {row['peer_ms']:9.2f}  {row['ratio']:5.2f} ({low:.2f} .. {high:.2f})"
    return f"{row['case']:62} {figures}    {row['against']}"


def write(rows: list[dict], arguments: argparse.Namespace) -> Path:
    """The results with what they were measured on."""
    known = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    model = next((part.split(":")[1].strip() for part in known.splitlines() if "model name" in part), "")
    found = {
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        "cpu": model or platform.processor(),
        "threads": arguments.threads,
        "versions": {"recurra": __version__, "torch": torch.__version__, "python": platform.python_version()},
        "rows": rows,
    }
    path = ROOT / "benchmarks" / "results" / f"{found['date']}.json"
    write_text(path, json.dumps(found, indent=1) + "\n")
    return path


if __name__ == "__main__":
    sys.exit(main())
