"""The whole page on small models of several kinds; what a broken one shows."""

from __future__ import annotations

import json
import math
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from recurra.base.errors import ShapeError, UnknownName
from recurra.cli.inspect import PARTS as NAMED_BY_THE_COMMAND
from recurra.diagnostics.attention import addressing_maps
from recurra.diagnostics.coloured import coloured_text
from recurra.diagnostics.history import Moment
from recurra.diagnostics.inspection import PARTS, Case, inspect
from recurra.diagnostics.picture import pictures, standalone
from recurra.diagnostics.saliency import saliency
from recurra.diagnostics.subject import Subject
from recurra.diagnostics.triangle import SaliencyMap, saliency_chart
from recurra.layers import Recurrent
from recurra.layers.attention import AttentionPooling
from recurra.layers.memory import NTM

NS = "{http://www.w3.org/2000/svg}"


class Tagger(nn.Module):
    """An answer a step; with `pooled` one a sequence, by attention."""

    def __init__(self, cell: str, pooled: bool = False, **options: Any) -> None:
        super().__init__()
        self.recurrent = Recurrent(cell, 3, 6, **options)
        self.pool = AttentionPooling(self.recurrent.output_width) if pooled else None
        self.out = nn.Linear(self.recurrent.output_width, 4)

    def forward(self, x: Tensor, state: Any = None, lengths: Tensor | None = None) -> tuple[Tensor, Any]:
        y, state = self.recurrent(x, state, lengths)
        return self.out(y if self.pool is None else self.pool(y, lengths)[0]), state


def subject(
    cell: str = "lstm", name: str = "run", pooled: bool = False, ragged: bool = False, **options: Any
) -> Subject:
    torch.manual_seed(0)
    lengths = torch.tensor([20, 30, 25]) if ragged else None
    model = Tagger(cell, pooled, **options)
    targets = torch.randint(4, (3,) if pooled else (3, 30))

    def losses(y: Tensor, t: Tensor) -> Tensor:
        each = nn.functional.cross_entropy(y.movedim(-1, 1), t, reduction="none").view(len(t), -1)
        if lengths is None or pooled:
            return each
        return torch.where(torch.arange(30) < lengths[: len(t), None], each[:, :30], 0.0)

    return Subject(
        name=name, model=model, inputs=torch.randn(3, 30, 3), targets=targets, losses=losses, lengths=lengths
    )


def check(figures: dict[str, list[Any]]) -> None:
    for made in figures.values():
        for figure in made:
            for _, chart in pictures(figure.chart):
                for dark in (True, False):
                    drawn = standalone(chart, dark=dark)
                    ET.fromstring(drawn)
                    assert not re.search(r'="[^"]*\bnan\b', drawn, re.IGNORECASE), figure.title


def test_the_command_names_the_parts_there_are() -> None:
    assert tuple(PARTS) == NAMED_BY_THE_COMMAND


@pytest.mark.parametrize("cell", ["elman", "relu_rnn", "gru", "lstm", "jordan", "min_gru", "slstm", "qrnn"])
def test_every_part_works_on_every_kind_of_cell(cell: str) -> None:
    told: list[str] = []
    found = inspect([Case(subject(cell))], tell=told.append)
    assert told == list(PARTS)
    check(found.figures)
    for part in ("saliency", "gradient", "jacobian", "spectrum", "units", "attribution", "graph"):
        assert found.figures[part], part
    assert set(found.numbers["saliency"]) == {"run"}
    assert found.numbers["attribution"]["run"]["error"] < 1e-6
    json.dumps(found.numbers["saliency"], allow_nan=False)


@pytest.mark.parametrize("options", [{"bidirectional": True}, {"num_layers": 5}, {"reverse": True}])
def test_layers_of_all_kinds(options: dict[str, Any]) -> None:
    found = inspect([Case(subject("gru", **options))])
    check(found.figures)
    assert found.figures["units"]


