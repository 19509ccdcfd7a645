"""Tables, key numbers and figures of a forecaster and of a backtest, from plain data."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from recurra.diagnostics.chart import Axis, Line, line_chart
from recurra.diagnostics.report import Figure, Key
from recurra.tasks.forecast.fan import fan_chart
from recurra.tasks.forecast.looked import attention_figure
from recurra.tasks.task import Table, View

__all__ = ["figures", "keys", "lead", "tables"]

_ROWS = 40
_BASELINES = {"seasonal_naive": "the last season repeated", "naive": "the last value repeated"}


def lead(view: View, cell: str | None) -> str:
    """Name the model, and count series and rows."""
    settings, result = view.settings, view.note.get("result", {})
    model = settings.model
    sentence = model.name
    if cell:
        sentence += f" of {cell} cells, {model.layers} x {model.hidden}"
        sentence += f", {settings.members} members" if settings.members > 1 else ""
    sentence += f"; {settings.horizon} steps ahead"
    if "series" in result:
        sentence += f"; {result['series']:,} series, {result['rows']:,} rows"
    return sentence + "."


def keys(view: View) -> list[Key]:
    """Errors beside those of the seasonal naive forecast, and the coverage of an interval."""
    overall = view.measures.get("overall", {})
    numbers = []
    for name, title in (("mae", "Mean absolute error"), ("mase", "MASE"), ("smape", "sMAPE, %"), ("crps", "CRPS")):
        if overall.get(name) is not None:
            other = overall.get(f"seasonal_naive.{name}")
            numbers.append(Key(title, _number(overall[name]), f"seasonal naive: {_number(other)}" if other else ""))
    for name in ("coverage_80", "coverage_90"):
        if overall.get(name) is not None:
            numbers.append(Key(f"Inside the {name[-2:]} % interval", f"{100 * overall[name]:.1f} %"))
            break
    return numbers


def tables(view: View) -> list[Table]:
    """The model beside the naive forecasts, and each series."""
    measures = view.measures
    if "overall" not in measures:
        return []
    overall = measures["overall"]
    data = measures.get("source") or (f"On the {measures['part']} rows" if measures.get("part") else "Backtest")
    title = f"{data}: {measures['origins']:,} forecasts"
    names = ("mae", "mse", "smape", "mase", "crps")
    models = {"": view.settings.model.name, "seasonal_naive.": "seasonal naive", "naive.": "last value"}
    rows = tuple((name, *(_blank(overall.get(prefix + row)) for row in names)) for prefix, name in models.items())
    notes = [
        f"{100 * overall[name]:.1f} % lie inside the {name[-2:]} % interval"
        for name in ("coverage_80", "coverage_90")
        if overall.get(name) is not None
    ]
    notes += [
        f"Against {_BASELINES[name]}: {test['says']} (p = {test['p']:.2g}, Diebold and Mariano, absolute errors)"
        for name, test in measures["against"].items()
    ]
    summary = Table(title, ("", "MAE", "MSE", "sMAPE", "MASE", "CRPS"), rows, tuple(notes))
    by_series = sorted(measures["by_series"].items(), key=lambda pair: -(pair[1].get("mase") or 0))
    if len(by_series) < 2:
        return [summary]
    columns = [
        name
        for name in ("mae", "mase", "smape", "crps", "coverage_80", "coverage_90")
        if any(name in row for _, row in by_series)
    ]
    cells = tuple((name, *(_number(row.get(column)) for column in columns)) for name, row in by_series[:_ROWS])
    more = (f"{len(by_series) - _ROWS:,} more series.",) if len(by_series) > _ROWS else ()
    return [summary, Table("Series by series", ("", *(name.replace("_", " ") for name in columns)), cells, more)]


def figures(view: View) -> list[Figure]:
    """Draw forecasts over what came, error and coverage by step, residuals, attention."""
    measures = view.measures
    if "by_step" not in measures:
        return []
    split = f"on the {measures['part']} rows" if measures.get("part") else "in the backtest"
    drawn = []
    for number, example in enumerate(measures["examples"]):
        # JSON has no NaN: what was missing is null.
        before, truth = (_numbers(example[name]) for name in ("before", "truth"))
        chart = fan_chart(before, truth, example["quantiles"], measures["levels"], y_label=example["id"])
        note = f"From {example['stamps'][0]} on, {split}: the bands are where values were expected, the line what came."
        drawn.append(Figure(f"Forecast {number + 1}: {example['id']}", chart, "" if number else note))
    steps = measures["by_step"]
    horizon = range(1, len(steps["mae"]) + 1)
    names = {"mae": "this model", "seasonal_naive.mae": "seasonal naive", "naive.mae": "last value"}
    lines = [Line(title, horizon, _numbers(steps[name])) for name, title in names.items() if name in steps]
    drawn.append(
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
        rules = {"nominal": int(covered[0].removeprefix("coverage_")) / 100}
        chart = line_chart(lines, Axis("steps ahead"), Axis("share inside"), rules=rules, label="coverage by horizon")
        drawn.append(Figure("Coverage of the intervals", chart, "Each line should lie at its nominal share."))
    residuals = [value for example in measures["examples"] for value in _residuals(example, measures["levels"])]
    if residuals:
        drawn.append(_histogram(residuals))
    if "attention" in measures:
        drawn.append(attention_figure(measures["attention"]))
    return drawn


def _residuals(example: Mapping[str, Any], levels: Sequence[float]) -> list[float]:
    middle = list(levels).index(0.5)
    pairs = zip(_numbers(example["truth"]), example["quantiles"], strict=True)
    return [truth - row[middle] for truth, row in pairs if math.isfinite(truth)]


def _histogram(residuals: Sequence[float]) -> Figure:
    counts, edges = np.histogram(residuals, bins=min(40, max(5, len(residuals) // 8)))
    x, y = np.repeat(edges, 2)[1:-1].tolist(), np.repeat(counts, 2).tolist()
    chart = line_chart([Line("residuals", x, y)], Axis("truth minus median"), Axis("how many"), label="residuals")
    return Figure("Residuals of the forecasts above", chart, "Off the middle: the forecasts lean to one side.")


def _numbers(values: Sequence[float | None]) -> list[float]:
    return [math.nan if value is None else float(value) for value in values]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.4g}"


def _blank(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
