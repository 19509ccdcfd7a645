"""Pictures of matrices: the pixels, read back by another program's decoder, and the errors."""

from __future__ import annotations

import base64
import re
import struct
import xml.etree.ElementTree as ET
import zlib

import numpy as np
import pytest

from recurra.base.errors import ShapeError
from recurra.diagnostics.panels import Panel, panel_chart, png


def decoded(data):
    """Rows of an 8-bit RGB PNG without filters."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at, found = 8, {}
    while at < len(data):
        (size,) = struct.unpack(">I", data[at : at + 4])
        kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + size]
        assert struct.unpack(">I", data[at + 8 + size : at + 12 + size])[0] == zlib.crc32(kind + body)
        found[kind] = body
        at += 12 + size
    columns, rows = struct.unpack(">II", found[b"IHDR"][:8])
    raw = np.frombuffer(zlib.decompress(found[b"IDAT"]), np.uint8).reshape(rows, 1 + 3 * columns)
    assert not raw[:, 0].any()
    return raw[:, 1:].reshape(rows, columns, 3)


def test_png_keeps_every_pixel():
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3)).astype(np.uint8)
    assert (decoded(png(pixels)) == pixels).all()


def test_colours_follow_the_values():
    values = [[0.0, 0.5], [1.0, float("nan")]]
    svg = panel_chart([[Panel("<a> & b", values, "time", "place")], [Panel("other", [[3]], low=0, high=3)]])
    tree = ET.fromstring(svg)
    texts = [node.text for node in tree.iter() if node.tag.endswith("text")]
    assert texts == ["<a> & b", "0 to 1", "time", "place", "other", "0 to 3"]
    images = re.findall(r"base64,([^\"]+)", svg)
    first, second = (decoded(base64.b64decode(image)) for image in images)
    assert first[0, 0].tolist() == [68, 1, 84]
    assert first[0, 1].tolist() == [33, 144, 141]
    assert first[1, 0].tolist() == second[0, 0].tolist() == [253, 231, 37]
    assert first[1, 1].tolist() == [128, 128, 128]


def test_what_cannot_be_drawn():
    with pytest.raises(ShapeError, match=r"'a' must be \(rows, columns\), got \(3,\)"):
        panel_chart([[Panel("a", [1, 2, 3])]])
    with pytest.raises(ShapeError, match="every column needs a panel"):
        panel_chart([[]])
    assert "<image" in panel_chart([[Panel("nothing", [[float("inf")]])]])


def test_its_style_reaches_no_other_picture_of_a_page():
    (style,) = re.findall("<style>(.*)</style>", panel_chart([[Panel("p", [[1, 2]])]]))
    rules = re.findall(r"([^{}]+)\{[^{}]*\}", style.replace("@media(prefers-color-scheme:dark){", ""))
    assert rules
    assert all(rule.startswith(".panels") for rule in rules)
