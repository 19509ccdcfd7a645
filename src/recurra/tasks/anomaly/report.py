"""The report of an anomaly run: what was kept of its judgement, and the page drawn from that."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from recurra.base import config
from recurra.base.files import write_text
from recurra.cells import CELLS
from recurra.diagnostics.chart import Axis, Line, line_chart
from recurra.diagnostics.report import Figure, Key, Report, write
from recurra.equations.show import equations
from recurra.tasks.anomaly.evaluate import Found
from recurra.tasks.anomaly.run import RUNS
from recurra.tasks.anomaly.table import windows_of
from recurra.tasks.anomaly.timeline import thinned, timeline
from recurra.tasks.folder import REPORT, footer, read_note
from recurra.training.log import read_lines

__all__ = ["JUDGED", "keep", "write_found_report", "write_report"]

JUDGED = "judged.json"

_SHOWN_SERIES = 8
_SHOWN_ALARMS = 300
_TABLE_ROWS = 40


def keep(folder: Path, found: Found, name: str = JUDGED) -> None:
    """What the report needs of a judgement, into the run folder."""
    write_text(folder / name, json.dumps(kept_of(found), ensure_ascii=False) + "\n")


def kept_of(found: Found) -> dict[str, Any]:
    """Figures, the most telling series with scores, the histogram of all scores."""
    per_series = []
    for one, said, first in zip(found.series, found.judged, found.first, strict=True):
        windows = windows_of(one.labels[first:]) if one.labels is not None else []
        row = {"id": one.id, "rows": len(one.values) - first, "alarms": int(said.alarms[first:].sum())}
        per_series.append({**row, "windows": len(windows) if one.labels is not None else None})
    # Those with anomalies first, then those with alarms.
    order = sorted(
        range(len(per_series)), key=lambda at: (-(per_series[at]["windows"] or 0), -per_series[at]["alarms"])
    )
    examples = [_example(found, at) for at in order[:_SHOWN_SERIES]]
    scores = np.concatenate([said.scores[first:] for said, first in zip(found.judged, found.first, strict=True)])
    normal = [np.zeros(len(o.values), bool) if o.labels is None else o.labels for o in found.series]
    labels = np.concatenate([one[first:] for one, first in zip(normal, found.first, strict=True)])
    positive = bool((scores[~np.isnan(scores)] > 1.001).any())
    return {
        "part": found.part,
        "numbers": found.numbers(),
        "series": [per_series[at] for at in order],
        "examples": examples,
        "histogram": _histogram(scores, labels, positive),
        "log": positive,
        "reasons": _reasons(found),
    }


def write_report(folder: Path | str) -> Path:
    """Write report.html into the run folder and give its path. Raises CheckpointError where it is no run."""
    folder = Path(folder)
    settings, note = RUNS.settings(folder), read_note(folder)
    kept = json.loads((folder / JUDGED).read_text(encoding="utf-8")) if (folder / JUDGED).exists() else None
    trained = settings.model != "online"
    lead = {
        "online": "Learns while the stream runs: range, level, time of day, and an echo state network's forecasts.",
        "forecast": f"Errors of a {settings.net.cell}'s forecasts, {settings.net.ahead} steps ahead.",
        "autoencoder": f"A {settings.net.cell} reads {settings.net.window} rows and writes them again.",
    }[settings.model]
    page = Report(
        title=folder.resolve().name,
        lead=lead,
        keys=_keys(kept["numbers"]) if kept else [],
        figures=[*(_figures(kept) if kept else []), *_losses(folder)],
        equations=equations(CELLS[settings.net.cell]().spec) if trained else "",
        equations_title=f"The cell: {settings.net.cell}",
        citation=CELLS[settings.net.cell]().title if trained else "",
        settings=config.to_dict(settings),
        command="\n".join(note.get("commands", [])),
        footer=footer(note),
    )
    write(page, folder / REPORT)
    return folder / REPORT


def write_found_report(found: Found, path: Path, title: str, command: str = "") -> None:
    """The page of one evaluation."""
    kept = kept_of(found)
    write(Report(title=title, keys=_keys(kept["numbers"]), figures=_figures(kept), command=command), path)


def _example(found: Found, at: int) -> dict[str, Any]:
    one, said = found.series[at], found.judged[at]
    # What is measured, and a little before it; of several channels the first stands for all.
    start = max(found.first[at] - 500, 0)
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
        "threshold": found.threshold,
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


def _reasons(found: Found) -> dict[str, int]:
    counted: dict[str, int] = {}
    for said, first in zip(found.judged, found.first, strict=True):
        for row in np.flatnonzero(said.alarms[first:]) + first if said.reasons else ():
            counted[said.reasons[row]] = counted.get(said.reasons[row], 0) + 1
    return counted


def _figures(kept: Mapping[str, Any]) -> list[Figure]:
    figures = []
    for number, example in enumerate(kept["examples"]):
        values, scores = (_array(example[name], example["length"]) for name in ("values", "scores"))
        chart = timeline(
            values,
            scores,
            example["threshold"],
            example["alarms"],
            example["windows"],
            label=f"time-line of {example['id']}",
            log=kept["log"],
        )
        begins = f" Row 0 is row {example['start']:,} of the series." if example["start"] else ""
        told = "Above the values with the alarms, below the scores; shaded: what the labels call an anomaly."
        figures.append(Figure(f"Time-line: {example['id']}", chart, (told if not number else "") + begins))
    histogram = kept["histogram"]
    if histogram:
        edges = histogram["edges"]
        x = np.repeat(edges, 2)[1:-1].tolist()
        lines = [Line("rows" if histogram["odd"] is None else "normal rows", x, _steps(histogram["usual"]))]
        if histogram["odd"] is not None:
            lines.append(Line("rows in anomalies", x, _steps(histogram["odd"])))
        chart = line_chart(lines, Axis("score", kept["log"]), Axis("rows", True), label="histogram of scores")
        threshold = kept["numbers"]["threshold"]
        figures.append(Figure("How scores are spread", chart, f"The threshold is {threshold:.4g}."))
    if kept["reasons"]:
        told = ", ".join(f"{name} {count}" for name, count in sorted(kept["reasons"].items(), key=lambda p: -p[1]))
        figures.append(Figure("Series by series", _table(kept["series"]), f"What raised the alarms: {told}."))
    else:
        figures.append(Figure("Series by series", _table(kept["series"])))
    return figures


def _table(series: Sequence[Mapping[str, Any]]) -> str:
    head = "".join(f'<th style="width:auto">{name}</th>' for name in ("", "rows", "alarms", "true anomalies"))
    rows = []
    for one in series[:_TABLE_ROWS]:
        windows = "-" if one["windows"] is None else one["windows"]
        cells = f"<td>{one['rows']:,}</td><td>{one['alarms']:,}</td><td>{windows}</td>"
        rows.append(f'<tr><th scope="row" style="width:auto">{html.escape(one["id"])}</th>{cells}</tr>')
    more = f"<p>{len(series) - _TABLE_ROWS:,} more series.</p>" if len(series) > _TABLE_ROWS else ""
    return f'<div class="wide"><table><tr>{head}</tr>{"".join(rows)}</table></div>{more}'


def _keys(numbers: Mapping[str, Any]) -> list[Key]:
    keys = [Key("Alarms", f"{numbers['alarms']:,}", f"in {numbers['rows']:,} rows of {numbers['series']:,} series")]
    if numbers.get("windows") is None:
        return keys
    keys.append(Key("Anomalies found", f"{numbers['found']} of {numbers['windows']}"))
    for name, title, note in (
        ("precision", "Precision", "of alarms, by event"),
        ("f1", "F1", "by event, not point-adjusted"),
        ("pr_auc", "PR-AUC", f"by row; chance: {numbers['anomalous_share']:.3g}"),
    ):
        if numbers[name] is not None:
            keys.append(Key(title, f"{numbers[name]:.3g}", note))
    if numbers["false_alarms_per_day"] is not None:
        keys.append(Key("False alarms a day", f"{numbers['false_alarms_per_day']:.3g}", "of each series"))
    if numbers["delay_rows"] is not None:
        keys.append(Key("Median delay", f"{numbers['delay_rows']:.0f} rows"))
    return keys


def _losses(folder: Path) -> list[Figure]:
    path = folder / "training" / "metrics.jsonl"
    if not path.exists():
        return []
    records = [record for record in read_lines(path) if record.get("loss") is not None]
    lines = []
    for split, name in (("train", "training"), ("valid", "validation")):
        chosen = [record for record in records if record["split"] == split]
        lines.append(Line(name, [r["iteration"] for r in chosen], [r["loss"] for r in chosen]))
    return [Figure("Loss", line_chart(lines, Axis("iteration"), Axis("mean squared error"), label="loss"))]


def _steps(counts: Sequence[int]) -> list[float]:
    # A logarithmic axis has no zero.
    return [count or 0.5 for count in np.repeat(counts, 2).tolist()]


def _array(drawn: Sequence[Sequence[float]], length: int) -> np.ndarray:
    """What was kept at its rows, NaN between."""
    found = np.full(length, math.nan)
    for row, value in drawn:
        found[int(row)] = value
    return found
