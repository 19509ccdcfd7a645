"""Graphs of every cell: nothing is lost, nothing overlaps, arrows go forward."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from itertools import combinations

import pytest

from recurra.cells import CELLS
from recurra.diagnostics.graph import cell_graph, draw, layout

SPECS = {name: cell().spec for name, cell in CELLS.items()}


@pytest.mark.parametrize("cell", list(SPECS))
@pytest.mark.parametrize("detail", [False, True])
def test_boxes_keep_apart_and_arrows_go_forward(cell: str, detail: bool) -> None:
    boxes = cell_graph(SPECS[cell], detail=detail)
    places, routes = layout(boxes)
    assert set(routes) == {(need, key) for key, box in boxes.items() for need in box.needs}
    for a, b in combinations([places[key] for key in boxes], 2):
        apart = abs(a.x - b.x) >= (a.width + b.width) / 2 or abs(a.y - b.y) >= 40
        assert apart, (a, b)
    for route in routes.values():
        xs = [places[key].x for key in route]
        assert xs == sorted(xs)
        assert len(set(xs)) == len(xs)


@pytest.mark.parametrize("cell", list(SPECS))
def test_every_operation_of_the_equations_is_there(cell: str) -> None:
    spec = SPECS[cell]
    boxes = cell_graph(spec, detail=True)
    operations = [node for node in spec.nodes if node.args]
    assert len([box for box in boxes.values() if box.kind in ("op", "gate")]) == len(operations)
    assert [box.label for box in boxes.values() if box.kind == "next"] == [f"{state}'" for state in spec.states]
    # Every parameter is written somewhere, in the short form too.
    written = " ".join(box.label for box in cell_graph(spec).values())
    for name in spec.params:
        assert name.replace(".", "_") in written


def test_an_lstm_has_its_four_gates() -> None:
    boxes = cell_graph(SPECS["lstm"])
    assert {box.name for box in boxes.values() if box.kind == "gate" and box.name} == {"i", "f", "g", "o"}
    affine = [box for box in boxes.values() if box.kind == "affine"]
    assert {box.label for box in affine} == {f"W_{gate} x + U_{gate} h + b_{gate}" for gate in "ifgo"}
    places, _ = layout(boxes)
    gates = [key for key, box in boxes.items() if box.kind == "affine"]
    assert len({places[key].x for key in gates}) == 1, "they stand in one column"


@pytest.mark.parametrize("cell", list(SPECS))
def test_the_drawing_is_svg_that_stands_alone(cell: str) -> None:
    drawn = draw(SPECS[cell])
    root = ET.fromstring(drawn)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "x" in texts
    assert "http" not in drawn.replace("http://www.w3.org/2000/svg", "")
    assert len(drawn) < 60_000
