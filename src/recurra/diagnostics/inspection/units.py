"""Gates and single hidden units over the example."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from recurra.diagnostics.chart import share_chart
from recurra.diagnostics.coloured import coloured_text
from recurra.diagnostics.gates import saturation
from recurra.diagnostics.inspection.case import Case, Part
from recurra.diagnostics.panels import Panel, panel_chart
from recurra.diagnostics.report import Figure
from recurra.diagnostics.traces import Found, character_features, search, track_activity

__all__ = ["gates_part", "units_part"]

_SYMBOLS, _UNITS, _CLEAR = 400, 5, 0.3
_WIDEST, _MOMENTS = 64, 120


def gates_part(cases: Sequence[Case]) -> Part:
    """Karpathy's plot: a point per unit and gate."""
    figures: list[Figure] = []
    numbers: dict[str, Any] = {}
    for case in cases:
        numbers[case.name] = {}
        for name, track in case.seen.tracks.items():
            found = saturation(track)
            if not found:
                continue
            numbers[case.name][name] = {
                gate: {"shut": shares.shut.tolist(), "open": shares.open.tolist()} for gate, shares in found.items()
            }
            points = {
                f"gate {gate}": list(zip(shares.open.tolist(), shares.shut.tolist(), strict=True))
                for gate, shares in found.items()
            }
            chart = share_chart(points, "share of steps above 0.9", "share of steps below 0.1")
            told = (
                "A point per unit: how often its gate is all but open, and all but shut. Towards the right a gate lets "
                "everything pass, towards the top nothing; near the corner it always weighs (Karpathy et al. 2016)."
            )
            figures.append(Figure(f"Gate saturation: {case.called(name, cases)}", chart, told if not figures else ""))
    return Part(figures, numbers)


def units_part(cases: Sequence[Case]) -> Part:
    """Units over text, coloured; for other data the states over time."""
    figures: list[Figure] = []
    numbers: dict[str, Any] = {}
    for case in cases:
        activity = track_activity(case.seen.tracks)
        if not activity:
            continue
        features = _features(case)
        hits = search(activity, features) if features else []
        numbers[case.name] = [hit._asdict() for hit in hits]
        clear = [hit for hit in hits if abs(hit.correlation) >= _CLEAR][:_UNITS]
        if clear:
            figures.append(_coloured(case, cases, activity, clear))
        else:
            figures.append(_over_time(case, cases, activity))
    return Part(figures, numbers)


def _features(case: Case) -> dict[str, Any]:
    rows = case.subject.steps
    if not rows or any(len(symbol) > 1 for row in rows for symbol in row[:64]):
        return {}
    size = case.subject.inputs.shape[1]
    found = character_features([row[:valid] for row, valid in zip(rows, case.subject.valid, strict=True)])
    # Rows may all be shorter than the batch is wide.
    return {
        name: np.pad(values, ((0, 0), (0, size - values.shape[1])), constant_values=np.nan)
        for name, values in found.items()
    }


def _coloured(case: Case, cases: Sequence[Case], activity: dict[str, Any], hits: list[Found]) -> Figure:
    symbols = case.subject.step_names(case.row)[:_SYMBOLS]
    parts: list[str] = []
    for hit in hits:
        values = activity[hit.track][..., hit.unit]
        centred = values[case.row, : len(symbols)] - np.nanmedian(values)
        name = f"{hit.feature}: unit {hit.unit} of {hit.track}, correlation {hit.correlation:+.2f}"
        parts.append(f"<h3>{name}</h3>" + coloured_text(symbols, centred.tolist(), label=name))
    told = (
        f"Of all units, those that follow something a reader sees; found over {sum(case.subject.valid):,} "
        f"{case.subject.unit}s by correlation, the clearest first. Blue is above the unit's median, orange below."
    )
    return Figure(f"Units with a meaning{_of(case, cases)}", f'<div class="traces">{"".join(parts)}</div>', told)


def _over_time(case: Case, cases: Sequence[Case], activity: dict[str, Any]) -> Figure:
    shown = min(case.subject.valid[case.row], _MOMENTS)
    panels: list[Panel] = []
    if case.subject.inputs.is_floating_point():
        panels.append(Panel("input", case.seen.x[case.row, :shown, :_WIDEST].T.numpy(), down="feature"))
    for name, values in list(activity.items())[-3:]:
        table = values[case.row, :shown].T
        lively = np.argsort(-table.std(1), kind="stable")[:_WIDEST]
        table = table[np.sort(lively)]
        reach = float(np.abs(table).max()) or 1.0
        panels.append(Panel(name, table, across=case.subject.unit, down="unit", low=-reach, high=reach))
    told = "Every unit's state over one row of the example, the liveliest units."
    return Figure(f"States over time{_of(case, cases)}", panel_chart([panels]), told)


def _of(case: Case, cases: Sequence[Case]) -> str:
    return f": {case.name}" if len(cases) > 1 else ""
