"""Running a comparison: what is missing in the folder is trained, on as many cores as asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from recurra.base.errors import ConfigError, message
from recurra.tasks.compare import store
from recurra.tasks.compare.pool import pool
from recurra.tasks.compare.progress import Ticker
from recurra.tasks.compare.report import write_report
from recurra.tasks.compare.settings import CompareSettings, hidden_size
from recurra.tasks.compare.table import Row, Test, table
from recurra.tasks.compare.trial import best_rate, due, total
from recurra.tasks.folder import locked

__all__ = ["Comparison", "compare"]


@dataclass(frozen=True)
class Comparison:
    """What a comparison has found so far, in all cells of its folder."""

    settings: CompareSettings
    rows: list[Row]
    """Best first."""
    folder: Path
    report: Path


def compare(
    settings: CompareSettings,
    cells: Sequence[str],
    seeds: Sequence[int],
    folder: Path | str,
    *,
    jobs: int = 1,
    test: Test = "welch",
    ticker: Ticker | None = None,
    command: str = "",
) -> Comparison:
    """Train what the folder does not have yet, write report.html, and give the table of all that is there.

    jobs: processes at a time, each of one thread. A trial that ended is on the disk before the next begins, so that a
    comparison that was killed loses the trials in flight and nothing else.

    Raises ConfigError for cells or settings that do not fit, CheckpointError where the folder holds another comparison.
    """
    folder = Path(folder)
    cells, seeds = list(dict.fromkeys(cells)), list(dict.fromkeys(seeds))
    where = "recurra compare"
    if not cells or not seeds:
        raise ConfigError(message(where, "there must be at least one cell and one seed"))
    if jobs < 1:
        raise ConfigError(message(where, f"--jobs must be at least 1, got {jobs}"))
    if settings.searches and settings.search_seed in seeds:
        fact = f"seed {settings.search_seed} is the one by which rates are chosen"
        raise ConfigError(message(where, fact, hint="compare by seeds that no choice was made by."))
    # Before anything is written or started: every cell must fit.
    for cell in cells:
        hidden_size(settings, cell)
    ticker = ticker or Ticker("quiet")
    with locked(folder):
        store.prepare(folder, settings)
        found = store.records(folder)
        waiting = due(settings, cells, seeds, found)
        ticker.open(total(settings, cells, seeds), len(waiting), jobs)
        try:
            with pool(settings, jobs) as workers:
                while True:
                    waiting = due(settings, cells, seeds, found)
                    running = {trial.key for trial in workers.running}
                    ready = [trial for trial in waiting if trial.key not in running]
                    while ready and workers.free():
                        workers.give(ready.pop(0))
                    if not workers.running:
                        break
                    left = total(settings, cells, seeds) - _done(settings, cells, seeds, found)
                    ticker.show(workers.running, left)
                    record = workers.take(ticker.refresh_s)
                    if record is not None:
                        store.add(folder, record)
                        found.append(record)
                        ticker.ended(record, left - 1)
        finally:
            ticker.close()
        rows = table(settings, found, test)
        report = write_report(folder, settings, found, rows, test, command)
    return Comparison(settings, rows, folder, report)


def _done(settings: CompareSettings, cells: Sequence[str], seeds: Sequence[int], found: list) -> int:
    """How many trials of these cells and seeds have ended."""
    waiting = due(settings, cells, seeds, found)
    held_back = sum(len(seeds) for cell in cells if best_rate(settings, cell, found) is None)
    return total(settings, cells, seeds) - len(waiting) - held_back
