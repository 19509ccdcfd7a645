"""Charts as SVG text, drawn here: a report then needs no plotting library, weighs little and follows light and dark.

Colours are the classes `s0` ... `s5`, which the page's style sheet defines. The points behind a chart stand beside it
as JSON for the page's script, which shows values under the pointer; without the script the chart is whole.
"""

from __future__ import annotations

import html
import json
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

__all__ = ["Axis", "Line", "line_chart", "plane_chart", "share_chart", "ticks"]

WIDTH, HEIGHT = 720.0, 300.0
LEFT, RIGHT, TOP, BOTTOM = 68.0, 58.0, 12.0, 44.0
COLOURS = 6
# More points than pixels say nothing; groups of neighbours are averaged down to this many.
MOST_POINTS = 600


class Line(NamedTuple):
    """One curve: its name in the legend and its points; a point that is not finite is left out."""

    name: str
    x: Sequence[float]
    y: Sequence[float]


class Axis(NamedTuple):
    """What an axis shows, in which units, and whether it is logarithmic."""

    label: str
    log: bool = False


class _Scale(NamedTuple):
    low: float
    high: float
    start: float
    end: float
    log: bool

    def __call__(self, value: float) -> float:
        low, high, at = (math.log10(v) if self.log else v for v in (self.low, self.high, value))
        return self.start + (at - low) / (high - low) * (self.end - self.start)


