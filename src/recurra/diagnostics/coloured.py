"""Text coloured by numbers, symbol by symbol, as SVG: what a unit does while it reads, or what an answer rests on."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

from recurra.base.errors import ShapeError, message

__all__ = ["coloured_text"]

_HIGH, _LETTER, _LEFT, _TOP = 22.0, 9.0, 6.0, 4.0
_WIDE = 80  # letters a line
# Shades: more of them would not be told apart, and each costs a rectangle.
_SHADES = 12


def coloured_text(
    symbols: Sequence[str],
    values: Sequence[float],
    *,
    most: float | None = None,
    mark: int | None = None,
    label: str = "",
) -> str:
    """The symbols in lines, blue behind what is above 0 and orange behind what is below, the stronger the larger.

    most: the value of full colour; the largest there is where None. mark: the symbol that gets a frame. A symbol of
    more than one letter (a word, a time) takes the room it needs. NaN has no colour.
    """
    if len(symbols) != len(values):
        raise ShapeError(message("coloured_text", f"{len(symbols)} symbols need as many values, got {len(values)}"))
    numbers = [float(value) for value in values]
    top = most or max((abs(value) for value in numbers if math.isfinite(value)), default=1.0) or 1.0
    letters = max(map(len, symbols), default=1) == 1
    rows = _lines(symbols, letters)
    parts: list[str] = []
    for line, row in enumerate(rows):
        y = _TOP + line * _HIGH
        parts += _shades([(at, room, _shade(numbers[index], top)) for index, at, room in row], y)
        if letters:
            text = "".join(symbols[index] for index, _, _ in row)
            parts.append(_text(text, _LEFT, y, len(text) * _LETTER))
        else:
            parts += [
                _text(symbols[index], _LEFT + (at + 0.5) * _LETTER, y, len(symbols[index]) * _LETTER)
                for index, at, _ in row
            ]
        parts += [
            f'<rect class="frame" x="{_LEFT + at * _LETTER:g}" y="{y:g}" width="{room * _LETTER:g}" '
            f'height="{_HIGH - 2:g}" fill="none" stroke="currentColor" stroke-width="1.5"/>'
            for index, at, room in row
            if index == mark
        ]
    width, height = 2 * _LEFT + _WIDE * _LETTER, 2 * _TOP + len(rows) * _HIGH
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="coloured" viewBox="0 0 {width:g} {height:g}" role="img" '
        f'aria-label="{html.escape(label, quote=True)}">{"".join(parts)}</svg>'
    )


def _lines(symbols: Sequence[str], letters: bool) -> list[list[tuple[int, int, int]]]:
    """(symbol, place in letters, room in letters) line by line; a line ends where the text says, or is full."""
    rows: list[list[tuple[int, int, int]]] = [[]]
    at = 0
    for index, symbol in enumerate(symbols):
        room = len(symbol) if letters else len(symbol) + 1
        if at + room > _WIDE and rows[-1]:
            rows.append([])
            at = 0
        rows[-1].append((index, at, room))
        at += room
        if symbol == "⏎" and index < len(symbols) - 1:
            rows.append([])
            at = 0
    return rows


def _shade(value: float, top: float) -> int:
    """Of -_SHADES ... _SHADES."""
    if not math.isfinite(value):
        return 0
    return round(max(-1.0, min(1.0, value / top)) * _SHADES)


def _shades(cells: list[tuple[int, int, int]], y: float) -> list[str]:
    """Neighbours of one shade are one rectangle."""
    runs: list[list[int]] = []
    for at, room, shade in cells:
        if runs and runs[-1][2] == shade and runs[-1][0] + runs[-1][1] == at:
            runs[-1][1] += room
        else:
            runs.append([at, room, shade])
    return [
        f'<rect x="{_LEFT + at * _LETTER:g}" y="{y:g}" width="{room * _LETTER:g}" height="{_HIGH - 2:g}" '
        f'fill="{"var(--c0, #1f5fa8)" if shade > 0 else "var(--c1, #c2571a)"}" '
        f'fill-opacity="{0.75 * abs(shade) / _SHADES:.2f}"/>'
        for at, room, shade in runs
        if shade
    ]


def _text(text: str, x: float, y: float, width: float) -> str:
    return (
        f'<text x="{x:g}" y="{y + 15:g}" textLength="{width:g}" lengthAdjust="spacingAndGlyphs" xml:space="preserve" '
        f'fill="currentColor" style="font:13.5px ui-monospace,Menlo,Consolas,\'DejaVu Sans Mono\',monospace">'
        f"{html.escape(text)}</text>"
    )
