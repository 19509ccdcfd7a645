"""report.html of a comparison: the table, the seeds of every cell, and what the learning rate did."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recurra.base import config
from recurra.base.files import write_text
from recurra.diagnostics.report import Figure, Report, write
from recurra.tasks.compare.picture import Group, dot_chart, rate_chart
from recurra.tasks.compare.settings import CompareSettings
from recurra.tasks.compare.table import Row, Test, chance, lines
from recurra.tasks.registry import task_named

__all__ = ["PICTURES", "REPORT", "write_report"]

REPORT = "report.html"
PICTURES = ("seeds.svg", "rates.svg")


def write_report(
    folder: Path,
    settings: CompareSettings,
    records: Sequence[dict[str, Any]],
    rows: Sequence[Row],
    test: Test,
    command: str = "",
) -> Path:
    """Write report.html and its two pictures as files of their own; gives the report's path."""
    task: Any = task_named(settings.task)
    better = "higher" if task.mode == "max" else "lower"
    watched, _ = settings.watched()
    groups = [Group(row.cell, row.values, f"{row.hidden} units") for row in rows]
    seeds = dot_chart(groups, f"{task.metric} ({better} is better)")
    curves = {
        row.cell: [
            (r["rate"], r["watched"])
            for r in records
            if r["cell"] == row.cell and r["stage"] == "search" and r["watched"] is not None
        ]
        for row in rows
    }
    figures = [
        Figure("The table", _table(rows, task.metric), lines(settings, rows, test)[-1] if len(rows) > 1 else ""),
        Figure("Seeds", seeds, "A dot is a seed, the box goes from quartile to quartile, the line is the median."),
    ]
    write_text(folder / PICTURES[0], seeds)
    if any(curves.values()):
        by_rate = rate_chart(curves, watched, {row.cell: row.rate for row in rows})
        note = "One network per rate and cell; the ringed rate, the best by this number, is the one the seeds ran with."
        figures.append(Figure("Search for the learning rate", by_rate, note))
        write_text(folder / PICTURES[1], by_rate)
    lead = f"{task.title.rstrip('.')}. {len(rows)} cells of about {settings.parameters:,} parameters"
    names = ", ".join(row.cell for row in rows)
    page = Report(
        title=f"{settings.task}: {len(rows)} cells compared" if len(rows) > 3 else f"{settings.task}: {names}",
        lead=f"{lead}; {task.paper}." if getattr(task, "paper", "") else f"{lead}.",
        figures=figures,
        settings=config.to_dict(settings),
        command=command,
    )
    path = folder / REPORT
    write(page, path)
    return path


def _table(rows: Sequence[Row], metric: str) -> str:
    heads = ("cell", "hidden", "parameters", "rate", "seeds", f"{metric}, mean", "sd", "best", "worst", "p", "s")
    right = 'style="padding:.3em .8em .3em 0;white-space:nowrap;text-align:right"'
    left = right.replace("right", "left")

    def line(cells: Sequence[str], tag: str) -> str:
        styles = [left, *[right] * (len(cells) - 1)]
        return "".join(f"<{tag} {style}>{html.escape(c)}</{tag}>" for style, c in zip(styles, cells, strict=True))

    body = "".join(f"<tr>{line(_cells(row), 'td')}</tr>" for row in rows)
    # Wider than a narrow screen: it scrolls by itself, not the page.
    return (
        '<div style="overflow-x:auto"><table style="border-collapse:collapse;font-variant-numeric:tabular-nums">'
        f"<thead><tr>{line(heads, 'th')}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _cells(row: Row) -> list[str]:
    def shown(value: float, digits: int = 4) -> str:
        return "" if math.isnan(value) else f"{value:.{digits}g}"

    seeds = f"{len(row.values)}" if not row.failed else f"{len(row.values)} of {len(row.values) + row.failed}"
    first = [row.cell, str(row.hidden), f"{row.parameters:,}", f"{row.rate:.3g}", seeds]
    values = [shown(row.mean), shown(row.spread, 2), shown(row.best), shown(row.worst)]
    return [*first, *values, chance(row.p), shown(row.seconds, 3)]
