"""Two pictures of a comparison as SVG that need nothing beside them: the seeds of each cell, and metric by rate."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from recurra.diagnostics.chart import ticks

__all__ = ["Group", "dot_chart", "rate_chart"]

# Okabe and Ito's colours, told apart by most colour-blind readers, then four more.
_COLOURS = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#e69f00",
    "#56b4e9",
    "#8c6d31",
    "#7f7f7f",
    "#5b3f8c",
    "#2f4f2f",
)
_WIDTH, _ROW, _TOP, _BOTTOM, _RIGHT = 720.0, 30.0, 10.0, 46.0, 24.0


class Group(NamedTuple):
    """The values of one cell, and what stands beside its name."""

    name: str
    values: Sequence[float]
    note: str = ""


def dot_chart(groups: Sequence[Group], label: str) -> str:
    """A row per group: a dot per value, the quartiles as a box, the median as a line.

    >>> dot_chart([Group("lstm", [1.0, 2.0, 3.0])], "error")[:42]
    '<svg xmlns="http://www.w3.org/2000/svg" vi'
    """
    kept = [group for group in groups if group.values]
    left = 20 + 6.6 * max((len(group.name) + len(group.note) + 2 for group in kept), default=8)
    low, high = _span([value for group in kept for value in group.values])
    height = _TOP + _ROW * max(1, len(kept)) + _BOTTOM
    base = height - _BOTTOM

    def at(value: float) -> float:
        return left + (value - low) / (high - low) * (_WIDTH - _RIGHT - left)

    parts = _across(low, high, at, base, False, label, left)
    for index, group in enumerate(kept):
        middle = _TOP + _ROW * (index + 0.5)
        colour = _COLOURS[index % len(_COLOURS)]
        ordered = sorted(group.values)
        first, median, third = (_quantile(ordered, share) for share in (0.25, 0.5, 0.75))
        note = f' <tspan class="n">{html.escape(group.note)}</tspan>' if group.note else ""
        parts.append(
            f'<text x="{left - 12:.1f}" y="{middle + 4:.1f}" text-anchor="end">{html.escape(group.name)}{note}</text>'
        )
        if len(ordered) > 2:
            wide = max(at(third) - at(first), 1.0)
            parts.append(
                f'<rect x="{at(first):.1f}" y="{middle - 8:.1f}" width="{wide:.1f}" height="16" rx="2" '
                f'fill="{colour}" fill-opacity=".18"/>'
            )
        parts.append(f'<path d="M{at(median):.1f} {middle - 8:.1f}v16" stroke="{colour}" stroke-width="2"/>')
        parts += [
            f'<circle cx="{at(value):.1f}" cy="{middle:.1f}" r="3.4" fill="{colour}" fill-opacity=".75"/>'
            for value in ordered
        ]
    return _svg(parts, height, label)


def rate_chart(curves: Mapping[str, Sequence[tuple[float, float]]], label: str, chosen: Mapping[str, float]) -> str:
    """Metric by learning rate, a line per cell; the chosen rate is ringed."""
    kept = {name: sorted(points) for name, points in curves.items() if points}
    every = [point for points in kept.values() for point in points]
    left = 64.0
    # As many names beside each other as the longest allows.
    wide = 30 + 6.6 * max((len(name) for name in kept), default=1)
    columns = max(1, int((_WIDTH - _RIGHT - left) // wide))
    height = 338.0 + 18 * math.ceil(len(kept) / columns)
    low_x, high_x = _span_log([x for x, _ in every])
    # Rates that fail lie far off and would flatten the rest: the picture ends at three times the middle spread.
    low, high = _span(_within([y for _, y in every]))
    base = 320.0 - _BOTTOM

    def at_x(value: float) -> float:
        share = (math.log10(value) - math.log10(low_x)) / (math.log10(high_x) - math.log10(low_x))
        return left + share * (_WIDTH - _RIGHT - left)

    def at_y(value: float) -> float:
        return base - (min(max(value, low), high) - low) / (high - low) * (base - _TOP)

    parts = _across(low_x, high_x, at_x, base, True, "learning rate", left)
    marks = ticks(low, high)
    for value, name in zip(marks, _names(marks), strict=True):
        parts.append(f'<path class="g" d="M{left:g} {at_y(value):.1f}H{_WIDTH - _RIGHT:g}"/>')
        parts.append(f'<text x="{left - 8:g}" y="{at_y(value) + 4:.1f}" text-anchor="end">{name}</text>')
    turned = f'transform="translate(14 {(base + _TOP) / 2:.1f}) rotate(-90)" text-anchor="middle"'
    parts.append(f"<text {turned}>{html.escape(label)}</text>")
    for index, (name, points) in enumerate(kept.items()):
        colour = _COLOURS[index % len(_COLOURS)]
        path = "L".join(f"{at_x(x):.1f} {at_y(y):.1f}" for x, y in points)
        parts.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="1.6"/>')
        for x, y in points:
            place = f'cx="{at_x(x):.1f}" cy="{at_y(y):.1f}"'
            parts.append(f'<circle {place} r="2.6" fill="{colour}"/>')
            if chosen.get(name) == x:
                parts.append(f'<circle {place} r="6.5" fill="none" stroke="{colour}" stroke-width="1.6"/>')
        line, column = divmod(index, columns)
        x, y = left + column * wide, 344 + 18 * line
        parts.append(f'<circle cx="{x:.1f}" cy="{y - 4:.1f}" r="4" fill="{colour}"/>')
        parts.append(f'<text x="{x + 9:.1f}" y="{y:.1f}">{html.escape(name)}</text>')
    return _svg(parts, height, f"{label} by learning rate")


def _across(low: float, high: float, at, base: float, log: bool, label: str, left: float) -> list[str]:
    parts = [f'<path class="b" d="M{left:g} {base:.1f}H{_WIDTH - _RIGHT:g}"/>']
    marks = ticks(low, high, log)
    for value, name in zip(marks, _names(marks), strict=True):
        parts.append(f'<path class="g" d="M{at(value):.1f} {_TOP:g}V{base:.1f}"/>')
        parts.append(f'<text x="{at(value):.1f}" y="{base + 17:.1f}" text-anchor="middle">{name}</text>')
    middle = (left + _WIDTH - _RIGHT) / 2
    parts.append(f'<text x="{middle:.1f}" y="{base + 36:.1f}" text-anchor="middle">{html.escape(label)}</text>')
    return parts


def _svg(parts: Sequence[str], height: float, label: str) -> str:
    style = (
        ".compared text{font:12px system-ui,sans-serif;fill:currentColor}.compared .n{opacity:.6}"
        ".compared .g{stroke:currentColor;stroke-opacity:.13;fill:none}"
        ".compared .b{stroke:currentColor;stroke-opacity:.5;fill:none}"
        "@media(prefers-color-scheme:dark){.compared{color:#ccc}}"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH:g} {height:.0f}" width="{_WIDTH:g}" '
        f'height="{height:.0f}" class="compared" role="img" aria-label="{html.escape(label, quote=True)}" color="#333">'
        f"<style>{style}</style>{''.join(parts)}</svg>\n"
    )


def _span(values: Sequence[float]) -> tuple[float, float]:
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    room = (high - low) * 0.06 if high > low else max(1e-6, abs(high) * 0.1)
    return low - room, high + room


def _span_log(values: Sequence[float]) -> tuple[float, float]:
    low, high = (min(values), max(values)) if values else (1e-3, 1e-1)
    return (low / 1.15, high * 1.15) if high > low else (low / 2, high * 2)


def _within(values: Sequence[float]) -> list[float]:
    if not values:
        return []
    ordered = sorted(values)
    first, third = _quantile(ordered, 0.25), _quantile(ordered, 0.75)
    reach = 3 * (third - first) or 1.0
    return [value for value in ordered if first - reach <= value <= third + reach]


def _quantile(ordered: Sequence[float], share: float) -> float:
    place = share * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def _names(values: Sequence[float]) -> list[str]:
    """The values in as many digits as tell them apart."""
    for digits in range(3, 16):
        found = [f"{value:.{digits}g}".replace("e-0", "e-").replace("e+0", "e") for value in values]
        if len({*found}) == len({*values}):
            return found
    return [str(value) for value in values]