def test_ragged_rows_and_one_answer_a_sequence() -> None:
    found = inspect([Case(subject("gru", pooled=True, ragged=True))])
    check(found.figures)
    assert found.figures["attention"][0].title == "Attention"
    weights = np.array(found.numbers["attention"]["run"]["pool"])
    assert weights.shape == (1, 30), "the longest row is shown"
    np.testing.assert_allclose(weights.sum(), 1, rtol=1e-6)


@pytest.mark.parametrize("controller", ["feedforward", "lstm"])
def test_the_heads_of_a_memory_are_where_the_machine_says(controller: str) -> None:
    model = NTM(3, 8, 4, locations=12, width=5, read_heads=2, controller=controller)
    machine = Subject(
        name="run",
        model=model,
        inputs=torch.randn(2, 9, 3),
        targets=torch.zeros(2, 9, 4),
        losses=lambda y, t: (y - t).pow(2).sum(-1),
    )
    _, trace = model.trace(machine.x)
    maps = addressing_maps(machine)
    assert list(maps) == ["head 0 writes", "head 0 reads", "head 1 reads"]
    for name, head in zip(maps, (2, 0, 1), strict=True):
        np.testing.assert_array_equal(maps[name], trace.weights[:, :, head].double().numpy())
    case = Case(machine)
    found = inspect([case], only=["attention"])
    check(found.figures)
    (figure,) = found.figures["attention"]
    assert all(name in figure.chart for name in maps)
    heads = found.numbers["attention"]["run"]["heads"]
    first = heads["first_place"]
    for name, weights in maps.items():
        shown = np.array(heads[name])
        np.testing.assert_allclose(shown, weights[case.row, :, first : first + shown.shape[1]], atol=1e-4)
    assert not addressing_maps(subject("lstm"))
    beside = inspect([Case(machine), Case(replace(machine, name="other"))], only=["attention"])
    assert [figure.title for figure in beside.figures["attention"]] == [
        f"Where the heads are: {n}" for n in ("run", "other")
    ]


def test_two_beside_each_other_share_their_charts() -> None:
    cases = [Case(subject("elman", "simple")), Case(subject("lstm", "gated"))]
    found = inspect(cases, only=["saliency", "gradient", "jacobian", "spectrum"])
    assert list(found.figures) == ["saliency", "gradient", "jacobian", "spectrum"]
    assert len([one for one in found.figures["saliency"] if "simple" in one.chart and "gated" in one.chart]) == 2
    for part in ("gradient", "jacobian", "spectrum"):
        for figure in found.figures[part]:
            assert "simple: layer 0" in figure.chart, figure.title
            assert "gated: layer 0" in figure.chart, figure.title
    assert set(found.numbers["jacobian"]) == {"simple", "gated"}
    check(found.figures)


def test_spectra_over_training_are_drawn_where_they_were_recorded() -> None:
    moments = [Moment(step, {"0.U": np.array([0.5 + 0.1j * step])}) for step in (1, 2, 3)]
    found = inspect([Case(subject("elman"), spectra=moments)], only=["spectrum"])
    assert found.figures["spectrum"][-1].title == "The largest eigenvalue over training"
    radii = found.numbers["spectrum"]["run"]["over_training"]["spectral_radius"]["0.U"]
    assert radii == pytest.approx([math.hypot(0.5, 0.1 * step) for step in (1, 2, 3)])


def test_a_run_that_broke_shows_what_broke_it_and_nothing_that_would_crash() -> None:
    one = subject("lstm", num_layers=2)
    with torch.no_grad():
        one.layers["recurrent"].units[1].named()["U.f"][0, 0] = torch.nan
    lines = [{"iteration": i, "split": "train", "loss": 2.0, "grad_norm": 1.0} for i in range(1, 9)]
    lines.append({"iteration": 9, "split": "train", "loss": None, "grad_norm": None})
    found = inspect([Case(one, metrics=lines)])
    assert list(found.figures) == ["forensics", "graph"]
    [figure] = found.figures["forensics"]
    assert "first time at iteration 9" in figure.chart
    assert "recurrent.units.1.U.f, 1 of 36 entries" in figure.chart
    assert "layer 1" in figure.chart
    numbers = found.numbers["forensics"]["run"]
    assert numbers["broke_at"] == 9
    assert numbers["first_bad_value"]["reads"] == "U.f"


