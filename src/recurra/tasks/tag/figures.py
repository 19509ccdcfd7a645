"""Tables, key numbers and figures of sequence labelling, from plain data."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

from recurra.diagnostics.confusion import confusion_chart
from recurra.diagnostics.report import Figure, Key
from recurra.tasks.task import Table, View

__all__ = ["figures", "keys", "tables"]


def keys(view: View) -> list[Key]:
    """Accuracy, and F1 of spans."""
    measures = view.measures
    note = f"{measures['tokens']:,} tokens of {measures['sequences']:,} {measures.get('part', '')} sequences"
    numbers = [Key("Accuracy", f"{100 * measures['accuracy']:.2f} %", note)]
    if measures.get("f1") is not None:
        numbers.insert(0, Key("F1 of spans", f"{100 * measures['f1']:.2f}", f"{measures['spans']:,} spans"))
    numbers.append(Key("Sequences without an error", f"{100 * measures['sequence_accuracy']:.1f} %"))
    return numbers


def tables(view: View) -> list[Table]:
    """Accuracy; of spans a row for each type, as conlleval prints them."""
    measures = view.measures
    if not measures:
        return []
    data = f"{measures['source']}: " if measures.get("source") else f"On the {measures.get('part', '')} sequences: "
    title = f"{data}{measures['tokens']:,} tokens of {measures['sequences']:,} sequences"
    notes = (
        f"accuracy {100 * measures['accuracy']:.2f} %, "
        f"sequences without an error {100 * measures['sequence_accuracy']:.1f} %",
    )
    if "by_type" not in measures:
        return [Table(title, notes=notes)]
    rows = {**measures["by_type"], "all": measures}
    cells = tuple(
        (name, f"{row['spans']:,}", *(_percent(row[column]) for column in ("precision", "recall", "f1")))
        for name, row in rows.items()
    )
    return [Table(title, ("type", "spans", "precision", "recall", "F1"), cells, notes)]


def figures(view: View) -> list[Figure]:
    """Draw the confusion, and sequences with errors."""
    measures = view.measures
    if "confusion" not in measures:
        return []
    confusion = measures["confusion"]
    chart = confusion_chart(confusion["counts"], confusion["names"])
    drawn = [Figure("Confusion of the labels", chart, "The most frequent labels; rows are the labels of the data.")]
    if measures["examples"]:
        rows = "".join(f"<p>{_marked(example)}</p>" for example in measures["examples"])
        note = "Below each token its label; where the prediction differs, that in brackets."
        drawn.append(Figure("Sequences with errors", f'<div class="wide">{rows}</div>', note))
    return drawn


def _marked(example: Mapping[str, Any]) -> str:
    words = []
    for token, label, predicted in zip(example["tokens"], example["labels"], example["predicted"], strict=True):
        wrong = f" [{html.escape(predicted)}]" if label != predicted else ""
        text = f"{html.escape(token)}<sub>{html.escape(label)}{wrong}</sub>"
        words.append(f"<b>{text}</b>" if wrong else text)
    return " ".join(words)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f}"
