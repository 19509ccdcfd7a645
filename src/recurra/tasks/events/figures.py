"""Tables, key numbers and figures of event detection, from plain data."""

from __future__ import annotations

import math

from recurra.diagnostics.chart import Axis, Line, line_chart
from recurra.diagnostics.confusion import confusion_chart
from recurra.diagnostics.report import Figure, Key
from recurra.tasks.events.timeline import timeline_chart
from recurra.tasks.task import Table, View

__all__ = ["figures", "keys", "lead", "tables"]

_COLUMNS = {
    "events": "events",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "false_per_hour": "false/h",
    "delay_median_s": "delay s",
    "delay_95_s": "95 %",
}


def lead(view: View) -> str:
    """Name the cell, and count series, steps and events."""
    model, result = view.settings.model, view.note.get("result", {})
    sentence = f"{model.cell} cells, {model.layers} x {model.hidden}"
    if "events" in result:
        sentence += f"; {result['series']:,} series, {result['rows']:,} steps, {result['events']:,} events"
    return sentence + "."


def keys(view: View) -> list[Key]:
    """F1 and its kin, over all classes."""
    measures = view.measures
    note = f"{measures['events']:,} events"
    if measures.get("part"):
        note += f", {measures['part']} split"
    if measures.get("part") == "validation":
        note += ", which selected the rule"
    delay = f"95 %: {_number(measures['delay_95_s'])} s"
    return [
        Key("F1", _number(measures["f1"]), note),
        Key("Precision", _number(measures["precision"])),
        Key("Recall", _number(measures["recall"])),
        Key("Delay, median", f"{_number(measures['delay_median_s'])} s", delay),
        Key("False alarms per hour", _number(measures["false_per_hour"]), f"in {measures['hours']:.3g} hours"),
    ]


def tables(view: View) -> list[Table]:
    """One row for each class, and one for all."""
    measures = view.measures
    if not measures:
        return []
    rows = dict(measures["by_class"])
    if len(rows) > 1:
        rows["any class"] = measures["any_class"]
    cells = tuple((name, *(_number(row[column]) for column in _COLUMNS)) for name, row in rows.items())
    data = f"{measures['source']}: " if measures.get("source") else f"On the {measures.get('part', '')} split: "
    title = f"{data}{measures['hours']:.3g} hours, {measures['events']:,} events"
    notes = (_rule(view),) if view.predictor is not None else ()
    return [Table(title, ("class", *_COLUMNS.values()), cells, notes)]


def figures(view: View) -> list[Figure]:
    """Draw time-lines, precision and recall by threshold, and the confusion."""
    measures, detector = view.measures, view.predictor
    if not measures or detector is None:
        return []
    classes = list(measures["by_class"])
    drawn = []
    for number, picture in enumerate(measures.get("pictures", [])):
        title = f"{picture['id']} from {picture['from']}"
        note = "The most errors come first; rows of true and of detected events lie under the signal."
        chart = timeline_chart(picture, classes, detector.rule.high, label=title)
        drawn.append(Figure(title, chart, "" if number else note))
    points = [(r, p) for _, p, r in measures.get("curve", []) if p is not None and r is not None]
    if points:
        points.sort()
        line = Line("thresholds", [r for r, _ in points], [p for _, p in points])
        selected = Line("this rule", [measures["recall"] or 0.0], [measures["precision"] or 0.0])
        chart = line_chart([line, selected], Axis("recall"), Axis("precision"), label="precision and recall")
        drawn.append(Figure("Precision and recall by threshold", chart, "All classes together."))
    if len(classes) > 1:
        note = "An event and a detection within the tolerance, whatever their classes; none: without a partner."
        chart = confusion_chart(measures["confusion"], [*classes, "none"], column_label="detected")
        drawn.append(Figure(f"Confusion on the {measures.get('part', '')} events", chart, note))
    return drawn


def _rule(view: View) -> str:
    high, low, minimum, refractory = view.predictor.rule
    preparation = view.predictor.preparation
    frame_ms = 1000 * preparation.frame_s
    return (
        f"An event begins at probability {high:.3g}, ends below {low:.3g}, lasts at least {minimum} frames of "
        f"{frame_ms:.4g} ms, and {refractory} frames lie between two. Tolerance: {preparation.tolerance_s:g} s."
    )


def _number(value: float | None) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
