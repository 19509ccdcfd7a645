"""Gradients, Jacobians, half-lives and eigenvalues: how far a run sees back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from recurra.diagnostics.chart import Axis, Line, line_chart, plane_chart
from recurra.diagnostics.flow import felt_by_distance, gradient_by_time
from recurra.diagnostics.inspection.case import Case, Part
from recurra.diagnostics.jacobian import product_singular_values
from recurra.diagnostics.memory import half_life, unit_half_lives
from recurra.diagnostics.report import Figure
from recurra.diagnostics.spectrum import spectral_radius, spectrum, step_spectrum

__all__ = ["gradient_part", "jacobian_part", "memory_part", "spectrum_part"]

_ROWS, _LENGTH, _DISTANCE, _MOST_LINES, _LEAST, _WIDE = 4, 128, 64, 6, 1e-12, 320


def gradient_part(cases: Sequence[Case]) -> Part:
    """dL_t/ds by distance, and dL/ds_t over the example."""
    back: list[Line] = []
    along: list[Line] = []
    numbers: dict[str, Any] = {}
    for case in cases:
        part = case.some(_ROWS, _LENGTH)
        felt = felt_by_distance(part, distance=_DISTANCE)
        by_time = gradient_by_time(part)
        for name, curve in _shown(felt, cases).items():
            back.append(Line(case.called(name, cases), range(len(curve)), curve.tolist()))
        for name, values in _shown(by_time, cases).items():
            mean = _over_rows(values)
            along.append(Line(case.called(name, cases), range(len(mean)), mean.tolist()))
        numbers[case.name] = {
            "by_distance": {name: curve.tolist() for name, curve in felt.items()},
            "half_life": {name: half_life(curve) for name, curve in felt.items()},
            "by_time": {name: _over_rows(values).tolist() for name, values in by_time.items()},
        }
    if not back:
        return Part([], numbers)
    unit = cases[0].subject.unit
    told = (
        f"The norm of the derivative of the loss at one {unit} by the state so many {unit}s earlier, averaged. A "
        "straight fall on this scale is exponential forgetting; a curve that levels off keeps something."
    )
    figures = [
        Figure(
            "How far back the loss is felt",
            line_chart(back, Axis(f"{unit}s back"), Axis("norm", log=True), label="gradient norm by distance"),
            told,
        ),
        Figure(
            "The gradient along the example",
            line_chart(along, Axis(unit), Axis("norm"), label="gradient norm by time"),
            f"The norm of dL/ds at each {unit}, for the loss summed over the whole stretch: what backpropagation "
            "carries. It falls at the end, where few losses are left to come.",
        ),
    ]
    return Part(figures, numbers)


def _over_rows(values: Any) -> Any:
    """The mean (T,) of (B, T) over the rows that have a step; NaN where none has."""
    counts = (~np.isnan(values)).sum(0)
    return np.divide(np.nansum(values, 0), counts, out=np.full(counts.shape, np.nan), where=counts > 0)


def _shown(curves: dict[str, Any], cases: Sequence[Case]) -> dict[str, Any]:
    """As many curves as there are colours; of a deep stack the last layers."""
    most = max(1, _MOST_LINES // len(cases))
    return dict(list(curves.items())[-most:])


def jacobian_part(cases: Sequence[Case]) -> Part:
    """The singular values of ds_t/ds_(t-k)."""
    lines: list[Line] = []
    numbers: dict[str, Any] = {}
    for case in cases:
        numbers[case.name] = {}
        for name, steps in list(case.jacobians.items())[-2:]:
            distance = max(1, round(0.75 * len(steps)))
            at = _distances(distance)
            values = product_singular_values(steps, distance, ends=_few_if_wide(steps, 4), at=at)
            mean = np.exp(np.log(np.maximum(values, 1e-300)).mean(0))
            places = {"largest": 0, "a tenth is above": mean.shape[1] // 10, "median": mean.shape[1] // 2}
            for what, place in places.items() if len(cases) == 1 else [("largest", 0), ("median", places["median"])]:
                lines.append(Line(case.called(f"{name}, {what}", cases), at, _above(mean[:, place])))
            numbers[case.name][name] = {"distance": at, "singular_values": mean.tolist()}
    if not lines:
        return Part([], numbers)
    unit = cases[0].subject.unit
    chart = line_chart(
        lines[:_MOST_LINES],
        Axis(f"{unit}s in between"),
        Axis("singular value", log=True),
        rules={"kept as it is": 1.0},
        label="singular values of the Jacobian product by distance",
    )
    told = (
        "Singular values of the product of the steps' Jacobians, in float64: by what factor a small change of the "
        "whole state is still there so many steps later, in the direction that keeps most of it, and in others. Above "
        "1 it has grown (explodes), far below it is forgotten (vanishes). Below 1e-12 nothing is shown."
    )
    return Part([Figure("What becomes of a change of the state", chart, told)], numbers)


def _few_if_wide(jacobians: Any, most: int) -> int:
    """How many matrices are taken apart: the work grows with the cube of their width."""
    return most if jacobians.shape[1] <= _WIDE else max(2, most // 3)


def _above(values: Any) -> list[float]:
    """What is too small to tell from rounding is left out."""
    return np.where(values > _LEAST, values, np.nan).tolist()


def _distances(most: int) -> list[int]:
    """1, 2, 3, 4, 6, 8, ... up to `most`: an SVD each."""
    steps = [1, 2, 3, 4, 6, 8, 12, 16, 20, 24, 28, 32, 36]
    return [0, *(step for step in steps if step < most), most]


def memory_part(cases: Sequence[Case]) -> Part:
    """How long each number of a state keeps half of itself."""
    lines: list[Line] = []
    numbers: dict[str, Any] = {}
    for case in cases:
        numbers[case.name] = {}
        for name, steps in case.jacobians.items():
            start = 0
            unit = case.exact_tracks[name].unit
            for state, size in zip(unit.spec.states, unit.state_sizes, strict=True):
                part = slice(start, start + size)
                start += size
                lives = np.sort(unit_half_lives(steps[:, part, part]))[::-1]
                numbers[case.name][f"{name} {state}"] = [_plain(life) for life in lives]
                if lives.max() < 0.05:
                    # Such as the h of an LSTM, which nothing hands to itself.
                    continue
                share = (np.arange(len(lives)) + 0.5) / len(lives)
                drawn = np.clip(lives, 0.05, 1e4)
                lines.append(Line(case.called(f"{name} {state}", cases), (100 * share).tolist(), drawn.tolist()))
    if not lines:
        return Part([], numbers)
    unit = cases[0].subject.unit
    chart = line_chart(
        lines[-_MOST_LINES:],
        Axis("units, longest memory first (%)"),
        Axis(f"half-life in {unit}s", log=True),
        label="half-lives of the units",
    )
    told = (
        "For how many steps a unit keeps half of itself by its own doing, without the help of others: ln 2 over the "
        "mean fall of its own derivative. For the cell state of an LSTM that is the forget gate."
    )
    return Part([Figure("Half-life of each unit", chart, told)], numbers)


def _plain(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def spectrum_part(cases: Sequence[Case]) -> Part:
    """Eigenvalues of recurrent matrices, of linearised steps, and their largest over training."""
    figures: list[Figure] = []
    numbers: dict[str, Any] = {}
    at_rest: dict[str, Any] = {}
    in_use: dict[str, Any] = {}
    over: list[Line] = []
    for case in cases:
        matrices: dict[str, Any] = {}
        for layer in case.subject.layers.values():
            for name, matrix in layer.recurrent_matrices().items():
                place, _, rest = name.partition(".")
                matrices[f"layer {place} {rest}"] = matrix
        found = spectrum(matrices)
        at_rest |= {case.called(name, cases): values.tolist() for name, values in _few(found, cases).items()}
        steps = {
            name: step_spectrum(jacobians[-_few_if_wide(jacobians, 8) :]) for name, jacobians in case.jacobians.items()
        }
        last = dict(list(steps.items())[-max(1, 3 // len(cases)) :])
        in_use |= {case.called(name, cases): values.ravel().tolist() for name, values in last.items()}
        radii = {name: [spectral_radius(moment.eigenvalues[name]) for moment in case.spectra] for name in _kept(case)}
        iterations = [moment.iteration for moment in case.spectra]
        for name, radius in list(radii.items())[: max(1, _MOST_LINES // len(cases))]:
            over.append(Line(case.called(name, cases), iterations, radius))
        numbers[case.name] = {
            "spectral_radius": {name: spectral_radius(values) for name, values in found.items()},
            "step_spectral_radius": {name: np.abs(values).max(1).tolist() for name, values in steps.items()},
            "over_training": {"iteration": iterations, "spectral_radius": radii},
        }
    if at_rest:
        told = "Eigenvalues of the matrices that carry the state, with the unit circle, as if there were no gates."
        figures.append(Figure("Spectrum of the recurrent matrices", plane_chart(at_rest), told))
    if in_use:
        told = (
            "Eigenvalues of the linearised step at the last data points of a stretch: matrices, gates and the slopes "
            "of the nonlinearities together. Those near 1 are what the net remembers by."
        )
        figures.append(Figure("Spectrum of the step, on data", plane_chart(in_use), told))
    if over and len(cases[0].spectra) > 1:
        chart = line_chart(over, Axis("iteration"), Axis("largest modulus"), rules={"unit circle": 1.0})
        figures.append(Figure("The largest eigenvalue over training", chart, "Recorded while the run was trained."))
    return Part(figures, numbers)


def _few(found: dict[str, Any], cases: Sequence[Case]) -> dict[str, Any]:
    """As many matrices as there are colours for all runs together; of a deep stack those of the first layer."""
    wanted = sum(len(layer.recurrent_matrices()) for case in cases for layer in case.subject.layers.values())
    return found if wanted <= _MOST_LINES else dict(list(found.items())[: max(1, _MOST_LINES // len(cases))])


def _kept(case: Case) -> list[str]:
    """The matrices that every moment has."""
    if not case.spectra:
        return []
    return [name for name in case.spectra[0].eigenvalues if all(name in m.eigenvalues for m in case.spectra)]
