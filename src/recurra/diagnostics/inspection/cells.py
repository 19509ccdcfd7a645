"""The cells of the runs as computation graphs."""

from __future__ import annotations

from collections.abc import Sequence

from recurra.diagnostics.graph import draw
from recurra.diagnostics.inspection.case import Case, Part
from recurra.diagnostics.report import Figure

__all__ = ["graph_part"]


def graph_part(cases: Sequence[Case]) -> Part:
    """A graph for each cell that is used."""
    specs = {
        unit.cell.name: unit.cell.spec
        for case in cases
        for layer in case.subject.layers.values()
        for unit in layer.units
    }
    told = "One step, left to right. Blue: the states before and after. Orange: nonlinearities. Grey: what is linear."
    figures = [
        Figure(f"The cell as a graph: {name}", f'<div class="wide">{draw(spec)}</div>', told if index == 0 else "")
        for index, (name, spec) in enumerate(specs.items())
    ]
    return Part(
        figures,
        {case.name: sorted({u.cell.name for x in case.subject.layers.values() for u in x.units}) for case in cases},
    )