def test_a_healthy_run_needs_no_such_chapter() -> None:
    found = inspect([Case(subject())], only=["forensics"])
    assert found.figures["forensics"] == []
    assert found.numbers["forensics"]["run"]["bad_parameters"] == {}


def test_an_unknown_part_is_refused() -> None:
    with pytest.raises(UnknownName, match="no part is called 'gate'"):
        inspect([Case(subject())], only=["gate"])


def test_saliency_shades_are_logarithms_beside_the_diagonal() -> None:
    values = np.array([[1.0, 0.0], [0.1, 10.0]])
    drawn = ET.fromstring(saliency_chart([SaliencyMap("net", values, ["a", "b"])], decades=4))
    paths = [(float(e.attrib["fill-opacity"]), e.attrib["d"].count("M")) for e in drawn.iter(f"{NS}path")]
    shades = [shade for shade, spots in paths for _ in range(spots)]
    # 1 on the diagonal; 0.1 beside 10 is two decades of four.
    assert sorted(shades) == [0.5, 1.0, 1.0]
    with pytest.raises(ShapeError, match="no map"):
        saliency_chart([])
    with pytest.raises(ShapeError, match="net needs 2 names of steps, got 1"):
        saliency_chart([SaliencyMap("net", values, ["a"])])


def test_saliency_of_the_page_is_that_of_the_function() -> None:
    case = Case(subject("gru"))
    found = inspect([case], only=["saliency"])
    np.testing.assert_allclose(found.numbers["saliency"]["run"]["saliency"], saliency(case.stretch(40)))


def test_a_wide_net_is_looked_at_by_random_combinations() -> None:
    torch.manual_seed(0)

    class Wide(Tagger):
        def __init__(self) -> None:
            super().__init__("gru")
            self.recurrent, self.out = Recurrent("gru", 3, 256), nn.Linear(256, 60)

    one = subject("gru")
    wide = Subject(name="w", model=Wide(), inputs=one.inputs, targets=one.targets, losses=one.losses)
    case = Case(wide)
    found = inspect([case], only=["saliency"]).numbers["saliency"]["w"]["saliency"]
    np.testing.assert_array_equal(found, saliency(case.stretch(40), probes=16))


def test_coloured_text_keeps_every_symbol_and_breaks_lines_where_the_text_does() -> None:
    drawn = ET.fromstring(coloured_text(list("ab⏎c<"), [1.0, -0.5, 0.0, math.nan, 1.0], mark=3))
    assert [e.text for e in drawn.iter(f"{NS}text")] == ["ab⏎", "c<"]
    fills = [
        (e.attrib["fill"][4:8], float(e.attrib["fill-opacity"]))
        for e in drawn.iter(f"{NS}rect")
        if "fill-opacity" in e.attrib
    ]
    assert fills == [("--c0", 0.75), ("--c1", 0.38), ("--c0", 0.75)]
    assert len([e for e in drawn.iter(f"{NS}rect") if e.get("class") == "frame"]) == 1
    words = ET.fromstring(coloured_text(["12:00", "13:00"] * 20, [0.5] * 40))
    assert [e.text for e in words.iter(f"{NS}text")] == ["12:00", "13:00"] * 20
    assert len({e.attrib["y"] for e in words.iter(f"{NS}text")}) == 4, "13 of six letters fit on a line of 80"
    with pytest.raises(ShapeError, match="2 symbols need as many values, got 1"):
        coloured_text(["a", "b"], [1.0])
