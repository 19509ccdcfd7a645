"""The report of a run of any task: the frame is the same, tables and figures are the task's."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from recurra.base import config
from recurra.cells import CELLS
from recurra.diagnostics.chart import Axis, Line, line_chart
from recurra.diagnostics.report import Figure, Report, write
from recurra.equations.show import equations
from recurra.tasks.folder import ARRAYS, MEMBERS, REPORT, WEIGHTS, RunFolder, footer, read_note
from recurra.tasks.html import html_table
from recurra.tasks.load import load, task_of
from recurra.tasks.task import Measures, Task, View
from recurra.training.log import read_lines

__all__ = ["loss_figures", "read_records", "view_of", "write_evaluation_report", "write_report"]


def write_report(folder: Path | str) -> Path:
    """Write report.html into the run folder and return its path; an unfinished run gets what there is.

    Needs nothing but the folder. Raises CheckpointError where it is no run.
    """
    path, task = Path(folder), task_of(folder)
    view = view_of(path)
    cell = task.cell(view.settings)
    declared = CELLS[cell]() if cell and (cell in CELLS or ":" in cell) else None
    page = Report(
        title=path.resolve().name,
        lead=task.lead(view),
        keys=task.keys(view) if view.measures else [],
        figures=[*_figures(task, view), *loss_figures(path)],
        samples=task.samples(view),
        equations=equations(declared.spec) if declared else "",
        equations_title=f"The cell: {cell}",
        citation=declared.title if declared else "",
        settings=config.to_dict(view.settings),
        command="\n".join(view.note.get("commands", [])),
        footer=footer(view.note),
    )
    write(page, path / REPORT)
    return path / REPORT


def write_evaluation_report(
    task: Task, predictor: Any, measures: Measures, path: Path, title: str, command: str = ""
) -> None:
    """Write the page of one evaluation."""
    view = View(settings=predictor.settings, measures=measures.plain, predictor=predictor)
    page = Report(title=title, keys=task.keys(view), figures=_figures(task, view), command=command)
    write(page, path)


def view_of(folder: Path) -> View:
    """Return a run as far as it is there."""
    task = task_of(folder)
    run = RunFolder(task, folder)
    settings, note = run.settings(), read_note(folder)
    trained = (folder / WEIGHTS).exists() or (folder / ARRAYS).exists()
    predictor = load(folder) if trained else None
    return View(settings=settings, measures=run.measures(), predictor=predictor, note=note, folder=folder)


def loss_figures(folder: Path) -> list[Figure]:
    """Return the curves of every loop of a run: training and validation loss, and the norm of the gradient."""
    losses, norms = [], []
    for path in _logs(folder):
        member = f", member {path.parent.name}" if path.parent.parent.name == MEMBERS else ""
        records = read_records(path)
        for split, name in (("train", "training"), ("valid", "validation")):
            losses.append(_line(f"{name}{member}", records, split, "loss"))
        norms.append(_line(f"mean norm before clipping{member}", records, "train", "grad_norm"))
    charts = (
        ("Loss", losses, Axis("iteration"), Axis("loss"), "loss by iteration",
         "Training is measured with dropout and the weights of the moment, validation without and with their average."),
        ("Gradient norm", norms, Axis("iteration"), Axis("norm", log=True), "gradient norm by iteration",
         "The Euclidean norm of the gradient over all parameters. Spikes are what clipping is for."),
    )  # fmt: skip
    figures = []
    for title, lines, x, y, label, note in charts:
        drawn = [line for line in lines if line.x][:6]
        if drawn:
            figures.append(Figure(title, line_chart(drawn, x, y, label=label), note))
    return figures


def read_records(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a log; none where there is none yet."""
    return read_lines(path) if path.exists() else []


def _figures(task: Task, view: View) -> Sequence[Figure]:
    if not view.measures and view.predictor is None:
        return []
    tables = [Figure(table.title, html_table(table), " ".join(table.notes)) for table in task.tables(view)]
    return [*tables, *task.figures(view)]


def _logs(folder: Path) -> Iterable[Path]:
    own = folder / "metrics.jsonl"
    patterns = ("*/metrics.jsonl", f"{MEMBERS}/*/metrics.jsonl")
    return [*([own] if own.exists() else []), *(path for name in patterns for path in sorted(folder.glob(name)))]


def _line(name: str, records: Sequence[Mapping[str, Any]], split: str, value: str) -> Line:
    chosen = [record for record in records if record.get("split") == split and value in record]
    # A number that was not finite is null in the log; charts leave NaN out.
    values = [math.nan if record[value] is None else float(record[value]) for record in chosen]
    return Line(name, [record["iteration"] for record in chosen], values)
