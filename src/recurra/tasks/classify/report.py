"""The report of a classification, from what its run folder holds."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from recurra.base import config
from recurra.cells import CELLS
from recurra.diagnostics.chart import Axis, Line, line_chart
from recurra.diagnostics.heatmap import heatmap
from recurra.diagnostics.report import Figure, Key, Report, write
from recurra.equations.show import equations
from recurra.tasks.classify.run import HELD, RUNS
from recurra.tasks.folder import MEMBERS, REPORT, footer, read_note
from recurra.training.log import read_lines

__all__ = ["confusion_figure", "loss_figures", "write_report"]

_MOST_CHANNELS = 4


def write_report(folder: Path | str) -> Path:
    """Write report.html into the run folder and give its path. Raises CheckpointError where it is no run."""
    folder = Path(folder)
    settings, note = RUNS.settings(folder), read_note(folder)
    kept = json.loads((folder / HELD).read_text(encoding="utf-8")) if (folder / HELD).exists() else None
    model, result = settings.model, note.get("result", {})
    celled = model.name in ("recurrent", "lstm_fcn")
    lead = model.name + (f" of {model.cell} cells, {model.layers} x {model.hidden}" if celled else "")
    lead += f", {settings.members} members" if settings.members > 1 else ""
    if result:
        lead += f"; {result['cases']:,} cases learnt, {result['held']:,} held out to choose the weights"
    page = Report(
        title=folder.resolve().name,
        lead=lead + ".",
        keys=_keys(kept) if kept else [],
        figures=[*(_figures(kept) if kept else []), *loss_figures(folder / MEMBERS)],
        equations=equations(CELLS[model.cell]().spec) if celled else "",
        equations_title=f"The cell: {model.cell}",
        citation=CELLS[model.cell]().title if celled else "",
        settings=config.to_dict(settings),
        command="\n".join(note.get("commands", [])),
        footer=footer(note),
    )
    write(page, folder / REPORT)
    return folder / REPORT


def confusion_figure(table: Sequence[Sequence[int]], names: Sequence[str], part: str, note: str = "") -> Figure:
    """Rows are the truth, shaded by their shares, with the counts written in."""
    shares = [[count / max(1, sum(row)) for count in row] for row in table]
    # The squares are narrow: long names are numbered, and the table below says which is which.
    short = list(names) if max(map(len, names)) <= 3 else [str(place + 1) for place in range(len(names))]
    chart = heatmap(shares, short, short, row_label="truth", column_label="said", label="confusion")
    named = [name if name == mark else f"{mark} {name}" for mark, name in zip(short, names, strict=True)]
    return Figure(f"Confusion on the {part} cases", chart + _counts(table, named), note)


def loss_figures(members: Path) -> list[Figure]:
    """The curves of every member's training."""
    lines = []
    for path in sorted(members.glob("*/metrics.jsonl")):
        records = [record for record in read_lines(path) if record.get("loss") is not None]
        for split in ("train", "valid"):
            chosen = [record for record in records if record["split"] == split]
            name = f"{'validation' if split == 'valid' else 'training'}, member {path.parent.name}"
            lines.append(Line(name, [r["iteration"] for r in chosen], [r["loss"] for r in chosen]))
    lines = [line for line in lines if line.x]
    if not lines:
        return []
    chart = line_chart(lines[:6], Axis("iteration"), Axis("cross entropy, nats"), label="loss by iteration")
    return [Figure("Loss", chart, "Training is measured with dropout, validation without.")]


def _figures(kept: Mapping[str, Any]) -> list[Figure]:
    classes, part = kept["classes"], kept["part"]
    figures = [confusion_figure(kept["confusion"], classes, part), Figure("Class by class", _table(kept["by_class"]))]
    for example in kept["examples"]:
        right = example["truth"] == example["said"]
        told = f"said {example['said']} ({example['probability']:.2f})"
        title = f"Case {example['id']}: {example['truth']}, {told}"
        steps = [place * example["stride"] for place in range(len(example["values"][0]))]
        pairs = zip(example["channels"], example["values"], strict=True)
        lines = [Line(name, steps, _numbers(values)) for name, values in list(pairs)[:_MOST_CHANNELS]]
        chart = line_chart(lines, Axis("step"), Axis("value"), label=title)
        if example["relevance"]:
            weights = Line("how much each step counted", steps, _numbers(example["relevance"]))
            chart += line_chart([weights], Axis("step"), Axis("relevance"), label="relevance over time")
        more = len(example["channels"]) - _MOST_CHANNELS
        note = "" if right else "Told wrongly."
        note += f" {more} more channels are not drawn." if more > 0 else ""
        figures.append(Figure(title, chart, note.strip()))
    return figures


def _counts(table: Sequence[Sequence[int]], names: Sequence[str]) -> str:
    head = "".join(f'<th style="width:auto">{html.escape(name)}</th>' for name in names)
    rows = [
        f'<tr><th scope="row" style="width:auto">{html.escape(name)}</th>'
        + "".join(f"<td>{count:,}</td>" for count in row)
        + "</tr>"
        for name, row in zip(names, table, strict=True)
    ]
    return f'<div class="wide"><table><tr><th style="width:auto"></th>{head}</tr>{"".join(rows)}</table></div>'


def _table(by_class: Mapping[str, Mapping[str, Any]]) -> str:
    head = "".join(f'<th style="width:auto">{name}</th>' for name in ("cases", "precision", "recall", "F1"))
    rows = []
    for name, row in by_class.items():
        cells = "".join(f"<td>{_shown(row[column])}</td>" for column in ("cases", "precision", "recall", "f1"))
        rows.append(f'<tr><th scope="row" style="width:auto">{html.escape(name)}</th>{cells}</tr>')
    return f'<div class="wide"><table><tr><th style="width:auto"></th>{head}</tr>{"".join(rows)}</table></div>'


def _keys(kept: Mapping[str, Any]) -> list[Key]:
    where = f"{kept['cases']:,} {kept['part']} cases"
    if kept["part"] == "validation":
        where += ", which chose the weights"
    return [
        Key("Accuracy", f"{100 * kept['accuracy']:.1f} %", where),
        Key("Balanced accuracy", f"{100 * kept['balanced_accuracy']:.1f} %"),
        Key("F1, mean of the classes", f"{kept['macro_f1']:.3f}"),
        Key("Log loss, nats", f"{kept['log_loss']:.3f}", f"guessing: {math.log(len(kept['classes'])):.3f}"),
    ]


def _numbers(values: Sequence[float | None]) -> list[float]:
    return [math.nan if value is None else float(value) for value in values]


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:,}" if isinstance(value, int) else f"{value:.3f}"
