"""A fan: what was, what came, and the quantiles of what was expected, as a chart of the report's kind."""

from __future__ import annotations

import math
from collections.abc import Sequence

from recurra.diagnostics.chart import (
    BOTTOM,
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    _figure,
    _frame,
    _Scale,
    _short,
    _span,
)

__all__ = ["fan_chart"]


def fan_chart(
    before: Sequence[float],
    truth: Sequence[float],
    quantiles: Sequence[Sequence[float]],
    levels: Sequence[float],
    *,
    label: str = "forecast",
    y_label: str = "value",
) -> str:
    """The last values before the origin, the truth behind it, and bands between mirrored quantiles; the median a line.

    quantiles: (H, Q), rising along Q. Steps count from the origin; values that are NaN are left out.
    """
    back, ahead = range(1 - len(before), 1), range(1, len(quantiles) + 1)
    middle = min(range(len(levels)), key=lambda place: abs(levels[place] - 0.5))
    seen = [v for v in [*before, *truth, *(v for row in quantiles for v in row)] if math.isfinite(v)]
    if not seen:
        return '<p class="empty">Nothing was recorded for this chart.</p>'
    to_x = _Scale(float(back[0] if before else 0), float(ahead[-1]), LEFT, WIDTH - RIGHT, False)
    to_y = _Scale(*_span(seen, False, 0.05), HEIGHT - BOTTOM, TOP, False)
    parts = _frame(to_x, to_y, "steps from the origin", y_label)
    entries: list[tuple[str, str]] = []
    for place in range(len(levels) // 2):
        if len(levels) - 1 - place == place:
            continue
        low = [(to_x(t), to_y(row[place])) for t, row in zip(ahead, quantiles, strict=True)]
        high = [(to_x(t), to_y(row[-1 - place])) for t, row in zip(ahead, quantiles, strict=True)]
        outline = "L".join(f"{a:.1f} {b:.1f}" for a, b in [*low, *reversed(high)])
        parts.append(f'<path class="s1" style="fill:var(--c);fill-opacity:0.16;stroke:none" d="M{outline}Z"/>')
    parts.append(f'<path class="mark" d="M{to_x(0.5):.1f} {TOP}V{HEIGHT - BOTTOM}"/>')
    curves = [
        ("what came", "s0", [*zip(back, before, strict=True), *zip(ahead, truth, strict=True)]),
        ("median", "s1", [(t, row[middle]) for t, row in zip(ahead, quantiles, strict=True)]),
    ]
    series: list[dict[str, object]] = []
    for name, style, points in curves:
        kept = [(t, v) for t, v in points if math.isfinite(v)]
        if not kept:
            continue
        path = "M" + "L".join(f"{to_x(t):.1f} {to_y(v):.1f}" for t, v in kept)
        parts.append(f'<path class="{style} line" d="{path}"/>')
        entries.append((style, name))
        shown = [[round(to_x(t), 1), round(to_y(v), 1), str(t), _short(v)] for t, v in kept]
        series.append({"name": name, "style": style, "points": shown})
    if len(levels) > 1:
        widths = [f"{100 * (levels[-1 - place] - levels[place]):.0f}" for place in range(len(levels) // 2)]
        entries.append(("s1", f"bands of {', '.join(widths)} %"))
    return _figure(parts, entries, label, {"x": "step", "series": series}, f"0 0 {WIDTH:g} {HEIGHT:g}")
