"""Squares as dark as their numbers."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from recurra.base.errors import ShapeError
from recurra.diagnostics.heatmap import heatmap


def test_shades_and_names():
    picture = heatmap([[0.5, 0.0], [1.0, -1.0]], ["<a>", "b"], ["c", "&"], row_label="out", column_label="in")
    tree = ElementTree.fromstring(picture)
    shades = [float(node.get("fill-opacity")) for node in tree.iter() if node.get("fill-opacity")]
    assert shades == [0.5, 0, 1, 0]
    assert [node.text for node in tree.iter() if node.tag.endswith("text")] == ["<a>", "b", "c", "&", "in", "out"]
    assert re.search(r"<title>b - c: 1</title>", picture)


def test_nothing_to_show():
    ElementTree.fromstring(heatmap([], [], []))
    assert 'fill-opacity="0.000"' in heatmap([[0.0]], ["a"], ["b"])


def test_bad_input():
    with pytest.raises(ShapeError, match="2 rows of 1"):
        heatmap([[1.0]], ["a", "b"], ["c"])
