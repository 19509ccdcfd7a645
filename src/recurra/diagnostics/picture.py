"""A chart of a page as a picture by itself: an SVG file that needs no style sheet, or a PNG."""

from __future__ import annotations

import html
import importlib
import re
from pathlib import Path
from typing import Any

from recurra.base.errors import DataError, MissingExtra, message
from recurra.base.files import write_bytes

__all__ = ["check_png", "pictures", "png", "standalone", "write_png"]

_LIGHT = {
    "paper": "#fdfdfb", "ink": "#1d1f23", "soft": "#62666e", "line": "#dcdcd6", "faint": "#ecece6",
    "c0": "#1f5fa8", "c1": "#c2571a", "c2": "#2c7d4f", "c3": "#8a4aa3", "c4": "#a08000", "c5": "#b3364b",
}  # fmt: skip
_DARK = {
    "paper": "#16181b", "ink": "#e6e5e0", "soft": "#9b9fa6", "line": "#3a3e44", "faint": "#26292e",
    "c0": "#6fa8e8", "c1": "#ec935c", "c2": "#6cc08f", "c3": "#c595da", "c4": "#d6bb4c", "c5": "#ec7f90",
}  # fmt: skip
_FONT = "system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue','DejaVu Sans',sans-serif"
_LINE, _LETTER = 22.0, 7.2


def standalone(chart: str, *, title: str = "", dark: bool = True) -> str:
    """The picture in a chart of `recurra.diagnostics` (SVG, or a figure with a legend) as an SVG file of its own.

    title: written above it. dark: it follows the reader's light or dark; otherwise it is light, every colour spelled
    out, as programs want it that know no variables. Raises DataError where the chart has no picture.
    """
    found = re.search(r"<svg\b([^>]*)>(.*)</svg>", chart, re.DOTALL)
    if found is None:
        raise DataError(message("standalone", "this chart has no picture", hint="nothing was recorded for it."))
    attributes, inside = found.groups()
    box = re.search(r'viewBox="([^"]*)"', attributes)
    if box is None:
        raise DataError(message("standalone", "the picture says no size (viewBox)"))
    _, _, width, height = (float(number) for number in box.group(1).split())
    width = max(width, 200.0)
    head, above = _head(chart, title, width)
    colours = _rules(_LIGHT)
    if dark:
        colours += "@media(prefers-color-scheme:dark){" + _rules(_DARK) + "}"
    else:
        inside = _plain(inside)
    label = re.search(r'aria-label="([^"]*)"', attributes)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="picture" viewBox="0 0 {width:g} {height + above:g}" '
        f'width="{width:g}" height="{height + above:g}" role="img" aria-label="{label.group(1) if label else ""}">'
        f"<style>{_SHAPES}{colours}</style>"
        f'<rect class="paper" width="{width:g}" height="{height + above:g}"/>{head}'
        f'<g class="inside{_classes(attributes)}" transform="translate(0 {above:g})" '
        f'font-family="system-ui, DejaVu Sans, sans-serif">{inside}</g></svg>\n'
    )


def pictures(chart: str) -> list[tuple[str, str]]:
    """(title, chart) of each picture in a figure: several, each under a heading of its own, or the one there is."""
    drawn = re.findall(r"<svg\b.*?</svg>", chart, re.DOTALL)
    if len(drawn) < 2:
        return [("", chart)] if drawn else []
    heads = re.findall(r"<h3>(.*?)</h3>", chart, re.DOTALL)
    heads = [html.unescape(head) for head in heads] if len(heads) == len(drawn) else [""] * len(drawn)
    return list(zip(heads, drawn, strict=True))


def check_png() -> Any:
    """The library that draws PNG files; raises MissingExtra where it is not installed."""
    try:
        return importlib.import_module("resvg_py")
    except ImportError as error:
        hint = "pip install 'recurra[png]'; the HTML page and SVG pictures need nothing."
        raise MissingExtra(message("PNG", "resvg_py is not installed, which draws PNG files", hint=hint)) from error


