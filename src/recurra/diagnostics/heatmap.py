"""A table of numbers as a picture: where attention looked, token by token."""

from __future__ import annotations

import html
from collections.abc import Sequence

from recurra.base.errors import ShapeError, message

__all__ = ["heatmap"]

CELL, LEFT, TOP, RIGHT, BOTTOM = 24.0, 64.0, 44.0, 14.0, 14.0


def heatmap(
    values: Sequence[Sequence[float]],
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    row_label: str = "",
    column_label: str = "",
    label: str = "",
) -> str:
    """An `<svg>` in which each number is a square, the darker the larger; it stands alone or in a page.

    values: one list per row. rows, columns: what stands beside and above. The largest number is full colour, 0 none; a
    negative number shows nothing.

    >>> heatmap([[1.0, 0.0]], ["a"], ["b", "c"]).count("<rect")
    3
    """
    if len(values) != len(rows) or any(len(row) != len(columns) for row in values):
        fact = f"values must be {len(rows)} rows of {len(columns)}, got {len(values)} of {[len(row) for row in values]}"
        raise ShapeError(message("heatmap", fact))
    top = max((number for row in values for number in row), default=0.0)
    width, height = LEFT + CELL * len(columns) + RIGHT, TOP + CELL * len(rows) + BOTTOM
    parts = [
        f'<rect x="{LEFT:g}" y="{TOP:g}" width="{CELL * len(columns):g}" height="{CELL * len(rows):g}" fill="none" '
        'stroke="currentColor" stroke-opacity="0.35"/>'
    ]
    for i, row in enumerate(values):
        for j, number in enumerate(row):
            shade = max(0.0, number / top) if top > 0 else 0.0
            said = html.escape(f"{rows[i]} - {columns[j]}: {number:.3g}")
            parts.append(
                f'<rect x="{LEFT + CELL * j + 0.5:g}" y="{TOP + CELL * i + 0.5:g}" width="{CELL - 1:g}" '
                f'height="{CELL - 1:g}" fill="var(--c0, #1f5fa8)" fill-opacity="{shade:.3f}">'
                f"<title>{said}</title></rect>"
            )
    text = 'fill="currentColor" font-size="13"'
    for i, name in enumerate(rows):
        at = TOP + CELL * (i + 0.5) + 4.5
        parts.append(f'<text {text} x="{LEFT - 8:g}" y="{at:g}" text-anchor="end">{html.escape(name)}</text>')
    for j, name in enumerate(columns):
        at = LEFT + CELL * (j + 0.5)
        parts.append(f'<text {text} x="{at:g}" y="{TOP - 8:g}" text-anchor="middle">{html.escape(name)}</text>')
    middle = LEFT + CELL * len(columns) / 2
    parts.append(f'<text {text} x="{middle:g}" y="15" text-anchor="middle">{html.escape(column_label)}</text>')
    side = TOP + CELL * len(rows) / 2
    parts.append(
        f'<text {text} transform="translate(15 {side:g}) rotate(-90)" text-anchor="middle">'
        f"{html.escape(row_label)}</text>"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
        f'height="{height:g}" font-family="system-ui, sans-serif" role="img" '
        f'aria-label="{html.escape(label)}">{"".join(parts)}</svg>'
    )
