"""A classic task over many seeds: every finished run is a line of --out, and the last lines are the table.

    python recipes/classic/seeds.py embedded_reber --seeds 0-29 --out runs/classic/embedded-lstm.jsonl

Seeds that stand in --out are not run again, so the same command continues, or with --again only where they were run by
other code; with --seconds no further seed is started after so long, and with --keep a seed that was interrupted goes on
where it was. --table prints what is there and runs nothing. A line names the last commit that touched the code, with a
"+" behind it where the code was changed since.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recurra.base.errors import ConfigError, DataError, RecurraError, message
from recurra.base.files import write_text
from recurra.tasks.classic import TASKS, run_task, task_settings


def figures(name: str, rows: list[dict[str, Any]]) -> str:
    """Solved, and mean, median, range of the metric, of the sequences until then, and of the minutes."""
    task = TASKS[name]
    values = sorted(row["value"] for row in rows)
    worst = values[-1] if task.mode == "min" else values[0]
    solved = [row for row in rows if row["solved"]]
    lines = [f"{name}: solved {len(solved)} of {len(rows)}"]
    lines.append(f"{task.metric}: median {statistics.median(values):.4g}, mean {statistics.mean(values):.4g}")
    lines[-1] += f", {values[0]:.4g} to {values[-1]:.4g}, worst {worst:.4g}"
    others = sorted(rows[0]["metrics"].keys() - {task.metric})
    for other in others:
        found = sorted(row["metrics"][other] for row in rows)
        lines.append(f"  {other}: median {statistics.median(found):.4g}, {found[0]:.4g} to {found[-1]:.4g}")
    if solved:
        spent = sorted(row["sequences"] for row in solved)
        mean, deviation = statistics.mean(spent), statistics.pstdev(spent)
        lines.append(
            f"sequences of the solved: mean {mean:,.0f} (deviation {deviation:,.0f}), median "
            f"{statistics.median(spent):,.0f}, {spent[0]:,} to {spent[-1]:,}"
        )
    seconds = [row["seconds"] for row in rows]
    lines.append(f"{statistics.median(seconds):.0f} s a seed (median), {sum(seconds) / 60:.1f} minutes in all")
    return "\n".join(lines)


def seed_range(text: str) -> range:
    """3, or 0-4 with both ends; ConfigError for anything else."""
    first, _, last = text.partition("-")
    last = last or first
    if not (first.isdecimal() and last.isdecimal() and int(first) <= int(last)):
        raise ConfigError(message("--seeds", f"must be a number or low-high, as 0-4, got {text!r}"))
    return range(int(first), int(last) + 1)


def written(path: Path) -> list[dict[str, Any]]:
    """The lines of --out; none where there is no such file yet. DataError where one is not a run."""
    if not path.exists():
        return []
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError as error:
            hint = "remove the line; its seed is run again."
            raise DataError(message(str(path), f"line {number} is not a run: {error}", hint=hint)) from None
    return found


def code_commit() -> str:
    """The last commit that touched src, "+" behind it where files there differ from it; "" outside a repository."""

    def git(*words: str) -> str:
        command = ["git", "-C", str(Path(__file__).parents[2]), *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    try:
        commit = git("log", "-1", "--format=%h", "--", "src")
        return commit + ("+" if git("status", "--porcelain", "--", "src") else "")
    except (OSError, subprocess.CalledProcessError):
        return ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is missing, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=list(TASKS))
    parser.add_argument("--seeds", default="0-4", help="3, or 0-4")
    parser.add_argument("--cell")
    parser.add_argument("--hidden", type=int)
    parser.add_argument("--rate", type=float)
    parser.add_argument("--iterations", type=int)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="any setting of the task")
    parser.add_argument("--out", type=Path, required=True, help="JSON lines, one a run")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="start no further seed after so long")
    parser.add_argument("--keep", type=Path, help="a folder of run folders, one a seed")
    parser.add_argument("--again", action="store_true", help="also seeds that other code ran; their lines are replaced")
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args(arguments)
    commit = code_commit()
    try:
        seeds, done = seed_range(options.seeds), written(options.out)
    except RecurraError as error:
        print(f"seeds.py: {error}", file=sys.stderr)
        return 2
    began = time.monotonic()
    for seed in seeds if not options.table else ():
        old = [row for row in done if row["seed"] == seed]
        stale = options.again and (commit.endswith("+") or any(row.get("commit") != commit for row in old))
        if (old and not stale) or time.monotonic() - began > options.seconds:
            continue
        named = {name: getattr(options, name) for name in ("cell", "hidden", "rate", "iterations")}
        try:
            settings = task_settings(options.task, options.set, seed=seed, **named)
            folder = options.keep / str(seed) if options.keep else None
            resume = folder is not None and (folder / "config.toml").exists()
            result = run_task(options.task, settings=settings, folder=folder, resume=resume)
        except RecurraError as error:
            print(f"seeds.py: {error}", file=sys.stderr)
            return 2
        if result.reason == "interrupted":
            return 130
        # Read again: a neighbour may have written other seeds meanwhile.
        done = [row for row in written(options.out) if row["seed"] != seed]
        done.append(result.numbers() | {"set": options.set, "commit": commit})
        done.sort(key=lambda row: row["seed"])
        write_text(options.out, "".join(json.dumps(row) + "\n" for row in done))
        print(
            f"seed {seed}: {result.value:.4g}, {result.sequences:,} sequences, {result.reason}, {result.seconds:.0f} s"
        )
        sys.stdout.flush()
    if done:
        print(figures(options.task, done))
    return 0


if __name__ == "__main__":
    sys.exit(main())
