"""From records to a table: mean, spread, best, and whether a cell differs from the best one by more than chance."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from scipy import stats

from recurra.tasks.compare.settings import CompareSettings
from recurra.tasks.compare.trial import best_rate
from recurra.tasks.registry import task_named

__all__ = ["Row", "Test", "chance", "holm", "lines", "p_value", "table"]

Test = Literal["welch", "mann-whitney"]


class Row(NamedTuple):
    """One cell."""

    cell: str
    hidden: int
    parameters: int
    rate: float
    values: tuple[float, ...]
    """The metric, a seed each."""
    failed: int
    """Seeds whose numbers ran away."""
    mean: float
    spread: float
    """Standard deviation over the seeds; NaN for one."""
    best: float
    worst: float
    p: float | None
    """Chance of a difference to the best cell at least as large if there were none, after Holm; None for the best."""
    seconds: float
    """Mean of a trial."""
    solved: int


def p_value(one: Sequence[float], other: Sequence[float], test: Test = "welch") -> float:
    """Two-sided; NaN where a sample is too small to say anything.

    Welch's t test does not assume equal variances; Mann and Whitney's U test looks at ranks only (exact for small
    samples without ties). Where all values are the same Welch's is undefined: 1 if the samples agree, else by ranks.
    """
    if len(one) < 2 or len(other) < 2:
        return math.nan
    if len({*one, *other}) == 1:
        return 1.0
    if test == "mann-whitney" or (len({*one}) == 1 and len({*other}) == 1):
        return float(stats.mannwhitneyu(one, other, alternative="two-sided").pvalue)
    # Any: the stubs do not know the result's names.
    result: Any = stats.ttest_ind(one, other, equal_var=False)
    return float(result.pvalue)


def holm(values: Sequence[float]) -> list[float]:
    """Holm's step-down correction for several comparisons (1979); NaN stays and counts as no comparison.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    known = sorted((value, index) for index, value in enumerate(values) if not math.isnan(value))
    found = list(values)
    least = 0.0
    for rank, (value, index) in enumerate(known):
        least = max(least, min(1.0, value * (len(known) - rank)))
        found[index] = least
    return found


def table(settings: CompareSettings, records: Sequence[dict[str, Any]], test: Test = "welch") -> list[Row]:
    """The rows of all cells that have a seed, best first; a cell with failed seeds stands below those without."""
    higher = task_named(settings.task).mode == "max"
    rows: list[Row] = []
    for cell in dict.fromkeys(record["cell"] for record in records):
        rate = best_rate(settings, cell, records)
        own = [r for r in records if r["cell"] == cell and r["stage"] == "seed" and r["rate"] == rate]
        if not own:
            continue
        values = tuple(r["value"] for r in own if r["value"] is not None)
        best, worst = ((max, min) if higher else (min, max)) if values else (None, None)
        rows.append(
            Row(
                cell,
                own[0]["hidden"],
                max(r.get("parameters", 0) for r in own),
                own[0]["rate"],
                values,
                len(own) - len(values),
                statistics.fmean(values) if values else math.nan,
                statistics.stdev(values) if len(values) > 1 else math.nan,
                best(values) if best else math.nan,
                worst(values) if worst else math.nan,
                None,
                statistics.fmean(r["seconds"] for r in own),
                sum(bool(r.get("solved")) for r in own),
            )
        )
    sign = -1 if higher else 1
    rows.sort(key=lambda row: (row.failed > 0, np.inf if math.isnan(row.mean) else sign * row.mean))
    if rows:
        raw = [p_value(rows[0].values, row.values, test) for row in rows[1:]]
        rows[1:] = [row._replace(p=p) for row, p in zip(rows[1:], holm(raw), strict=True)]
    return rows


def lines(settings: CompareSettings, rows: Sequence[Row], test: Test = "welch") -> list[str]:
    """The table as text."""
    if not rows:
        return ["no seed has ended yet"]
    task = task_named(settings.task)
    wide = max(4, *(len(row.cell) for row in rows))
    better = "higher" if task.mode == "max" else "lower"
    head = f"{'cell':<{wide}}  hidden  parameters     rate  seeds      mean  +- sd       best     worst  p(best)   time"
    found = [f"{settings.task}: {task.metric} ({better} is better)", head]
    for row in rows:
        seeds = f"{len(row.values)}" + (f"/{len(row.values) + row.failed}" if row.failed else "")
        found.append(
            f"{row.cell:<{wide}}  {row.hidden:>6}  {row.parameters:>10,}  {row.rate:>7.2g}  {seeds:>5}"
            f"  {_number(row.mean):>8}  {_number(row.spread):>8}  {_number(row.best):>8}  {_number(row.worst):>8}"
            f"  {chance(row.p):>7}  {_time(row.seconds):>5}"
        )
    if len(rows) > 1:
        name = "Welch's t test" if test == "welch" else "Mann and Whitney's U test"
        found.append(f"p: {name} against {rows[0].cell}, Holm's correction for {len(rows) - 1}; time: of one trial.")
    if any(row.failed for row in rows):
        found.append("seeds 4/5: in one of five the numbers ran away; mean and spread are of the others.")
    return found


def chance(p: float | None) -> str:
    """A p value as it stands in a table."""
    return "" if p is None else "-" if math.isnan(p) else "<0.0001" if p < 1e-4 else f"{p:.4f}"


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4g}"


def _time(seconds: float) -> str:
    return f"{seconds:.1f}s" if seconds < 100 else f"{seconds / 60:.1f}m"
