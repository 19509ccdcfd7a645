"""Charts as files of their own."""

from __future__ import annotations

import re
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from types import SimpleNamespace

import pytest

from recurra.base.errors import DataError, MissingExtra
from recurra.cells import CELLS
from recurra.diagnostics.chart import Axis, Line, line_chart, plane_chart
from recurra.diagnostics.graph import draw
from recurra.diagnostics.heatmap import heatmap
from recurra.diagnostics.panels import Panel, panel_chart
from recurra.diagnostics.picture import png, standalone, write_png

CHARTS = {
    "lines": line_chart([Line("a & <b>", [1, 2], [1.0, 3.0])], Axis("x"), Axis("y"), rules={"limit": 2.0}),
    "plane": plane_chart({"U": [0.5 + 0.5j, -1]}),
    "heatmap": heatmap([[1.0, 0.5]], ["a"], ["b", "c"]),
    "panels": panel_chart([[Panel("p", [[1, 2], [3, 4]])]]),
    "graph": draw(CELLS["gru"]().spec),
}


@pytest.mark.parametrize("kind", list(CHARTS))
@pytest.mark.parametrize("dark", [True, False])
def test_every_chart_becomes_a_file_of_its_own(kind: str, dark: bool) -> None:
    made = standalone(CHARTS[kind], title="A <title> & more", dark=dark)
    root = ET.fromstring(made)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    assert root.attrib["viewBox"] == f"0 0 {width:g} {height:g}"
    assert "A <title> & more" in [element.text for element in root.iter()]
    assert ("prefers-color-scheme" in made) is dark
    if not dark:
        assert "var(" not in made
        assert "currentColor" not in made
    # Nothing of the inner style is lost beside the media query.
    if kind in ("panels", "graph"):
        assert made.count("<style>") == 2


def test_the_legend_comes_along_and_stands_above_the_chart() -> None:
    root = ET.fromstring(standalone(CHARTS["lines"]))
    texts = {element.text: element for element in root.iter("{http://www.w3.org/2000/svg}text")}
    assert "a & <b>" in texts
    assert "limit 2" in texts
    [group] = [e for e in root.iter("{http://www.w3.org/2000/svg}g") if "translate" in e.attrib.get("transform", "")]
    found = re.fullmatch(r"translate\(0 ([\d.]+)\)", group.attrib["transform"])
    assert found
    assert float(texts["limit 2"].attrib["y"]) < float(found.group(1))


def test_a_chart_without_a_picture_is_refused() -> None:
    with pytest.raises(DataError, match="no picture"):
        standalone(line_chart([], Axis("x"), Axis("y")))


def test_png_without_the_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    with pytest.raises(MissingExtra, match=r"pip install 'recurra\[png\]'"):
        png(CHARTS["plane"])


def test_the_drawing_program_gets_the_plain_picture(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[dict] = []

    def svg_to_bytes(**given: object) -> list[int]:
        asked.append(given)
        return list(b"\x89PNG")

    monkeypatch.setitem(sys.modules, "resvg_py", SimpleNamespace(svg_to_bytes=svg_to_bytes))
    write_png(CHARTS["plane"], tmp_path / "a.png", title="t", zoom=3)
    assert (tmp_path / "a.png").read_bytes() == b"\x89PNG"
    assert asked == [{"svg_string": standalone(CHARTS["plane"], title="t", dark=False), "zoom": 3}]


@pytest.mark.parametrize("kind", list(CHARTS))
def test_png_of_the_right_size(kind: str) -> None:
    pytest.importorskip("resvg_py", reason="the extra png is not installed")
    made = png(CHARTS[kind], zoom=1)
    root = ET.fromstring(standalone(CHARTS[kind], dark=False))
    size = int.from_bytes(made[16:20], "big"), int.from_bytes(made[20:24], "big")
    assert size[0] == pytest.approx(float(root.attrib["width"]), abs=1)
    assert size[1] == pytest.approx(float(root.attrib["height"]), abs=1)
