"""What the answers rest on: saliency, integrated gradients, attention."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from recurra.diagnostics.attention import addressing_maps, attention_maps
from recurra.diagnostics.chart import Axis, Line, line_chart
from recurra.diagnostics.coloured import coloured_text
from recurra.diagnostics.inspection.case import Case, Part
from recurra.diagnostics.panels import Panel, panel_chart
from recurra.diagnostics.report import Figure
from recurra.diagnostics.saliency import integrated_gradients, saliency
from recurra.diagnostics.triangle import SaliencyMap, saliency_chart

__all__ = ["attention_part", "attribution_part", "saliency_part"]

_STEPS, _BACK = 40, 60
_HEAD_STEPS, _USED = 160, 0.3
_PROBES, _EXACT = 16, 10_000_000


def saliency_part(cases: Sequence[Case]) -> Part:
    """|dy_t/dx_k|, the runs beside each other."""
    maps: list[SaliencyMap] = []
    fading: list[Line] = []
    numbers: dict[str, Any] = {}
    for case in cases:
        part = case.stretch(_STEPS)
        values = saliency(part, probes=_probes(case))
        maps.append(SaliencyMap(case.name, values, part.step_names()))
        numbers[case.name] = {"steps": part.step_names(), "saliency": values.tolist()}
        if len(values) > 1:
            fade = _by_distance(values)
            fading.append(Line(case.name, range(len(fade)), fade))
    unit = cases[0].subject.unit
    told = (
        f"Each row is an output, each column an input {unit}: the stronger the colour, the more that output changes "
        "with that input (logarithmic, beside what it owes to the input of its own step). Where the colour ends, a "
        "thousandth is left."
    )
    figures = [Figure("Which inputs each output depends on", saliency_chart(maps), told)]
    if fading and len(fading[0].x) > 2:
        chart = line_chart(fading, Axis(f"{unit}s back"), Axis("relative norm", log=True))
        figures.append(
            Figure(
                "The same by distance",
                chart,
                "Geometric mean over the outputs of the picture above, beside the input of the step itself.",
            )
        )
    return Part(figures, numbers)


def _probes(case: Case) -> int | None:
    """Every output where that takes a second; random combinations of them where it would take many."""
    width = case.seen.outputs.shape[-1]
    size = sum(parameter.numel() for layer in case.subject.layers.values() for parameter in layer.parameters())
    return None if width <= _PROBES or width * size < _EXACT else _PROBES


def _by_distance(values: Any) -> list[float]:
    """The geometric mean along each diagonal, beside the main one's."""
    size = min(values.shape)
    logs = np.log(np.maximum(values, 1e-30))
    # Long distances have few pairs; where fewer than three are left the mean says little.
    means = [logs[np.arange(k, size), np.arange(size - k)].mean() for k in range(max(1, size - 2))]
    return np.exp(np.array(means) - means[0]).tolist()


def attribution_part(cases: Sequence[Case]) -> Part:
    """Integrated gradients of the last answer, in float64."""
    parts: list[str] = []
    numbers: dict[str, Any] = {}
    for case in cases:
        part = case.stretch(_BACK).double()
        with torch.no_grad():
            answer = part.outputs(part.x)
        last = answer[0, -1] if answer.dim() == 3 else answer[0]
        best = int(last.argmax()) if part.shown is None else part.shown
        found = integrated_gradients(part, best, most_points=2048)
        names = part.step_names()
        said = f"{case.name} answers {part.output_name(best)!r}"
        if part.shown is not None:
            said += f" = {float(last[best]):.3g}"
        elif len(last) == 1:
            said = f"{case.name} answers {float(last):.3g}"
        parts.append(
            f"<h3>{_escaped(said)}; contributions add up to {found.values.sum():.4g} (error {found.error:.0e})</h3>"
            + coloured_text(names, found.by_step.tolist(), label=said)
        )
        numbers[case.name] = {
            "steps": names,
            "output": part.output_name(best),
            "contributions": found.by_step.tolist(),
            "difference": found.difference,
            "error": found.error,
            "points": found.points,
        }
    chosen = all(case.subject.shown is None for case in cases)
    which = "the likeliest last answer" if chosen else "one number of the last answer"
    told = (
        f"Integrated gradients of {which}, from an input of zeros: blue speaks for it, orange against. They add up to "
        "the difference between the answer's score here and for zeros (Sundararajan et al. 2017)."
    )
    return Part([Figure("What the last answer rests on", f'<div class="traces">{"".join(parts)}</div>', told)], numbers)


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;")


def attention_part(cases: Sequence[Case]) -> Part:
    """Where attention looks, and where the heads of a memory are, in the first row."""
    figures: list[Figure] = []
    numbers: dict[str, Any] = {}
    for case in cases:
        maps = attention_maps(case.stretch(100))
        numbers[case.name] = {name: weights[0].tolist() for name, weights in maps.items()}
        if maps:
            panels = [Panel(name, weights[0], "memory step", "query", 0.0) for name, weights in maps.items()]
            title = "Attention" if len(cases) == 1 else f"Attention: {case.name}"
            told = "The lighter, the more of that memory step goes into the answer to that query."
            figures.append(Figure(title, panel_chart([panels]), told))
        places = addressing_maps(case.stretch(_HEAD_STEPS))
        if places:
            figure, numbers[case.name]["heads"] = _heads(places, case.subject.unit)
            figures.append(figure if len(cases) == 1 else figure._replace(title=f"{figure.title}: {case.name}"))
    return Part(figures, numbers)


def _heads(maps: dict[str, Any], unit: str) -> tuple[Figure, dict[str, Any]]:
    """Heads by place and step, writing ones left; only the places that are used, and a few around them."""
    used = np.flatnonzero(np.max([weights[0].max(0) for weights in maps.values()], 0) > _USED)
    wide = next(iter(maps.values())).shape[2]
    low, high = (max(0, used[0] - 3), min(wide, used[-1] + 4)) if len(used) else (0, wide)
    places = f"places {low} to {high - 1}"
    columns = [
        [
            Panel(name, weights[0].T[low:high], unit, places, 0.0, 1.0)
            for name, weights in maps.items()
            if name.endswith(verb)
        ]
        for verb in ("writes", "reads")
    ]
    told = (
        "The lighter, the more of a head's weight is on that place of the memory. Two lines that run side by side, "
        "one after the other, are a copy: what was written step by step is read again in the same order."
    )
    numbers = {
        "first_place": int(low),
        **{name: weights[0, :, low:high].round(4).tolist() for name, weights in maps.items()},
    }
    return Figure("Where the heads are", panel_chart(columns, label="heads of the memory"), told), numbers
