"""The charts and the page: well formed, self-contained, safe against what a model writes."""

from __future__ import annotations

import html
import json
import math
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recurra.diagnostics.chart import MOST_POINTS, Axis, Line, line_chart, plane_chart, ticks
from recurra.diagnostics.report import Figure, Key, Report, Sample, render, write

STEP, LOSS = Axis("iteration"), Axis("nats")


def svg(figure: str) -> ET.Element:
    found = re.search(r"<svg.*</svg>", figure, re.DOTALL)
    assert found
    return ET.fromstring(found.group())


def data(figure: str) -> dict:
    found = re.search(r'<script type="application/json">(.*)</script>', figure, re.DOTALL)
    assert found
    return json.loads(found.group(1))


@given(st.floats(-1e6, 1e6, allow_subnormal=False), st.floats(1e-6, 1e6))
@settings(deadline=None)
def test_linear_ticks_are_few_even_and_inside(low: float, width: float) -> None:
    high = low + width
    if high == low:
        return
    found = ticks(low, high)
    assert 2 <= len(found) <= 8
    assert all(low - 1e-6 * width - 1e-9 <= value <= high + 1e-6 * width + 1e-9 for value in found)


def test_log_ticks() -> None:
    assert ticks(1e-12, 1.0, log=True) == pytest.approx([1e-12, 1e-10, 1e-8, 1e-6, 1e-4, 1e-2, 1.0])
    assert ticks(0.6, 12.0, log=True) == [1, 2, 5, 10]
    assert ticks(0.6, 1.3, log=True) == [0.6, 0.8, 1.0, 1.2], "one number on an axis tells nothing"


def test_a_line_stands_where_its_numbers_say() -> None:
    figure = line_chart([Line("train", [0, 50, 100], [1.0, 3.0, 2.0])], STEP, LOSS)
    [path] = [e for e in svg(figure) if e.get("class") == "s0 line"]
    points = [tuple(map(float, pair.split())) for pair in path.attrib["d"][1:].split("L")]
    assert points[0][0] < points[1][0] < points[2][0]
    assert points[1][0] == pytest.approx((points[0][0] + points[2][0]) / 2)
    # SVG's y grows downwards; 2.0 lies half-way between 1.0 and 3.0.
    assert points[0][1] > points[2][1] > points[1][1]
    assert points[2][1] == pytest.approx((points[0][1] + points[1][1]) / 2, abs=0.1)


def test_bits_on_the_right_are_nats_over_ln_2() -> None:
    line = Line("train", [0, 1], [math.log(2), 3 * math.log(2)])
    drawn = svg(line_chart([line], STEP, LOSS, right=("bits", 1 / math.log(2))))
    [path] = [e for e in drawn if e.get("class") == "s0 line"]
    ends = path.attrib["d"][1:].split("L")
    heights = [float(pair.split()[1]) for pair in ends]
    labels = {
        e.text: float(e.attrib["y"]) - 4 for e in drawn if e.get("class") == "tick" and "text-anchor" not in e.attrib
    }
    assert labels["1"] == pytest.approx(heights[0], abs=0.1)
    assert labels["3"] == pytest.approx(heights[1], abs=0.1)


def test_long_curves_are_averaged_and_bad_points_left_out() -> None:
    y = [float("nan") if i == 7 else float(i % 2) for i in range(10_000)]
    figure = line_chart([Line("noisy", range(10_000), y), Line("bad", [1, 2], [math.inf, math.nan])], STEP, LOSS)
    [series] = data(figure)["series"]
    assert series["name"] == "noisy"
    assert len(series["points"]) <= MOST_POINTS
    assert "nan" not in figure


def test_one_point_is_a_dot_and_nothing_is_a_sentence() -> None:
    assert [
        e.tag.split("}")[-1] for e in svg(line_chart([Line("v", [3], [2.0])], STEP, LOSS)) if e.get("class") == "s0 dot"
    ]
    assert "Nothing was recorded" in line_chart([], STEP, LOSS)
    assert "Nothing was recorded" in line_chart([Line("v", [1], [0.0])], STEP, Axis("norm", log=True))
    assert "Nothing was recorded" in plane_chart({})


def test_the_unit_circle_is_one_unit() -> None:
    figure = plane_chart({"U": [1 + 0j, -1 + 0j, 2j]})
    root = svg(figure)
    [circle] = [e for e in root if e.get("class") == "unit"]
    [[right, left, top]] = [list(e) for e in root if e.get("class") == "s0 dot"]
    radius = float(circle.attrib["r"])
    assert float(right.attrib["cx"]) - float(circle.attrib["cx"]) == pytest.approx(radius, abs=0.2)
    assert float(circle.attrib["cx"]) - float(left.attrib["cx"]) == pytest.approx(radius, abs=0.2)
    assert float(circle.attrib["cy"]) - float(top.attrib["cy"]) == pytest.approx(2 * radius, abs=0.2)
    assert "largest modulus 2" in figure


def test_the_page_is_self_contained_and_escapes_what_the_model_wrote(tmp_path: Path) -> None:
    nasty = '</script><script>alert("x")</script> & <b>'
    report = Report(
        title=nasty,
        lead=nasty,
        keys=[Key("bits", "2.1", nasty)],
        figures=[Figure("Loss", line_chart([Line(nasty, [1, 2], [1.0, 2.0])], STEP, LOSS))],
        samples=[Sample("iteration 100", nasty)],
        equations="i = σ(W x)",
        command="recurra train text " + nasty,
        settings={"model": {"hidden": 64, "tie": True}, "note": nasty},
    )
    page = render(report)
    assert "alert(" in page
    assert "<script>alert" not in page
    assert not re.search(r"""(?:src|href)\s*=|url\(|@import|https?://""", page)
    assert '<th scope="row">model.tie</th><td>true</td>' in page
    write(report, tmp_path / "deep" / "report.html")
    assert (tmp_path / "deep" / "report.html").read_text(encoding="utf-8") == page


def test_settings_read_as_a_person_writes_them() -> None:
    page = render(Report(title="t", settings={"files": ("a.txt", "b.txt"), "at": (), "prompt": "\n", "on": True}))
    cells = [html.unescape(cell) for cell in re.findall("<td>(.*?)</td>", page, re.DOTALL)]
    assert cells == ["a.txt, b.txt", "none", r"'\n'", "true"]


def test_an_empty_report_is_a_page() -> None:
    page = render(Report(title="nothing"))
    assert "<h1>nothing</h1>" in page
    assert "<section>" not in page
