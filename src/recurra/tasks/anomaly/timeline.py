"""An anomaly time-line: a series with its alarms and true windows, its scores below; a chart of the report's kind."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from recurra.diagnostics.chart import LEFT, RIGHT, TOP, WIDTH, _figure, _frame, _Scale, _short, _span

__all__ = ["thinned", "timeline"]

_COLUMNS = 400
_UPPER, _LOWER, _GAP, _BOTTOM = 210.0, 110.0, 34.0, 44.0


def thinned(values: np.ndarray, columns: int = _COLUMNS) -> tuple[np.ndarray, np.ndarray]:
    """Rows and values (n,) that draw as all of them do: the least and the greatest of each column; NaN is left out.

    An average would hide the very rows that are looked for.
    """
    rows = np.flatnonzero(np.isfinite(values))
    # A little more than two a column: what was thinned once stays as it is.
    if len(rows) <= 3 * columns:
        return rows, values[rows]
    kept = []
    for part in np.array_split(rows, columns):
        pair = {int(part[values[part].argmin()]), int(part[values[part].argmax()])}
        kept += sorted(pair)
    chosen = np.array(kept)
    return chosen, values[chosen]


def timeline(
    values: np.ndarray,
    scores: np.ndarray,
    threshold: float,
    alarms: Sequence[int],
    windows: Sequence[Sequence[int]] = (),
    *,
    label: str = "anomalies",
    y_label: str = "value",
    log: bool = False,
) -> str:
    """Values (T,), NaN where missing, over scores (T,); alarms: rows; windows: first and last row of true anomalies.

    log: scores on a logarithmic axis.
    """
    rows, drawn = thinned(values)
    score_rows, score_drawn = thinned(np.where(scores > 0, scores, np.nan) if log else scores)
    if not len(rows) or not len(score_rows):
        return '<p class="empty">Nothing was recorded for this chart.</p>'
    to_x = _Scale(0.0, float(max(len(values) - 1, 1)), LEFT, WIDTH - RIGHT, False)
    to_y = _Scale(*_span(drawn.tolist(), False, 0.06), TOP + _UPPER, TOP, False)
    under = TOP + _UPPER + _GAP
    to_s = _Scale(*_span([*score_drawn.tolist(), threshold], log, 0.06), under + _LOWER, under, log)
    shade = "fill:var(--c);fill-opacity:0.16;stroke:none"
    parts: list[str] = []
    for first, last in windows:
        left, width = to_x(first), max(to_x(last) - to_x(first), 2.0)
        for top, height in ((TOP, _UPPER), (under, _LOWER)):
            parts.append(
                f'<rect class="s2" style="{shade}" x="{left:.1f}" y="{top:g}" width="{width:.1f}" height="{height:g}"/>'
            )
    parts += _frame(to_x, to_y, "", y_label)
    parts += _frame(to_x, to_s, "row", "score")
    parts.append(f'<path class="s0 line" style="stroke-width:1.2" d="{_path(rows, drawn, to_x, to_y)}"/>')
    parts.append(f'<path class="s3 line" style="stroke-width:1.2" d="{_path(score_rows, score_drawn, to_x, to_s)}"/>')
    parts.append(f'<path class="s1 rule" d="M{LEFT} {to_s(threshold):.1f}H{WIDTH - RIGHT}"/>')
    for row in alarms:
        at = to_x(row)
        value = values[row]
        parts.append(f'<path class="s1 line" style="stroke-width:1" d="M{at:.1f} {under:g}v{_LOWER:g}"/>')
        if math.isfinite(value):
            parts.append(f'<circle class="s1 dot" cx="{at:.1f}" cy="{to_y(float(value)):.1f}" r="3.6"/>')
    entries = [("s0", y_label), ("s3", "score"), ("s1 dashed", f"threshold {_short(threshold)}"), ("s1", "alarms")]
    entries += [("s2", "true anomalies")] if len(windows) else []
    series = [
        {"name": name, "style": style, "points": _points(at, what, to_x, to)}
        for name, style, at, what, to in (
            (y_label, "s0", rows, drawn, to_y),
            ("score", "s3", score_rows, score_drawn, to_s),
        )
    ]
    box = f"0 0 {WIDTH:g} {under + _LOWER + _BOTTOM:g}"
    return _figure(parts, entries, label, {"x": "row", "series": series}, box)


def _path(rows: np.ndarray, values: np.ndarray, to_x: _Scale, to_y: _Scale) -> str:
    placed = zip(rows.tolist(), values.tolist(), strict=True)
    return "M" + "L".join(f"{to_x(row):.1f} {to_y(value):.1f}" for row, value in placed)


def _points(rows: np.ndarray, values: np.ndarray, to_x: _Scale, to_y: _Scale) -> list[list[object]]:
    placed = zip(rows.tolist(), values.tolist(), strict=True)
    return [[round(to_x(row), 1), round(to_y(value), 1), str(row), _short(value)] for row, value in placed]
