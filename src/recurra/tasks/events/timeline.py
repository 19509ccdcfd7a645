"""Time-lines: the signal, what was true, what was said, and the probability below, as one chart."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from recurra.data.series.series_set import SeriesSet
from recurra.data.series.stamps import shown
from recurra.diagnostics.chart import (
    COLOURS,
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
from recurra.tasks.events.choose import Stretch
from recurra.tasks.events.detector import Detector
from recurra.tasks.events.match import match

__all__ = ["pictured", "timeline_chart"]

_MOST_STEPS = 1200
_PICTURES = 4
_SIGNAL, _MARKS, _TRACK = 190.0, 44.0, 110.0


def pictured(detector: Detector, series: SeriesSet, stretches: Sequence[Stretch]) -> list[dict[str, Any]]:
    """Windows of the stretches as plain values: where it went wrong first, then the most eventful, four at most."""
    preparation, windows = detector.preparation, []
    for place, (shares, truth, first, last) in enumerate(stretches):
        if last <= first:
            continue
        found = detector.decode(shares)
        times = np.array([one.time if preparation.point else one.start for one in found], np.int64)
        size = _size(truth.start, first, last)
        pairs = match(truth.start, np.sort(times), preparation.tolerance_s / preparation.step_s)
        wrong = np.concatenate([np.delete(truth.start, pairs[:, 0]), np.delete(np.sort(times), pairs[:, 1])])
        for begin in range(first, max(first + 1, last - size // 2), size):
            end = min(begin + size, last)
            faults = int(((wrong >= begin) & (wrong < end)).sum())
            events = int(((truth.start >= begin) & (truth.start < end)).sum())
            windows.append((-faults, -events, place, begin, end))
    windows.sort()
    # One that went well is shown too, where there is one.
    chosen = windows[:_PICTURES]
    good = next((window for window in windows[_PICTURES:] if not window[0] and window[1]), None)
    if good is not None and chosen[-1][0]:
        chosen[-1] = good
    return [_picture(detector, series, stretches[place], place, a, b) for _, _, place, a, b in chosen]


def timeline_chart(picture: Mapping[str, Any], classes: Sequence[str], high: float, *, label: str = "") -> str:
    """One window as a `<figure>`: the first channel, rows of truth and of detections, the probabilities."""
    steps = np.arange(len(picture["signal"])) * picture["stride"] + picture["first"]
    last = float(picture["last"])
    signal = [(float(t), v) for t, v in zip(steps, picture["signal"], strict=True) if v is not None]
    values = [v for _, v in signal] or [0.0]
    bottom = TOP + _SIGNAL
    to_x = _Scale(float(picture["first"]), max(last, picture["first"] + 1.0), LEFT, WIDTH - RIGHT, False)
    to_y = _Scale(*_span(values, False, 0.05), bottom, TOP, False)
    floor = bottom + _MARKS + 30 + _TRACK
    to_p = _Scale(0.0, 1.0, floor, floor - _TRACK, False)
    upper = _Scale(to_x.low, to_x.high, to_x.start, to_x.end, False)
    parts = [part for part in _frame(upper, to_y, "", picture["channel"]) if "mark" not in part]
    parts = [part for part in parts if f'y="{bottom + 19:.1f}"' not in part]
    parts += _frame(to_x, to_p, "step", "probability")
    entries: list[tuple[str, str]] = [("s0", picture["channel"])]
    path = "M" + "L".join(f"{to_x(t):.1f} {to_y(v):.1f}" for t, v in signal)
    parts.append(f'<path class="s0 line" d="{path}"/>' if signal else "")
    shown_points = [[round(to_x(t), 1), round(to_y(v), 1), f"{t:.0f}", _short(v)] for t, v in signal]
    points: list[dict[str, object]] = [{"name": picture["channel"], "style": "s0", "points": shown_points}]
    for row, (title, events) in enumerate((("truth", picture["truth"]), ("found", picture["found"]))):
        at = bottom + 10 + row * 20
        parts.append(f'<text class="tick" x="{LEFT - 8:g}" y="{at + 11:g}" text-anchor="end">{title}</text>')
        for start, end, code in events:
            left, right = to_x(max(start, to_x.low)), to_x(min(end + 1, to_x.high))
            style = f"s{(code + 1) % COLOURS}"
            said = html.escape(f"{title}: {classes[code]}, {start} to {end}")
            parts.append(
                f'<rect class="{style}" style="fill:var(--c)" x="{left:.1f}" y="{at:g}" '
                f'width="{max(2.5, right - left):.1f}" height="14"><title>{said}</title></rect>'
            )
    for code, name in enumerate(classes):
        style, row = f"s{(code + 1) % COLOURS}", picture["probabilities"][code]
        at = [step for step, _ in zip(steps, row, strict=False)]
        pairs = [(float(t), p) for t, p in zip(at, row, strict=True) if p is not None and math.isfinite(p)]
        if pairs:
            curve = "M" + "L".join(f"{to_x(t):.1f} {to_p(p):.1f}" for t, p in pairs)
            parts.append(f'<path class="{style} line" d="{curve}"/>')
        entries.append((style, name))
        told = [[round(to_x(t), 1), round(to_p(p), 1), f"{t:.0f}", _short(p)] for t, p in pairs]
        points.append({"name": name, "style": style, "points": told})
    parts.append(f'<path class="s{(len(classes) + 1) % COLOURS} rule" d="M{LEFT} {to_p(high):.1f}H{WIDTH - RIGHT}"/>')
    entries.append((f"s{(len(classes) + 1) % COLOURS} dashed", f"threshold {_short(high)}"))
    return _figure(parts, entries, label, {"x": "step", "series": points}, f"0 0 {WIDTH:g} {floor + 44:g}")


def _size(starts: np.ndarray, first: int, last: int) -> int:
    """Steps of a window: about eight events, as far as they can be drawn."""
    inside = starts[(starts >= first) & (starts < last)]
    usual = (last - first) / max(1, len(inside))
    return int(min(max(8 * usual, 50), last - first, 40 * _MOST_STEPS))


def _picture(
    detector: Detector, series: SeriesSet, stretch: Stretch, place: int, begin: int, end: int
) -> dict[str, Any]:
    shares, truth, _, _ = stretch
    one, preparation = series[place], detector.preparation
    stride = max(1, -(-(end - begin) // _MOST_STEPS))
    steps = np.arange(begin, end, stride)
    # A frame is answered for where it lies, not where the answer came.
    frames = steps // preparation.frame + preparation.delay
    said = np.where((frames < len(shares))[:, None], shares[np.minimum(frames, len(shares) - 1)], np.nan)
    found = [one for one in detector.decode(shares) if one.end >= begin and one.start < end]
    spans = [(t.time, t.time, t.label) if preparation.point else (t.start, t.end, t.label) for t in found]
    inside = (truth.end >= begin) & (truth.start < end)
    return {
        "id": one.id,
        "channel": series.names[0],
        "from": shown(one.stamps[begin]),
        "first": int(begin),
        "last": int(end - 1),
        "stride": stride,
        "signal": _plain(one.values[steps, 0]),
        "probabilities": [_plain(np.round(column, 4)) for column in said.T],
        "truth": np.stack([truth.start, truth.end, truth.label], 1)[inside].tolist(),
        "found": [[int(value) for value in span] for span in spans],
    }


def _plain(values: np.ndarray) -> list[float | None]:
    return [None if np.isnan(value) else float(f"{value:.5g}") for value in values.tolist()]
