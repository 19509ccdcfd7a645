"""Write docs/reference/speed.md from the newest results of `make bench`; --check only says whether it is up to date."""

from __future__ import annotations

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "reference" / "speed.md"

TITLES = {
    "dense": "LSTM, GRU and Elman net against torch.nn",
    "ragged": "Rows of different lengths",
    "loops": "Cells that torch has not, against a Python loop",
    "compiled": "The same against torch.compile of the loop",
    "own": "The same against our own LSTM",
    "streams": "Streams: 100 steps of one or of 32 sessions",
    "scans": "Cells that are affine in their state, T = 4096",
    "outside": "JAX",
    "bfloat16": "bfloat16",
}


def newest() -> Path:
    """The results to print."""
    return max((ROOT / "benchmarks" / "results").glob("*-native.json"))


def page(found: dict) -> str:
    """The page for the results of one run."""
    peak = max(row["gflops"] for row in found["rows"] if row["group"] == "sgemm")
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    low, high = (f"{value:.1f}" for value in found["load"])
    lines = [
        "# Speed",
        "",
        "Written by `make docs` from what `make bench` measured; nothing here is typed. Ours and the peer's alternate",
        "in one process; a ratio above 1 means that ours is faster, with the middle half of the rounds after it.",
        "",
        f"- {found['cpu']}, {found['cores']} cores ({', '.join(found['flags'])}), {found['threads']} threads",
        f"- {versions}",
        f"- {found['date']}, `{found['command'].strip()}`; load average {low} before and {high} after",
        f"- the best float32 matrix product of torch in these results: {peak:.0f} GFLOP/s; shares are of that",
    ]
    for again in found.get("again", []):
        low, high = (f"{value:.1f}" for value in again["load"])
        cases = f"{len(again['cases'])} rows, from `{again['cases'][0]}` on"
        lines.append(f"- {cases}, are of `{again['command'].strip()}` on the same day; load average {low} and {high}")
    lines.append("")
    for group, title in TITLES.items():
        rows = [row for row in found["rows"] if row["group"] == group]
        if not rows:
            continue
        lines += [f"## {title}", "", "| case | against | ours ms | peer ms | ratio | goal | share of peak |"]
        lines += ["|---|---|---:|---:|---|---|---:|"]
        lines += [_row(row, peak) for row in rows]
        lines.append("")
    lines += ["## Memory held for the backward pass", "", "Bytes per step and row, H = 128, outputs included.", ""]
    lines += ["| cell | ours | ours, `recompute=True` | torch.nn |", "|---|---:|---:|---:|"]
    for row in found["memory"]:
        values = row["bytes_per_step"]
        figures = " | ".join(f"{values[name]:,.0f}" for name in ("ours", "ours, recompute", "torch.nn"))
        lines.append(f"| {row['cell']} | {figures} |")
    return "\n".join(lines) + "\n"


def _row(row: dict, peak: float) -> str:
    if "missing" in row:
        return f"| {row['case']} | {row['missing']} | | | | | |"
    low, high = row["ratio_middle_half"]
    goal = ""
    if "goal" in row:
        met = row["ratio"] >= row["goal"]
        goal = f"{row['goal']:.2f}, " + ("met" if met else f"missed by {100 * (1 - row['ratio'] / row['goal']):.0f} %")
    share = f"{100 * row['gflops'] / peak:.0f} %" if "gflops" in row else ""
    ratio = f"**{row['ratio']:.2f}** ({low:.2f} to {high:.2f})"
    figures = f"{row['ours_ms']:.2f} | {row['peer_ms']:.2f} | {ratio} | {goal} | {share}"
    return f"| {row['case']} | {row['against']} | {figures} |"


def main() -> int:
    """0 when the page is written, or found to be up to date."""
    text = page(json.loads(newest().read_text(encoding="utf-8")))
    if "--check" in sys.argv:
        return 0 if PAGE.exists() and PAGE.read_text(encoding="utf-8") == text else 1
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
