"""The lecture's picture: which inputs each output depends on, one net beside another."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recurra.base.errors import ShapeError, message

__all__ = ["SaliencyMap", "saliency_chart"]

DECADES = 3.0
"""From full colour to none: a dependence a thousand times weaker than that on the step's own input."""

_LEFT, _TOP, _GAP, _WIDE = 30.0, 46.0, 30.0, 760.0
_SHADES = 24


class SaliencyMap(NamedTuple):
    """values: (T', T) from `saliency`. steps: the names of the T steps."""

    name: str
    values: NDArray[np.float64]
    steps: Sequence[str]


def saliency_chart(maps: Sequence[SaliencyMap], *, decades: float = DECADES) -> str:
    """Saliency maps side by side as SVG: row t an output, column k an input, shaded by log ||dy_t/dx_k||.

    Each row is shown beside its own value at k = t (its largest where it answers once a sequence), so nets of other
    sizes compare; full colour is as much as that, none is `decades` powers of ten less.
    """
    if not maps:
        raise ShapeError(message("saliency_chart", "there is no map to draw"))
    across = min(len(maps), 2)
    room = (_WIDE - across * _LEFT - (across - 1) * _GAP) / across
    # One map alone is drawn no larger than is good to read.
    room = min(room, 480.0)
    parts: list[str] = []
    bottom = 0.0
    for index, one in enumerate(maps):
        column, line = index % across, index // across
        rows, steps = one.values.shape
        cell = room / steps
        high = max(cell, 18.0) * rows if rows < 3 else cell * rows
        left, top = _LEFT + column * (room + _LEFT + _GAP), _TOP + line * (room + _TOP)
        parts += _map(one, left, top, cell, high / rows, decades)
        bottom = max(bottom, top + high)
    width = across * (room + _LEFT) + (across - 1) * _GAP + 10
    label = html.escape("saliency of " + " and ".join(one.name for one in maps), quote=True)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {bottom + 12:.0f}" class="saliency" '
        f'style="max-width:{width:.0f}px" role="img" aria-label="{label}" '
        f'font-family="system-ui, DejaVu Sans, sans-serif">{"".join(parts)}</svg>'
    )


def _map(one: SaliencyMap, left: float, top: float, cell: float, high: float, decades: float) -> list[str]:
    rows, steps = one.values.shape
    if len(one.steps) != steps:
        raise ShapeError(message("saliency_chart", f"{one.name} needs {steps} names of steps, got {len(one.steps)}"))
    own = np.array([row[t] if rows == steps else row.max() for t, row in enumerate(one.values)])
    with np.errstate(divide="ignore", invalid="ignore"):
        share = 1 + np.log10(one.values / np.maximum(own, 1e-300)[:, None]) / decades
    shades = np.clip(np.nan_to_num(share, nan=0.0, neginf=0.0) * _SHADES, 0, _SHADES).round().astype(int)
    ink = 'fill="currentColor"'
    parts = [
        f'<text {ink} x="{left:g}" y="{top - 30:g}" font-size="14" font-weight="600">{html.escape(one.name)}</text>',
        f'<rect x="{left:g}" y="{top:g}" width="{cell * steps:.2f}" height="{high * rows:.2f}" fill="none" '
        'stroke="currentColor" stroke-opacity="0.3"/>',
    ]
    # One path a shade, and in it neighbours as one rectangle: a tenth of what a square each would weigh.
    drawn: dict[int, list[str]] = {}
    for t in range(rows):
        y, start = top + high * t, 0
        for k in range(1, steps + 1):
            if k == steps or shades[t, k] != shades[t, start]:
                if shades[t, start]:
                    wide = cell * (k - start)
                    spot = f"M{left + cell * start:.2f} {y:.2f}h{wide:.2f}v{high:.2f}h-{wide:.2f}z"
                    drawn.setdefault(int(shades[t, start]), []).append(spot)
                start = k
    parts += [
        f'<path fill="var(--c0, #1f5fa8)" fill-opacity="{shade / _SHADES:.2f}" shape-rendering="crispEdges" '
        f'd="{"".join(spots)}"/>'
        for shade, spots in drawn.items()
    ]
    size = min(12.0, max(6.5, cell * 1.05))
    longest = max(len(name) for name in one.steps)
    every = 1 if longest == 1 else max(1, math.ceil((longest * size * 0.62 + 4) / cell))
    for k in range(0, steps, every):
        name = html.escape(one.steps[k])
        x = left + cell * (k + 0.5)
        parts.append(
            f'<text {ink} x="{x:.1f}" y="{top - 5:.1f}" font-size="{size:.1f}" text-anchor="middle">{name}</text>'
        )
        if rows == steps:
            y = top + high * (k + 0.5) + size * 0.35
            side = f'x="{left - 5:.1f}" y="{y:.1f}" font-size="{size:.1f}" text-anchor="end"'
            parts.append(f"<text {ink} {side}>{name}</text>")
    return parts
