"""The report of event detection, from what its run folder holds."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recurra.base import config
from recurra.cells import CELLS
from recurra.diagnostics.chart import Axis, Line, line_chart
from recurra.diagnostics.report import Figure, Key, Report, write
from recurra.equations.show import equations
from recurra.tasks.classify.report import confusion_figure, loss_figures
from recurra.tasks.events.run import EVENTS, HELD, RUNS
from recurra.tasks.events.timeline import timeline_chart
from recurra.tasks.folder import MEMBERS, REPORT, footer, read_note

__all__ = ["write_report"]

_COLUMNS = {
    "events": "events",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "false_per_hour": "false per hour",
    "delay_median_s": "delay, median s",
    "delay_95_s": "delay, 95 % s",
}


def write_report(folder: Path | str) -> Path:
    """Write report.html into the run folder and give its path. Raises CheckpointError where it is no run."""
    folder = Path(folder)
    settings, note = RUNS.settings(folder), read_note(folder)
    kept = json.loads((folder / HELD).read_text(encoding="utf-8")) if (folder / HELD).exists() else None
    model, result = settings.model, note.get("result", {})
    lead = f"{model.cell} cells, {model.layers} x {model.hidden}"
    if result:
        lead += f"; {result['series']:,} series, {result['rows']:,} steps, {result['events']:,} events"
    page = Report(
        title=folder.resolve().name,
        lead=lead + ".",
        keys=_keys(kept) if kept else [],
        figures=[*(_figures(kept, folder) if kept else []), *loss_figures(folder / MEMBERS)],
        equations=equations(CELLS[model.cell]().spec),
        equations_title=f"The cell: {model.cell}",
        citation=CELLS[model.cell]().title,
        settings=config.to_dict(settings),
        command="\n".join(note.get("commands", [])),
        footer=footer(note),
    )
    write(page, folder / REPORT)
    return folder / REPORT


def _figures(kept: Mapping[str, Any], folder: Path) -> list[Figure]:
    learnt = json.loads((folder / EVENTS).read_text(encoding="utf-8"))
    high, low, least, refractory = learnt["rule"]
    preparation = learnt["preparation"]
    classes = list(kept["by_class"])
    frame_ms = 1000 * preparation["frame"] * preparation["step_s"]
    rule = (
        f"An event begins at probability {high:.3g}, ends below {low:.3g}, lasts {least} frames of {frame_ms:.4g} ms "
    )
    rule += f"at least, and {refractory} frames lie between two. Tolerance: {preparation['tolerance_s']:g} s."
    figures = [Figure("Class by class", _table(kept), rule)]
    for place, picture in enumerate(kept["pictures"]):
        title = f"{picture['id']} from {picture['from']}"
        note = "Where most went wrong comes first; rows of truth and of what was found lie under the signal."
        chart = timeline_chart(picture, classes, high, label=title)
        figures.append(Figure(title, chart, note if not place else ""))
    points = [(r, p) for _, p, r in kept["curve"] if p is not None and r is not None]
    if points:
        points.sort()
        line = Line("thresholds", [r for r, _ in points], [p for _, p in points])
        here = Line("this rule", [kept["recall"] or 0.0], [kept["precision"] or 0.0])
        chart = line_chart([line, here], Axis("recall"), Axis("precision"), label="precision and recall")
        figures.append(Figure("Precision and recall by threshold", chart, "All classes together."))
    if len(classes) > 1:
        note = "An event and a detection within the tolerance, whatever their classes; none: without a partner."
        figures.append(confusion_figure(kept["confusion"], [*classes, "none"], kept["part"], note))
    return figures


def _table(kept: Mapping[str, Any]) -> str:
    rows = dict(kept["by_class"])
    if len(rows) > 1:
        rows |= {"any class": kept["any_class"]}
    head = "".join(f'<th style="width:auto">{title}</th>' for title in _COLUMNS.values())
    body = []
    for name, row in rows.items():
        cells = "".join(f"<td>{_shown(row[column])}</td>" for column in _COLUMNS)
        body.append(f'<tr><th scope="row" style="width:auto">{html.escape(name)}</th>{cells}</tr>')
    return f'<div class="wide"><table><tr><th style="width:auto"></th>{head}</tr>{"".join(body)}</table></div>'


def _keys(kept: Mapping[str, Any]) -> list[Key]:
    where = f"{kept['events']:,} events, {kept['part']} part"
    if kept["part"] == "validation":
        where += ", which chose the rule"
    return [
        Key("F1", _shown(kept["f1"]), where),
        Key("Precision", _shown(kept["precision"])),
        Key("Recall", _shown(kept["recall"])),
        Key("Delay, median", f"{_shown(kept['delay_median_s'])} s", f"95 %: {_shown(kept['delay_95_s'])} s"),
        Key("False alarms per hour", _shown(kept["false_per_hour"]), f"in {kept['hours']:.3g} hours"),
    ]


def _shown(value: float | None) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