def ticks(low: float, high: float, log: bool = False, most: int = 7) -> list[float]:
    """Round numbers within [low, high]: steps of 1, 2 or 5 times a power of ten, or decades on a logarithmic axis.

    >>> ticks(0.0, 1.0)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    >>> ticks(0.003, 20.0, log=True)
    [0.01, 0.1, 1.0, 10.0]
    """
    if log:
        first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
        if last - first >= 2:
            stride = max(1, math.ceil((last - first + 1) / most))
            return [10.0**power for power in range(first, last + 1, stride)]
        digits = [d * 10.0**p for p in range(first - 1, last + 2) for d in (1, 2, 5)]
        within = [value for value in digits if low <= value <= high]
        # Less than a factor of about 3 is nearly linear.
        return within if len(within) > 2 else ticks(low, high, most=most)
    rough = (high - low) / max(1, most - 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def line_chart(
    lines: Sequence[Line],
    x: Axis,
    y: Axis,
    *,
    rules: Mapping[str, float] | None = None,
    right: tuple[str, float] | None = None,
    label: str = "",
) -> str:
    """Curves over a common axis, as a `<figure>` with legend.

    rules: horizontal dashed lines, name -> height (a baseline, a threshold).
    right: (label, factor): a second scale on the right that shows y times the factor (nats -> bits).
    label: what a screen reader says.
    """
    kept = [_thinned(line, x.log, y.log) for line in lines]
    kept = [line for line in kept if line.x]
    if not kept:
        return '<p class="empty">Nothing was recorded for this chart.</p>'
    rules = {name: value for name, value in (rules or {}).items() if math.isfinite(value) and (value > 0 or not y.log)}
    across = _span([v for line in kept for v in line.x], x.log, margin=0.0)
    up = _span([v for line in kept for v in line.y] + list(rules.values()), y.log, margin=0.05)
    to_x = _Scale(*across, LEFT, WIDTH - RIGHT, x.log)
    to_y = _Scale(*up, HEIGHT - BOTTOM, TOP, y.log)
    parts = _frame(to_x, to_y, x.label, y.label)
    if right is not None:
        parts += _right_axis(to_y, *right)
    entries: list[tuple[str, str]] = []
    points: list[dict[str, object]] = []
    for index, line in enumerate(kept):
        style = f"s{index % COLOURS}"
        placed = [(to_x(a), to_y(b)) for a, b in zip(line.x, line.y, strict=True)]
        path = "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in placed)
        if len(placed) == 1:
            parts.append(f'<circle class="{style} dot" cx="{placed[0][0]:.1f}" cy="{placed[0][1]:.1f}" r="3.5"/>')
        else:
            parts.append(f'<path class="{style} line" d="{path}"/>')
        entries.append((style, line.name))
        shown = [
            [round(px, 1), round(py, 1), _short(a), _short(b)]
            for (px, py), a, b in zip(placed, line.x, line.y, strict=True)
        ]
        points.append({"name": line.name, "style": style, "points": shown})
    for index, (name, value) in enumerate(rules.items()):
        style = f"s{(len(kept) + index) % COLOURS}"
        at = f"{to_y(value):.1f}"
        parts.append(f'<path class="{style} rule" d="M{LEFT} {at}H{WIDTH - RIGHT}"/>')
        entries.append((f"{style} dashed", f"{name} {_short(value)}"))
    return _figure(parts, entries, label or y.label, {"x": x.label, "series": points}, f"0 0 {WIDTH:g} {HEIGHT:g}")


def plane_chart(points: Mapping[str, Sequence[complex]], *, label: str = "eigenvalues") -> str:
    """Points on the complex plane with the unit circle, one colour a name, equal scales on both axes."""
    kept = {name: [v for v in values if math.isfinite(abs(v))] for name, values in points.items()}
    kept = {name: values for name, values in kept.items() if values}
    if not kept:
        return '<p class="empty">Nothing was recorded for this chart.</p>'
    # A box around what is there and the unit circle; the radius of one far point must not flatten the rest sideways.
    everything = [v for values in kept.values() for v in values]
    reach_x = max(1.0, *(abs(v.real) for v in everything)) * 1.08
    reach_y = max(1.0, *(abs(v.imag) for v in everything)) * 1.08
    inner = 440.0
    unit = inner / (2 * reach_x)
    height = 2 * reach_y * unit + TOP + BOTTOM
    to_x = _Scale(-reach_x, reach_x, LEFT, LEFT + inner, False)
    to_y = _Scale(-reach_y, reach_y, height - BOTTOM, TOP, False)
    parts = _frame(to_x, to_y, "real part", "imaginary part")
    entries: list[tuple[str, str]] = []
    data: list[dict[str, object]] = []
    for index, (name, values) in enumerate(kept.items()):
        style = f"s{index % COLOURS}"
        dots = "".join(f'<circle cx="{to_x(v.real):.1f}" cy="{to_y(v.imag):.1f}" r="2.2"/>' for v in values)
        parts.append(f'<g class="{style} dot">{dots}</g>')
        radius = max(abs(v) for v in values)
        entries.append((style, f"{name}  (largest modulus {radius:.3g})"))
        shown = [
            [round(to_x(v.real), 1), round(to_y(v.imag), 1), f"{v.real:.3f}{v.imag:+.3f}i", f"|λ| = {abs(v):.3f}"]
            for v in values
        ]
        data.append({"name": name, "style": style, "points": shown})
    # Over the points, or hundreds of them hide it.
    parts.append(f'<circle class="unit" cx="{to_x(0):.1f}" cy="{to_y(0):.1f}" r="{unit:.1f}"/>')
    box = f"0 0 {LEFT + inner + 12:g} {height:.0f}"
    return _figure(parts, entries, label, {"nearest": True, "series": data}, box, "plane")


def share_chart(points: Mapping[str, Sequence[tuple[float, float]]], x: str, y: str, *, label: str = "") -> str:
    """Points of two shares that add up to 1 at most, one colour a name: the triangle below the diagonal of a square."""
    kept = {name: [(a, b) for a, b in pairs if math.isfinite(a + b)] for name, pairs in points.items()}
    kept = {name: pairs for name, pairs in kept.items() if pairs}
    if not kept:
        return '<p class="empty">Nothing was recorded for this chart.</p>'
    inner = 380.0
    to_x = _Scale(0, 1, LEFT, LEFT + inner, False)
    to_y = _Scale(0, 1, TOP + inner, TOP, False)
    parts = _frame(to_x, to_y, x, y)
    parts.append(f'<path class="mark" d="M{to_x(0):g} {to_y(1):g}L{to_x(1):g} {to_y(0):g}"/>')
    entries: list[tuple[str, str]] = []
    data: list[dict[str, object]] = []
    for index, (name, pairs) in enumerate(kept.items()):
        style = f"s{index % COLOURS}"
        dots = "".join(f'<circle cx="{to_x(a):.1f}" cy="{to_y(b):.1f}" r="3"/>' for a, b in pairs)
        parts.append(f'<g class="{style} dot">{dots}</g>')
        entries.append((style, name))
        shown = [
            [round(to_x(a), 1), round(to_y(b), 1), f"unit {unit}", f"{x} {a:.0%}, {y} {b:.0%}"]
            for unit, (a, b) in enumerate(pairs)
        ]
        data.append({"name": name, "style": style, "points": shown})
    box = f"0 0 {LEFT + inner + 12:g} {TOP + inner + BOTTOM:g}"
    return _figure(parts, entries, label or f"{x} and {y}", {"nearest": True, "series": data}, box, "plane")


def _thinned(line: Line, log_x: bool, log_y: bool) -> Line:
    pairs = [
        (float(a), float(b))
        for a, b in zip(line.x, line.y, strict=True)
        if math.isfinite(a) and math.isfinite(b) and (a > 0 or not log_x) and (b > 0 or not log_y)
    ]
    size = max(1, math.ceil(len(pairs) / MOST_POINTS))
    groups = [pairs[at : at + size] for at in range(0, len(pairs), size)]
    return Line(
        line.name, [sum(a for a, _ in g) / len(g) for g in groups], [sum(b for _, b in g) / len(g) for g in groups]
    )


def _span(values: Sequence[float], log: bool, margin: float) -> tuple[float, float]:
    low, high = min(values), max(values)
    if log:
        # A margin is a factor here; one lone value gets a decade around it.
        room = (high / low) ** margin if high > low else 3.2
        return low / room, high * room
    room = (high - low) * margin if high > low else max(1.0, abs(high)) * 0.5
    return low - room, high + room


def _frame(to_x: _Scale, to_y: _Scale, x_label: str, y_label: str) -> list[str]:
    parts: list[str] = []
    for value in ticks(to_y.low, to_y.high, to_y.log):
        at = to_y(value)
        parts.append(f'<path class="grid" d="M{to_x.start:g} {at:.1f}H{to_x.end:g}"/>')
        parts.append(
            f'<text class="tick" x="{to_x.start - 8:g}" y="{at + 4:.1f}" text-anchor="end">{_short(value)}</text>'
        )
    for value in ticks(to_x.low, to_x.high, to_x.log):
        at = to_x(value)
        parts.append(f'<path class="mark" d="M{at:.1f} {to_y.start:.1f}v5"/>')
        parts.append(
            f'<text class="tick" x="{at:.1f}" y="{to_y.start + 19:.1f}" text-anchor="middle">{_short(value)}</text>'
        )
    parts.append(f'<path class="base" d="M{to_x.start:g} {to_y.start:.1f}H{to_x.end:g}"/>')
    middle_x, middle_y = (to_x.start + to_x.end) / 2, (to_y.start + to_y.end) / 2
    parts.append(
        f'<text class="axis" x="{middle_x:.1f}" y="{to_y.start + 38:.1f}" text-anchor="middle">'
        f"{html.escape(x_label)}</text>"
    )
    parts.append(
        f'<text class="axis left" transform="translate(13 {middle_y:.1f}) rotate(-90)" text-anchor="middle">'
        f"{html.escape(y_label)}</text>"
    )
    return parts


def _right_axis(to_y: _Scale, label: str, factor: float) -> list[str]:
    scaled = _Scale(to_y.low * factor, to_y.high * factor, to_y.start, to_y.end, to_y.log)
    edge = WIDTH - RIGHT
    parts = [
        f'<text class="tick" x="{edge + 8:g}" y="{scaled(value) + 4:.1f}">{_short(value)}</text>'
        for value in ticks(scaled.low, scaled.high, scaled.log)
    ]
    middle = (to_y.start + to_y.end) / 2
    parts.append(
        f'<text class="axis right" transform="translate({WIDTH - 12:g} {middle:.1f}) rotate(-90)" text-anchor="middle">'
        f"{html.escape(label)}</text>"
    )
    return parts


def _figure(
    parts: Sequence[str], entries: Sequence[tuple[str, str]], label: str, data: object, box: str, kind: str = "lines"
) -> str:
    legend = "".join(f'<li class="{style}">{html.escape(name)}</li>' for style, name in entries)
    # A "<" within a name could end the script element early, or begin a comment in it.
    payload = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    return (
        f'<figure class="chart {kind}"><ul class="legend">{legend}</ul>'
        f'<svg viewBox="{box}" role="img" aria-label="{html.escape(label)}">{"".join(parts)}'
        '<path class="pointer" d=""/></svg>'
        f'<script type="application/json">{payload}</script></figure>'
    )


def _short(value: float) -> str:
    """A number as a reader wants it on an axis: 0.2, 1,200, 3e-07."""
    if value == 0:
        return "0"
    if 1e-3 <= abs(value) < 1e6:
        return f"{value:,.0f}" if abs(value) >= 1000 and float(value).is_integer() else f"{value:,.4g}"
    return f"{value:.3g}".replace("e-0", "e-").replace("e+0", "e")