def png(chart: str, *, title: str = "", zoom: float = 2.0) -> bytes:
    """A chart as a PNG, light, `zoom` times as many pixels as its units.

    Raises MissingExtra without resvg_py, which draws it.
    """
    return bytes(check_png().svg_to_bytes(svg_string=standalone(chart, title=title, dark=False), zoom=zoom))


def write_png(chart: str, path: Path, *, title: str = "", zoom: float = 2.0) -> None:
    """Write a chart as a PNG, whole or not at all; raises MissingExtra without resvg_py."""
    write_bytes(path, png(chart, title=title, zoom=zoom))


def _classes(attributes: str) -> str:
    found = re.search(r'class="([^"]*)"', attributes)
    return f" {found.group(1)}" if found else ""


def _head(chart: str, title: str, width: float) -> tuple[str, float]:
    """Title and legend as SVG, and how much room they take."""
    parts, top = [], 0.0
    if title:
        top += _LINE + 4
        parts.append(f'<text class="title" x="12" y="{top - 5:g}">{html.escape(title)}</text>')
    legend = re.search(r'<ul class="legend">(.*?)</ul>', chart, re.DOTALL)
    entries = re.findall(r'<li class="([^"]*)">(.*?)</li>', legend.group(1), re.DOTALL) if legend else []
    x = width
    for style, name in entries:
        room = 40 + _LETTER * len(html.unescape(name))
        if x + room > width:
            x, top = 12.0, top + _LINE
        kind = "rule" if "dashed" in style else "line"
        parts.append(f'<path class="{style} {kind}" d="M{x:g} {top - 9:g}h18"/>')
        parts.append(f'<text class="tick" x="{x + 25:g}" y="{top - 5:g}">{name}</text>')
        x += room
    return "".join(parts), top + (6 if parts else 0)


_SHAPES = (
    f".picture text{{font-family:{_FONT}}}.picture .tick,.picture .axis{{font-size:12px}}"
    ".picture .title{font-size:15px;font-weight:600}"
    ".picture .line{fill:none;stroke-width:1.8;stroke-linejoin:round}"
    ".picture .rule{fill:none;stroke-width:1.4;stroke-dasharray:6 4}"
    ".picture g.dot{fill-opacity:.7}.picture .unit{fill:none;stroke-width:1.4}"
    ".picture .grid,.picture .base,.picture .mark,.picture .pointer{fill:none}"
)


def _rules(colours: dict[str, str]) -> str:
    """The style sheet's rules with the colours written in."""
    each = "".join(
        f".picture .s{index}.line,.picture .s{index}.rule{{stroke:{colours[f'c{index}']}}}"
        f".picture .s{index}.dot{{fill:{colours[f'c{index}']}}}"
        for index in range(6)
    )
    # Variables for what is drawn with them; programs that know none take the fallback that stands beside each.
    variables = "".join(f"--{name}:{value};" for name, value in colours.items())
    return (
        f".picture{{{variables}color:{colours['ink']}}}.picture .paper{{fill:{colours['paper']}}}"
        f".picture .tick,.picture .axis{{fill:{colours['soft']}}}.picture .title{{fill:{colours['ink']}}}"
        f".picture .grid{{stroke:{colours['faint']}}}.picture .base,.picture .mark{{stroke:{colours['line']}}}"
        f".picture .unit{{stroke:{colours['ink']}}}{each}"
    )


def _plain(inside: str) -> str:
    """Without variables and media queries, the light colours in their place."""
    inside = re.sub(r"@media\s*\([^)]*\)\s*\{(?:[^{}]*\{[^{}]*\})*\s*\}", "", inside)
    inside = re.sub(r"var\(--(\w+)(?:,\s*[^)]*)?\)", lambda name: _LIGHT.get(name.group(1), "#888888"), inside)
    return inside.replace("currentColor", _LIGHT["ink"])
