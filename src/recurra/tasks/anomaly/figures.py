"""Tables, key numbers and figures of an anomaly detector, from plain data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from recurra.diagnostics.chart import Axis, Line, line_chart
from recurra.diagnostics.report import Figure, Key
from recurra.tasks.anomaly.evaluate import Judgement
from recurra.tasks.anomaly.table import windows_of
from recurra.tasks.anomaly.timeline import thinned, timeline
from recurra.tasks.html import html_table
from recurra.tasks.task import Table, View

__all__ = ["details", "figures", "keys", "tables"]

_SHOWN_SERIES = 8
_SHOWN_ALARMS = 300
_TABLE_ROWS = 40


def details(judgement: Judgement) -> dict[str, Any]:
    """Return what figures are drawn from: the series with most alarms, the histogram of all scores, reasons."""
    per_series = []
    for one, said, first in zip(judgement.series, judgement.judged, judgement.first, strict=True):
        windows = windows_of(one.labels[first:]) if one.labels is not None else []
        row = {"id": one.id, "rows": len(one.values) - first, "alarms": int(said.alarms[first:].sum())}
        per_series.append({**row, "windows": len(windows) if one.labels is not None else None})
    # Those with anomalies first, then those with alarms.
    order = sorted(
        range(len(per_series)), key=lambda at: (-(per_series[at]["windows"] or 0), -per_series[at]["alarms"])
    )
    examples = [_example(judgement, index) for index in order[:_SHOWN_SERIES]]
    scores = np.concatenate(
        [said.scores[first:] for said, first in zip(judgement.judged, judgement.first, strict=True)]
    )
    normal = [np.zeros(len(o.values), bool) if o.labels is None else o.labels for o in judgement.series]
    labels = np.concatenate([one[first:] for one, first in zip(normal, judgement.first, strict=True)])
    positive = bool((scores[~np.isnan(scores)] > 1.001).any())
    return {
        "by_series": [per_series[at] for at in order],
        "examples": examples,
        "histogram": _histogram(scores, labels, positive),
        "log": positive,
        "reasons": _reasons(judgement),
    }


def _example(judgement: Judgement, at: int) -> dict[str, Any]:
    one, said = judgement.series[at], judgement.judged[at]
    # What is measured, and a little before it; of several channels the first stands for all.
    start = max(judgement.first[at] - 500, 0)
    values, scores = one.values[start:, 0], said.scores[start:]
    windows = windows_of(one.labels[start:]) if one.labels is not None else []
    alarms = np.flatnonzero(said.alarms[start:])
    return {
        "id": one.id,
        "start": start,
        "length": len(values),
        "values": _drawn(values, alarms),
        "scores": _drawn(scores, alarms),
        "alarms": alarms[:_SHOWN_ALARMS].tolist(),
        "windows": windows,
        "threshold": judgement.threshold,
    }


def _drawn(values: np.ndarray, also: np.ndarray) -> list[list[float]]:
    """Rows and values that a time-line draws, and those of the alarms."""
    rows = np.union1d(thinned(values)[0], also[:_SHOWN_ALARMS]).astype(np.int64)
    rows = rows[np.isfinite(values[rows])]
    return [[row, float(f"{value:.5g}")] for row, value in zip(rows.tolist(), values[rows].tolist(), strict=True)]


def _histogram(scores: np.ndarray, labels: np.ndarray, log: bool) -> dict[str, Any]:
    there = ~np.isnan(scores)
    scores, labels = scores[there], labels[there]
    if not len(scores):
        return {}
    low, high = float(scores.min()), float(scores.max())
    if log:
        low = max(low, high * 1e-6, 1e-9)
        edges = np.geomspace(low, max(high, low * 1.01), 41)
        scores = np.maximum(scores, low)
    else:
        edges = np.linspace(low, high if high > low else low + 1, 41)
    usual, odd = np.histogram(scores[~labels], edges)[0], np.histogram(scores[labels], edges)[0]
    return {"edges": edges.tolist(), "usual": usual.tolist(), "odd": odd.tolist() if labels.any() else None}


def _reasons(judgement: Judgement) -> dict[str, int]:
    counted: dict[str, int] = {}
    for said, first in zip(judgement.judged, judgement.first, strict=True):
        for row in np.flatnonzero(said.alarms[first:]) + first if said.reasons else ():
            counted[said.reasons[row]] = counted.get(said.reasons[row], 0) + 1
    return counted


def figures(view: View) -> list[Figure]:
    """Draw time-lines of series, the histogram of scores, and the reasons of alarms."""
    measures = view.measures
    drawn = []
    for number, example in enumerate(measures.get("examples", [])):
        values, scores = (_array(example[name], example["length"]) for name in ("values", "scores"))
        chart = timeline(
            values,
            scores,
            example["threshold"],
            example["alarms"],
            example["windows"],
            label=f"time-line of {example['id']}",
            log=measures["log"],
        )
        begin = f" Row 0 is row {example['start']:,} of the series." if example["start"] else ""
        note = "Above the values with the alarms, below the scores; shaded: what the labels call an anomaly."
        drawn.append(Figure(f"Time-line: {example['id']}", chart, (note if not number else "") + begin))
    histogram = measures.get("histogram")
    if histogram:
        edges = histogram["edges"]
        x = np.repeat(edges, 2)[1:-1].tolist()
        lines = [Line("rows" if histogram["odd"] is None else "normal rows", x, _steps(histogram["usual"]))]
        if histogram["odd"] is not None:
            lines.append(Line("rows in anomalies", x, _steps(histogram["odd"])))
        chart = line_chart(lines, Axis("score", measures["log"]), Axis("rows", True), label="histogram of scores")
        threshold = measures["threshold"]
        drawn.append(Figure("Distribution of the scores", chart, f"The threshold is {threshold:.4g}."))
    if measures.get("reasons"):
        names, counts = zip(*sorted(measures["reasons"].items(), key=lambda pair: -pair[1]), strict=True)
        rows = tuple((name, str(count)) for name, count in zip(names, counts, strict=True))
        drawn.append(Figure("What raised the alarms", html_table(Table("", ("reason", "alarms"), rows))))
    return drawn


def keys(view: View) -> list[Key]:
    """Alarms, and what they are worth where there are labels."""
    numbers = view.measures
    if "alarms" not in numbers:
        return []
    shown = [Key("Alarms", f"{numbers['alarms']:,}", f"in {numbers['rows']:,} rows of {numbers['series']:,} series")]
    if numbers.get("windows") is None:
        return shown
    shown.append(Key("Anomalies detected", f"{numbers['found']} of {numbers['windows']}"))
    for name, title, note in (
        ("precision", "Precision", "of alarms, by event"),
        ("f1", "F1", "by event, not point-adjusted"),
        ("pr_auc", "PR-AUC", f"by row; chance: {numbers['anomalous_share']:.3g}"),
    ):
        if numbers[name] is not None:
            shown.append(Key(title, f"{numbers[name]:.3g}", note))
    if numbers["false_alarms_per_day"] is not None:
        shown.append(Key("False alarms a day", f"{numbers['false_alarms_per_day']:.3g}", "of each series"))
    if numbers["delay_rows"] is not None:
        shown.append(Key("Median delay", f"{numbers['delay_rows']:.0f} rows"))
    return shown


def tables(view: View) -> list[Table]:
    """The numbers of all series, and a row for each series with alarms or anomalies."""
    numbers = view.measures
    if "alarms" not in numbers:
        return []
    title = f"{view.settings.model}: {numbers.get('source') or numbers.get('part') or 'all rows'}"
    notes = [
        f"{numbers['rows']:,} rows of {numbers['series']:,} series, threshold {numbers['threshold']:.4g}: "
        f"{numbers['alarms']:,} alarms"
    ]
    if numbers.get("windows") is not None:
        notes += [
            f"{numbers['windows']} anomalies: {_number(numbers['found'])} detected, "
            f"{_number(numbers['false_alarms'])} false alarms",
            f"precision {_number(numbers['precision'])}, recall {_number(numbers['recall'])}, "
            f"F1 {_number(numbers['f1'])} (by event), PR-AUC {_number(numbers['pr_auc'])} (by row)",
        ]
        if numbers.get("false_alarms_per_day") is not None:
            notes.append(f"{_number(numbers['false_alarms_per_day'])} false alarms a day")
        if numbers.get("delay_rows") is not None:
            notes.append(f"median delay {_number(numbers['delay_rows'])} rows")
    series = numbers.get("by_series", [])
    rows = tuple(
        (row["id"], f"{row['rows']:,}", f"{row['alarms']:,}", "-" if row["windows"] is None else str(row["windows"]))
        for row in series[:_TABLE_ROWS]
    )
    if len(series) > _TABLE_ROWS:
        notes.append(f"{len(series) - _TABLE_ROWS:,} more series.")
    return [Table(title, ("series", "rows", "alarms", "true anomalies"), rows, tuple(notes))]


def _steps(counts: Sequence[int]) -> list[float]:
    # A logarithmic axis has no zero.
    return [count or 0.5 for count in np.repeat(counts, 2).tolist()]


def _array(drawn: Sequence[Sequence[float]], length: int) -> np.ndarray:
    """Values at their rows, NaN between."""
    values = np.full(length, math.nan)
    for row, value in drawn:
        values[int(row)] = value
    return values


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
