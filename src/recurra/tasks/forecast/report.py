"""The report of a forecasting run, and of a backtest, from what their folders hold."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from recurra.base import config
from recurra.cells import CELLS
from recurra.diagnostics.chart import Axis, Line, line_chart
from recurra.diagnostics.report import Figure, Key, Report, write
from recurra.equations.show import equations
from recurra.tasks.folder import REPORT, footer, read_note
from recurra.tasks.forecast.fan import fan_chart
from recurra.tasks.forecast.looked import looked_figure
from recurra.tasks.forecast.run import HELD, RUNS
from recurra.training.log import read_lines

__all__ = ["backtest_figures", "write_backtest_report", "write_report"]

_NETS = ("segment", "direct", "recursive", "attention")
_MOST_ROWS = 40


def write_report(folder: Path | str) -> Path:
    """Write report.html into the run folder and give its path. Raises CheckpointError where it is no run."""
    folder = Path(folder)
    settings, note = RUNS.settings(folder), read_note(folder)
    kept = json.loads((folder / HELD).read_text(encoding="utf-8")) if (folder / HELD).exists() else None
    figures = backtest_figures(kept) if kept else []
    if kept and "attention" in kept:
        figures.append(looked_figure(kept["attention"]))
    figures += _losses(folder)
    model = settings.model
    result = note.get("result", {})
    lead = f"{model.name}"
    if model.name in _NETS:
        lead += f" of {model.cell} cells, {model.layers} x {model.hidden}"
        lead += f", {settings.members} members" if settings.members > 1 else ""
    lead += f"; {settings.horizon} steps ahead"
    if result:
        lead += f"; {result['series']:,} series, {result['rows']:,} rows"
    page = Report(
        title=folder.resolve().name,
        lead=lead + ".",
        keys=_keys(kept) if kept else [],
        figures=figures,
        equations=equations(CELLS[model.cell]().spec) if model.name in _NETS else "",
        equations_title=f"The cell: {model.cell}",
        citation=CELLS[model.cell]().title if model.name in _NETS else "",
        settings=config.to_dict(settings),
        command="\n".join(note.get("commands", [])),
        footer=footer(note),
    )
    write(page, folder / REPORT)
    return folder / REPORT


def write_backtest_report(kept: Mapping[str, Any], path: Path, title: str, command: str = "") -> None:
    """The page of one backtest."""
    lead = (
        f"{kept['origins']:,} forecasts from as many origins{', trained anew for each' if kept.get('refit') else ''}."
    )
    write(Report(title=title, lead=lead, keys=_keys(kept), figures=backtest_figures(kept), command=command), path)


def backtest_figures(kept: Mapping[str, Any]) -> list[Figure]:
    """Fans over truth, error and coverage by step, residuals, series by series."""
    part = f"on the {kept['part']} rows" if kept.get("part") else "in the backtest"
    figures = []
    for number, example in enumerate(kept["examples"]):
        # JSON has no NaN: what was missing is null.
        before, truth = (_numbers(example[name]) for name in ("before", "truth"))
        chart = fan_chart(before, truth, example["quantiles"], kept["levels"], y_label=example["id"])
        told = f"From {example['stamps'][0]} on, {part}: the bands are where values were expected, the line what came."
        figures.append(Figure(f"Forecast {number + 1}: {example['id']}", chart, told if not number else ""))
    steps = kept["by_step"]
    horizon = range(1, len(steps["mae"]) + 1)
    names = {"mae": "this model", "seasonal_naive.mae": "seasonal naive", "naive.mae": "last value"}
    lines = [Line(title, horizon, _numbers(steps[name])) for name, title in names.items() if name in steps]
    figures.append(
        Figure(
            "Error by step of the horizon",
            line_chart(lines, Axis("steps ahead"), Axis("mean absolute error"), label="error by horizon"),
            "A model that does not see the newest values is no better at the first step than at the last.",
        )
    )
    covered = [name for name in steps if name.startswith("coverage_")]
    if covered:
        lines = [
            Line(f"{name.removeprefix('coverage_')} % interval", horizon, _numbers(steps[name])) for name in covered
        ]
        rules = {"wanted": int(covered[0].removeprefix("coverage_")) / 100}
        chart = line_chart(lines, Axis("steps ahead"), Axis("share inside"), rules=rules, label="coverage by horizon")
        figures.append(Figure("How often the intervals hold", chart, "Each line should lie at its own name."))
    residuals = [value for example in kept["examples"] for value in _residuals(example, kept["levels"])]
    if residuals:
        figures.append(_histogram(residuals))
    figures.append(Figure("Series by series", _table(kept["by_series"]), _testing(kept)))
    return figures


def _residuals(example: Mapping[str, Any], levels: Sequence[float]) -> list[float]:
    middle = list(levels).index(0.5)
    pairs = zip(_numbers(example["truth"]), example["quantiles"], strict=True)
    return [truth - row[middle] for truth, row in pairs if math.isfinite(truth)]


def _histogram(residuals: Sequence[float]) -> Figure:
    counts, edges = np.histogram(residuals, bins=min(40, max(5, len(residuals) // 8)))
    x, y = np.repeat(edges, 2)[1:-1].tolist(), np.repeat(counts, 2).tolist()
    chart = line_chart([Line("residuals", x, y)], Axis("truth minus median"), Axis("how many"), label="residuals")
    return Figure("Residuals of the forecasts above", chart, "Off the middle: the forecasts lean to one side.")


def _table(by_series: Mapping[str, Mapping[str, float | None]]) -> str:
    shown = [
        name
        for name in ("mae", "mase", "smape", "crps", "coverage_80", "coverage_90")
        if any(name in row for row in by_series.values())
    ]
    head = "".join(f'<th style="width:auto">{name.replace("_", " ")}</th>' for name in shown)
    ordered = sorted(by_series.items(), key=lambda pair: -(pair[1].get("mase") or 0))
    rows = []
    for name, row in ordered[:_MOST_ROWS]:
        cells = "".join(f"<td>{_shown(row.get(column))}</td>" for column in shown)
        rows.append(f'<tr><th scope="row" style="width:auto">{html.escape(name)}</th>{cells}</tr>')
    more = f"<p>{len(ordered) - _MOST_ROWS:,} more series.</p>" if len(ordered) > _MOST_ROWS else ""
    return f'<div class="wide"><table><tr><th style="width:auto"></th>{head}</tr>{"".join(rows)}</table></div>{more}'


def _testing(kept: Mapping[str, Any]) -> str:
    titles = {"naive": "the last value repeated", "seasonal_naive": "the last season repeated"}
    said = [
        f"Against {titles[name]}: {test['says']} (p = {test['p']:.2g})"
        for name, test in kept.get("against", {}).items()
    ]
    return "; ".join(said) + " by the test of Diebold and Mariano on absolute errors." if said else ""


def _keys(kept: Mapping[str, Any]) -> list[Key]:
    overall = kept["overall"]
    keys = []
    for name, title in (("mae", "Mean absolute error"), ("mase", "MASE"), ("smape", "sMAPE, %"), ("crps", "CRPS")):
        if overall.get(name) is not None:
            other = overall.get(f"seasonal_naive.{name}")
            keys.append(Key(title, _shown(overall[name]), f"seasonal naive: {_shown(other)}" if other else ""))
    for name in ("coverage_80", "coverage_90"):
        if overall.get(name) is not None:
            keys.append(Key(f"Inside the {name[-2:]} % interval", f"{100 * overall[name]:.1f} %"))
            break
    return keys


def _losses(folder: Path) -> list[Figure]:
    lines = []
    for member in sorted((folder / "members").glob("*/metrics.jsonl")):
        records = [record for record in read_lines(member) if record.get("loss") is not None]
        for split in ("train", "valid"):
            chosen = [record for record in records if record["split"] == split]
            name = f"{'validation' if split == 'valid' else 'training'}, member {member.parent.name}"
            lines.append(Line(name, [r["iteration"] for r in chosen], [r["loss"] for r in chosen]))
    if not lines:
        return []
    chart = line_chart(lines[:6], Axis("iteration"), Axis("loss, normalised"), label="loss by iteration")
    return [Figure("Loss", chart, "Training is measured with dropout, validation without.")]


def _numbers(values: Sequence[float | None]) -> list[float]:
    return [math.nan if value is None else float(value) for value in values]


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:,.4g}"
