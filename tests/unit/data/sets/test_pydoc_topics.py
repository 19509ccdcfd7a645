"""The text that is on every machine."""

from __future__ import annotations

import sys

import pytest

from recurra.base.errors import DataError
from recurra.data.sets import pydoc_topics


def test_it_is_long_english_and_always_the_same():
    text = pydoc_topics.text()
    assert len(text) > 300_000
    assert text.count(" the ") > 3_000
    assert text == pydoc_topics.text()


def test_a_python_without_it_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    with pytest.raises(DataError, match="installed without pydoc_data"):
        pydoc_topics.text()
