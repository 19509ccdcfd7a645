"""Matrices as pictures: panels of cells in one SVG file that needs nothing beside it.

The cells of a panel are a small PNG image within the SVG, one pixel each, so that a memory of 128 x 120 weighs a few
kilobytes; they stay sharp at any size. Text takes the reader's colour, light or dark.
"""

from __future__ import annotations

import base64
import html
import math
import struct
import zlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from recurra.base.errors import ShapeError, message

__all__ = ["Panel", "panel_chart", "png"]

# Dark blue for low values over green to yellow for high ones; lightness grows evenly, so it also prints in grey
# (points of the viridis map, Smith and van der Walt 2015, CC0).
_RAMP = np.array(
    [
        [68, 1, 84],
        [71, 44, 122],
        [59, 81, 139],
        [44, 113, 142],
        [33, 144, 141],
        [39, 173, 129],
        [92, 200, 99],
        [170, 220, 50],
        [253, 231, 37],
    ]
)
_GAP, _LEFT, _RIGHT, _TOP, _BOTTOM = 26.0, 30.0, 10.0, 22.0, 20.0


class Panel(NamedTuple):
    """One matrix (rows, columns), drawn with its first row on top."""

    title: str
    values: Any
    """Anything NumPy takes as two axes; what is not finite is grey."""
    across: str = ""
    """What the columns are."""
    down: str = ""
    """What the rows are."""
    low: float | None = None
    """Value of the darkest colour; the smallest where None."""
    high: float | None = None
    """Value of the lightest colour; the largest where None."""


def panel_chart(columns: Sequence[Sequence[Panel]], *, width: float = 760.0, label: str = "") -> str:
    """Columns of panels, side by side, as SVG; the panels of a column share its width.

    >>> panel_chart([[Panel("identity", [[1, 0], [0, 1]])]])[:42]
    '<svg xmlns="http://www.w3.org/2000/svg" vi'
    """
    if not columns or not all(columns):
        raise ShapeError(message("panel_chart", "every column needs a panel"))
    wide = (width - _RIGHT - len(columns) * _LEFT - (len(columns) - 1) * _GAP) / len(columns)
    parts, tallest = [], 0.0
    for index, column in enumerate(columns):
        left, top = _LEFT + index * (wide + _LEFT + _GAP), 0.0
        for panel in column:
            values = _checked(panel)
            # Cells are square up to a point; few rows are drawn higher, many rows lower.
            high = min(max(wide * values.shape[0] / values.shape[1], 36.0), 320.0)
            parts += _panel(panel, values, left, top + _TOP, wide, high)
            top += _TOP + high + _BOTTOM
        tallest = max(tallest, top)
    # A page's styles are those of all its pictures: these reach no other.
    style = (
        ".panels text{font:12px system-ui,sans-serif;fill:currentColor}.panels image{image-rendering:pixelated}"
        ".panels .t{font-weight:600}@media(prefers-color-scheme:dark){.panels{color:#ccc}}"
    )
    name = html.escape(label or columns[0][0].title, quote=True)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {tallest:.0f}" '
        f'width="{width:g}" height="{tallest:.0f}" class="panels" role="img" aria-label="{name}" '
        f'color="#444"><style>{style}</style>{"".join(parts)}</svg>\n'
    )


def png(pixels: np.ndarray) -> bytes:
    """A PNG file of pixels (rows, columns, 3) uint8."""
    rows, columns, _ = pixels.shape
    raw = b"".join(b"\0" + row.tobytes() for row in np.ascontiguousarray(pixels, np.uint8))

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", columns, rows, 8, 2, 0, 0, 0)
    parts = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(raw, 9)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _checked(panel: Panel) -> np.ndarray:
    values = np.asarray(panel.values, np.float64)
    if values.ndim != 2 or not values.size:
        raise ShapeError(message("panel_chart", f"{panel.title!r} must be (rows, columns), got {values.shape}"))
    return values


def _colours(values: np.ndarray, low: float, high: float) -> np.ndarray:
    share = np.clip((values - low) / (high - low if high > low else 1.0), 0, 1)
    at = np.where(np.isfinite(share), share, 0) * (len(_RAMP) - 1)
    below = np.minimum(at.astype(int), len(_RAMP) - 2)
    part = (at - below)[..., None]
    mixed = _RAMP[below] * (1 - part) + _RAMP[below + 1] * part
    return np.where(np.isfinite(values)[..., None], mixed, 128).round().astype(np.uint8)


def _panel(panel: Panel, values: np.ndarray, left: float, top: float, wide: float, high: float) -> list[str]:
    finite = values[np.isfinite(values)]
    low = panel.low if panel.low is not None else float(finite.min()) if finite.size else 0.0
    most = panel.high if panel.high is not None else float(finite.max()) if finite.size else 1.0
    image = base64.b64encode(png(_colours(values, low, most))).decode()
    place = f'x="{left:.1f}" y="{top:.1f}" width="{wide:.1f}" height="{high:.1f}"'
    parts = [
        f'<text class="t" x="{left:.1f}" y="{top - 7:.1f}">{html.escape(panel.title)}</text>',
        f'<text x="{left + wide:.1f}" y="{top - 7:.1f}" text-anchor="end">{_number(low)} to {_number(most)}</text>',
        f'<image {place} preserveAspectRatio="none" href="data:image/png;base64,{image}"/>',
    ]
    if panel.across:
        middle = f'x="{left + wide / 2:.1f}" y="{top + high + 14:.1f}" text-anchor="middle"'
        parts.append(f"<text {middle}>{html.escape(panel.across)}</text>")
    if panel.down:
        turned = f'transform="translate({left - 8:.1f} {top + high / 2:.1f}) rotate(-90)" text-anchor="middle"'
        parts.append(f"<text {turned}>{html.escape(panel.down)}</text>")
    return parts


def _number(value: float) -> str:
    return f"{value:.0f}" if math.isclose(value, round(value), abs_tol=1e-9) else f"{value:.2g}"
