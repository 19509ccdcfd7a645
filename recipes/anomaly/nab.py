"""The Numenta Anomaly Benchmark by its own rules: python recipes/anomaly/nab.py FOLDER (with data/ and labels/ in it).

One setting for all files, no look-ahead, constant memory. Beside it, on the same files: the running-range rule, and the
windowed Gaussian of the benchmark's repository. A threshold that is chosen on the labels is what the published totals
have; the score at the detector's own threshold stands beside it.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import erfc

from recurra.base import config
from recurra.data.sets.nab import NabFile, read
from recurra.tasks.anomaly.detector import OnlineRun, peaks
from recurra.tasks.anomaly.nab import PROFILES, best_threshold, score
from recurra.tasks.anomaly.settings import AnomalySettings
from recurra.tasks.anomaly.table import Rows

__all__ = ["main", "online", "range_rule", "windowed_gaussian"]

LITERATURE = ("online.margin=0.05", "online.tail=1e-5")
"""What Numenta's own detector takes: 5 % beyond the range, and a likelihood of 0.99999."""


def online(corpus: Sequence[NabFile], settings: AnomalySettings) -> list[np.ndarray]:
    """Scores of our detector; 0 where a row is no peak, since every row above the threshold is an alarm there."""
    series = [Rows(file.name, file.time.astype("datetime64[us]"), file.value[:, None]) for file in corpus]
    judged, _ = OnlineRun(settings, ("value",)).run(series)
    scores = [np.nan_to_num(one.scores) for one in judged]
    return [np.where(peaks(one, settings.quiet), one, 0.0) for one in scores]


def range_rule(corpus: Sequence[NabFile], tolerance: float = 0.05) -> list[np.ndarray]:
    """1 where a value lies beyond the range of all before it by more than a share of that range."""
    found = []
    for file in corpus:
        low, high = np.minimum.accumulate(file.value)[:-1], np.maximum.accumulate(file.value)[:-1]
        room, x = tolerance * (high - low), file.value[1:]
        beyond = (high != low) & ((x > high + room) | (x < low - room))
        found.append(np.concatenate([[0.0], beyond.astype(float)]))
    return found


def windowed_gaussian(corpus: Sequence[NabFile], window: int = 6400, step: int = 100) -> list[np.ndarray]:
    """1 minus the tail probability of a value under the normal distribution of a window that moves by steps."""
    found = []
    for file in corpus:
        x = file.value
        rows = np.arange(len(x))
        # Until the window is full it grows row by row; then it moves once a whole step has come.
        moved = np.maximum(rows - window, 0) // step * step
        first, last = moved, np.minimum(rows, moved + window)
        shifted = x - x.mean()
        sums, squares = (np.concatenate([[0.0], np.cumsum(part)]) for part in (shifted, shifted**2))
        count = np.maximum(last - first, 1)
        mean = (sums[last] - sums[first]) / count
        deviation = np.sqrt(np.maximum((squares[last] - squares[first]) / count - mean**2, 0))
        z = np.abs(shifted - mean) / np.where(deviation > 0, deviation, 1e-6)
        found.append(np.where(rows > 0, 1 - 0.5 * erfc(z / 1.4142), 0.0))
    return found


def measured(corpus: Sequence[NabFile], scores: Sequence[np.ndarray], threshold: float | None = None) -> dict[str, Any]:
    """Totals under the three profiles, of all files and of every other one; with a threshold also at that one."""
    facts: dict[str, Any] = {}
    for name, profile in PROFILES.items():
        best = best_threshold(corpus, scores, profile)
        facts[name] = {"best": best.score, "threshold": best.threshold}
        if threshold is not None:
            facts[name]["fixed"] = score(corpus, scores, profile, threshold)
    standard = PROFILES["standard"]
    for place in (0, 1):
        # The threshold of one half on the other.
        own = best_threshold(corpus[place::2], scores[place::2], standard)
        other = score(corpus[1 - place :: 2], scores[1 - place :: 2], standard, own.threshold)
        facts[f"half {place}"] = {"best": own.score, "threshold": own.threshold, "on the other half": other}
    return facts


def shown(name: str, facts: dict[str, Any]) -> str:
    """A row of the table in RESULTS.md."""
    cells = [f"{facts[profile]['best']:.1f}" for profile in PROFILES]
    fixed = [f"{facts[profile]['fixed']:.1f}" if "fixed" in facts[profile] else "-" for profile in PROFILES]
    halves = " / ".join(f"{facts[f'half {place}']['best']:.1f}" for place in (0, 1))
    across = " / ".join(f"{facts[f'half {place}']['on the other half']:.1f}" for place in (1, 0))
    return f"| {name} | {' / '.join(cells)} | {' / '.join(fixed)} | {halves} | {across} |"


def main() -> None:
    """Print the table; with --out also everything as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", 1)[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    corpus = read(arguments.folder)
    windows = sum(len(file.windows) for file in corpus)
    print(f"{len(corpus)} files, {sum(len(file.value) for file in corpus):,} rows, {windows} windows")
    print("| detector | best threshold: standard / low FP / low FN | own threshold | halves | threshold of the other |")
    print("|---|---|---|---|---|")
    found: dict[str, Any] = {}
    for name, rule in (("running range, 5 %", range_rule), ("windowed Gaussian, 6400", windowed_gaussian)):
        found[name] = measured(corpus, rule(corpus))
        print(shown(name, found[name]), flush=True)
    runs = [(f"recurra online, seed {seed}", (f"seed={seed}", *arguments.set)) for seed in range(arguments.seeds)]
    for name, overrides in [*runs, ("the same, 5 % and 1e-5 as Numenta", LITERATURE)]:
        began = time.perf_counter()
        settings = config.parse(AnomalySettings, {}, list(overrides))
        facts = measured(corpus, online(corpus, settings), settings.threshold.value)
        facts["seconds"] = time.perf_counter() - began
        found[name] = facts
        print(shown(name, facts), f"{facts['seconds']:.0f} s", flush=True)
    if arguments.out:
        arguments.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
