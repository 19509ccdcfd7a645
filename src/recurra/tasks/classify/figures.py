"""Tables, key numbers and figures of a classification, from plain data."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from recurra.data.series.series_set import SeriesSet
from recurra.diagnostics.chart import Axis, Line, line_chart
from recurra.diagnostics.confusion import confusion_chart
from recurra.diagnostics.report import Figure, Key
from recurra.tasks.classify.prepare import labels_of
from recurra.tasks.task import Table, View

__all__ = ["examples", "figures", "keys", "lead", "tables"]

_EXAMPLES = 6
_POINTS = 600
_CHANNELS = 4


def lead(view: View, cell: str | None) -> str:
    """Name model, cell and numbers of cases."""
    settings, result = view.settings, view.note.get("result", {})
    model = settings.model
    text = model.name + (f" of {cell} cells, {model.layers} x {model.hidden}" if cell else "")
    text += f", {settings.members} members" if settings.members > 1 else ""
    if "cases" in result:
        held_out = result.get("validation_cases", result.get("held", 0))
        text += f"; {result['cases']:,} training cases, {held_out:,} validation cases that selected the weights"
    return text + "."


def keys(view: View) -> list[Key]:
    """Accuracy and its kin."""
    measures = view.measures
    note = f"{measures['cases']:,} {measures.get('part', '')} cases"
    if measures.get("part") == "validation":
        note += ", which selected the weights"
    return [
        Key("Accuracy", f"{100 * measures['accuracy']:.1f} %", note),
        Key("Balanced accuracy", f"{100 * measures['balanced_accuracy']:.1f} %"),
        Key("F1, mean of the classes", f"{measures['macro_f1']:.3f}"),
        Key("Log loss, nats", f"{measures['log_loss']:.3f}", f"guessing: {math.log(len(measures['classes'])):.3f}"),
    ]


def tables(view: View) -> list[Table]:
    """One row for each class."""
    measures = view.measures
    if not measures:
        return []
    source = f"{measures['source']}: " if measures.get("source") else "On "
    part = f"{measures['part']} " if measures.get("part") else ""
    summary = (
        f"accuracy {100 * measures['accuracy']:.2f} %, balanced {100 * measures['balanced_accuracy']:.2f} %, "
        f"F1 {measures['macro_f1']:.4f} (mean of the classes), log loss {measures['log_loss']:.4f}"
    )
    rows = tuple(
        (name, f"{row['cases']:,}", *(_number(row[measure]) for measure in ("precision", "recall", "f1")))
        for name, row in measures["by_class"].items()
    )
    title = f"{source}{measures['cases']:,} {part}cases"
    return [Table(title, ("class", "cases", "precision", "recall", "F1"), rows, (summary,))]


def figures(view: View) -> list[Figure]:
    """Draw the confusion, and misclassified cases with what the model looked at."""
    measures = view.measures
    if not measures:
        return []
    classes, part = measures["classes"], measures.get("part", "")
    chart = confusion_chart(measures["confusion"], classes)
    drawn = [Figure(f"Confusion on the {part} cases", chart)]
    return [*drawn, *(_example(example) for example in measures.get("examples", []))]


def examples(classifier: Any, cases: SeriesSet, probabilities: np.ndarray) -> list[dict[str, Any]]:
    """Return misclassified cases, the most confident first, then correct ones, as plain values."""
    labels, predicted = labels_of(cases), probabilities.argmax(1)
    confidence = probabilities[np.arange(len(probabilities)), predicted]
    wrong = np.flatnonzero(labels != predicted)
    order = wrong[np.argsort(-confidence[wrong], kind="stable")][:_EXAMPLES]
    if len(order) < _EXAMPLES:
        # One correct case of each class, the least confident.
        right = np.flatnonzero(labels == predicted)
        first = []
        for label in np.unique(labels[right]):
            own = right[labels[right] == label]
            first.append(own[np.argmin(confidence[own])])
        order = np.concatenate([order, np.array(first, np.int64)[: _EXAMPLES - len(order)]])
    relevance = classifier.relevance(cases, order, predicted[order]) if len(order) else None
    rows = []
    for number, index in enumerate(order.tolist()):
        case = cases[index]
        stride = max(1, -(-len(case.values) // _POINTS))
        rows.append(
            {
                "id": case.id,
                "truth": classifier.classes[int(labels[index])],
                "said": classifier.classes[int(predicted[index])],
                "probability": float(confidence[index]),
                "stride": stride,
                "values": [_plain(column[::stride]) for column in case.values.T],
                "channels": list(cases.names),
                "relevance": None if relevance is None else _plain(relevance[number][::stride]),
            }
        )
    return rows


def _example(example: Mapping[str, Any]) -> Figure:
    title = f"Case {example['id']}: {example['truth']}, predicted {example['said']} ({example['probability']:.2f})"
    steps = [step * example["stride"] for step in range(len(example["values"][0]))]
    pairs = list(zip(example["channels"], example["values"], strict=True))
    lines = [Line(name, steps, _numbers(values)) for name, values in pairs[:_CHANNELS]]
    chart = line_chart(lines, Axis("step"), Axis("value"), label=title)
    if example["relevance"]:
        weights = Line("relevance of each step", steps, _numbers(example["relevance"]))
        chart += line_chart([weights], Axis("step"), Axis("relevance"), label="relevance over time")
    notes = ["Misclassified."] if example["truth"] != example["said"] else []
    if len(pairs) > _CHANNELS:
        notes.append(f"{len(pairs) - _CHANNELS} more channels are not drawn.")
    return Figure(title, chart, " ".join(notes))


def _numbers(values: Sequence[float | None]) -> list[float]:
    return [math.nan if value is None else float(value) for value in values]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _plain(values: np.ndarray) -> list[float | None]:
    return [None if np.isnan(value) else float(f"{value:.5g}") for value in values.tolist()]
