"""The trials of a comparison: which there are, and which of them can be run now."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from recurra.base.rng import stream
from recurra.tasks.compare.settings import CompareSettings, hidden_size

__all__ = ["Trial", "best_rate", "due", "rates", "total"]

Record = dict[str, Any]


class Trial(NamedTuple):
    """One training run."""

    cell: str
    hidden: int
    stage: str
    """search: to find a rate; seed: one that is compared."""
    rate: float
    seed: int

    @property
    def key(self) -> tuple[str, str, float, int]:
        """What tells it from the others of a comparison."""
        return self.cell, self.stage, self.rate, self.seed


def rates(settings: CompareSettings) -> list[float]:
    """The learning rates to try, rising: one drawn in each of `trials` equal parts of the range, on a log scale.

    Each is uniform in the logarithm; that no part stays empty matters where there are only a few.
    """
    if not settings.searches:
        return []
    low, high, parts = math.log(settings.low), math.log(settings.high), settings.trials
    drawn = torch.rand(parts, generator=stream(settings.search_seed, "rates"), dtype=torch.float64).tolist()
    places = [(part + share) / parts for part, share in enumerate(drawn)]
    # Three digits are enough for a rate, and the same in a file and on a screen; two parts may then share one.
    return sorted({float(f"{math.exp(low + (high - low) * place):.3g}") for place in places})


def best_rate(settings: CompareSettings, cell: str, records: Sequence[Record]) -> float | None:
    """The rate whose search trial was best by the watched number; None while trials are missing.

    Where all of them failed it is the lowest.
    """
    if not settings.searches:
        return settings.low
    _, higher = settings.watched()
    found = {row["rate"]: row for row in records if row["cell"] == cell and row["stage"] == "search"}
    wanted = rates(settings)
    if any(rate not in found for rate in wanted):
        return None
    whole = [rate for rate in wanted if found[rate]["watched"] is not None]
    if not whole:
        return wanted[0]
    return (max if higher else min)(whole, key=lambda rate: found[rate]["watched"])


def due(
    settings: CompareSettings, cells: Sequence[str], seeds: Sequence[int], records: Sequence[Record]
) -> list[Trial]:
    """The trials that are missing and can be run now, in order; seeds of a cell follow once its rate is known."""
    done = {(row["cell"], row["stage"], row["rate"], row["seed"]) for row in records}
    search: list[Trial] = []
    seeded: list[Trial] = []
    for cell in cells:
        hidden, _ = hidden_size(settings, cell)
        search += [Trial(cell, hidden, "search", rate, settings.search_seed) for rate in rates(settings)]
        rate = best_rate(settings, cell, records)
        if rate is not None:
            seeded += [Trial(cell, hidden, "seed", rate, seed) for seed in seeds]
    return [trial for trial in (*search, *seeded) if trial.key not in done]


def total(settings: CompareSettings, cells: Sequence[str], seeds: Sequence[int]) -> int:
    """How many trials a comparison of these cells has."""
    return len(cells) * (len(rates(settings)) + len(seeds))
