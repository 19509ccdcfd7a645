"""Encoding, decoding, unseen characters, and the file of a vocabulary."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recurra.base.errors import DataError
from recurra.data.vocabulary import Vocabulary


@given(st.text(min_size=1))
def test_decode_undoes_encode(content):
    vocabulary = Vocabulary.of(content)
    tokens = vocabulary.encode(content)
    assert vocabulary.decode(tokens) == content
    assert len(vocabulary) == len(set(content)) == int(tokens.max()) + 1
    assert Vocabulary.bytes().decode(Vocabulary.bytes().encode(content)) == content


@pytest.mark.parametrize(("size", "dtype"), [(1, "uint8"), (256, "uint8"), (257, "uint16"), (65537, "uint32")])
def test_tokens_are_as_small_as_they_can_be(size, dtype):
    symbols = "".join(map(chr, [*range(0xD800), *range(0xE000, 0xE000 + 65537)][:size]))
    vocabulary = Vocabulary.of(symbols)
    tokens = vocabulary.encode(symbols)
    assert tokens.dtype == vocabulary.dtype == dtype
    assert np.array_equal(tokens, np.arange(size))


def test_unseen_characters_are_named_with_their_positions():
    vocabulary = Vocabulary.of("abc d")
    with pytest.raises(DataError) as caught:
        vocabulary.encode("a☃b☃cé")
    said = str(caught.value)
    assert "the text has 2 characters that the vocabulary of 5 lacks" in said
    assert "'☃' (U+2603) at position 1, 3" in said
    assert "'é' (U+00E9) at position 5" in said


def test_a_long_list_of_unseen_characters_is_cut():
    with pytest.raises(DataError, match="and 12 more") as caught:
        Vocabulary.of("é").encode("abcdefghijklmnopqrst")
    assert len(str(caught.value).splitlines()) < 12


@pytest.mark.parametrize(("unknown", "expected"), [("skip", "a b"), ("replace", "a e'.b d")])
def test_other_ways_with_unseen_characters(unknown, expected):
    vocabulary = Vocabulary.of("abde'. ")
    text = {"skip": "aX\u2603\u00e9 b", "replace": "a\u2603\u00e9\u2019\u2026b D"}[unknown]
    assert vocabulary.decode(vocabulary.encode(text, unknown)) == expected


def test_a_byte_of_the_command_line_that_is_no_text_is_unseen():
    prompt = b"a\xffb".decode("utf-8", "surrogateescape")
    with pytest.raises(DataError, match=r"U\+DCFF\) at position 1"):
        Vocabulary.of("ab").encode(prompt)
    assert Vocabulary.of("ab").encode(prompt, unknown="skip").tolist() == [0, 1]


def test_bytes_of_one_character_wait_for_each_other():
    decoder = Vocabulary.bytes().decoder()
    assert [decoder.push([byte]) for byte in "é€".encode()] == ["", "é", "", "", "€"]
    assert decoder.push([0xE2]) == ""
    assert decoder.end() == "\ufffd"


@pytest.mark.parametrize("vocabulary", [Vocabulary.of('a\n"\\é☃\0\u2028😀'), Vocabulary.bytes()])
def test_save_and_load(tmp_path, vocabulary):
    vocabulary.save(tmp_path / "v.json")
    assert Vocabulary.load(tmp_path / "v.json") == vocabulary


@pytest.mark.parametrize(
    ("content", "fact"),
    [
        ('{"format": 1, "level": "char", "sym', "is not a vocabulary"),
        ('{"format": 1, "level": "char"}', "is not a vocabulary: KeyError"),
        ("[]", "is not a vocabulary"),
        ('{"format": 7, "level": "char", "symbols": "ab"}', "of format 7, this Recurra reads 1"),
        ('{"format": 1, "level": "char", "symbols": "aba"}', "not as they were written"),
        ('{"format": 1, "level": "word", "symbols": "ab"}', "not as they were written"),
    ],
)
def test_a_damaged_file(tmp_path, content, fact):
    (tmp_path / "v.json").write_text(content)
    with pytest.raises(DataError, match=fact):
        Vocabulary.load(tmp_path / "v.json")


def test_the_file_is_plain_json(tmp_path):
    Vocabulary.of("ab").save(tmp_path / "v.json")
    assert json.loads((tmp_path / "v.json").read_text()) == {"format": 1, "level": "char", "symbols": "ab"}
