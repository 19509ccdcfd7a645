"""A tiny set of cases to learn from: ramps that rise or fall, with noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np

__all__ = ["write_examples"]


def write_examples(folder: Path, seed: int, count: int = 24) -> tuple[Path, Path]:
    """Write training and test cases as long tables, and return their paths."""
    return _write(folder / "train.csv", [seed, 0], count), _write(folder / "test.csv", [seed, 1], count)


def _write(path: Path, seed: list[int], count: int) -> Path:
    rng, rows = np.random.default_rng(seed), ["unique_id,ds,x,z,label"]
    for case in range(count):
        length, rises = int(rng.integers(8, 15)), case % 2 == 0
        ramp = (1 if rises else -1) * np.arange(length) / 5 + 0.1 * rng.normal(size=length)
        label = "up" if rises else "down"
        rows += [f"{case:03d},{step},{value:.4f},{rng.normal():.4f},{label}" for step, value in enumerate(ramp)]
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path
