"""Reading files in blocks, and every way a file can be wrong."""

from __future__ import annotations

import gzip
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recurra.base.errors import DataError
from recurra.data import text


@given(content=st.text(max_size=60), block_bytes=st.integers(1, 7))
def test_blocks_join_to_the_text(tmp_path_factory, content, block_bytes):
    path = tmp_path_factory.mktemp("text") / "a.txt"
    path.write_bytes(content.encode())
    assert "".join(text.character_blocks([path], block_bytes)) == content.removeprefix("\ufeff")


def test_files_follow_each_other_and_line_ends_stay(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfone\r\n")
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress("zwö\n".encode()))
    assert "".join(text.character_blocks([tmp_path / "a.txt", tmp_path / "b.txt.gz"], 2)) == "one\r\nzwö\n"


@pytest.mark.parametrize("block_bytes", [1, 3, 4096])
@pytest.mark.parametrize(
    ("content", "offset", "wrong"),
    [
        (b"caf\xe9 au lait", 3, "e9 20 61 75"),
        (b"\xef\xbb\xbfab\xff", 5, "ff"),
        ("naïve".encode() + b"\xc3", 6, "c3"),
        (b"\xed\xa0\x80", 0, "ed"),
    ],
)
def test_invalid_utf8_names_file_offset_bytes_and_fix(tmp_path, content, offset, wrong, block_bytes):
    path = tmp_path / "a.txt"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        list(text.character_blocks([path], block_bytes))
    said = str(caught.value)
    assert f"{path}: is not UTF-8 at byte offset {offset}: {wrong.split()[0]}" in said
    if block_bytes == 4096:
        assert f": {wrong}" in said
    assert f"iconv -f WINDOWS-1252 -t UTF-8 {path}" in said
    assert "--level byte" in said


def test_the_advice_knows_utf16_and_gzip(tmp_path):
    (tmp_path / "a.txt").write_bytes("hello".encode("utf-16"))
    with pytest.raises(DataError, match="iconv -f UTF-16"):
        list(text.character_blocks([tmp_path / "a.txt"]))
    (tmp_path / "b.txt").write_bytes(gzip.compress(b"hello"))
    with pytest.raises(DataError, match=r"rename it to b\.txt\.gz"):
        list(text.character_blocks([tmp_path / "b.txt"]))


def test_files_that_cannot_be_read(tmp_path):
    (tmp_path / "cut.gz").write_bytes(gzip.compress(os.urandom(1000))[:500])
    os.mkfifo(tmp_path / "pipe")
    for name, fact in {
        "missing.txt": "no such file",
        "": "is a folder",
        "cut.gz": "is a damaged gzip file",
        "pipe": "is not a regular file",
    }.items():
        with pytest.raises(DataError, match=fact):
            list(text.byte_blocks(tmp_path / name))


def test_a_file_that_is_not_there_names_those_that_are(tmp_path):
    (tmp_path / "alice.txt").write_text("text")
    with pytest.raises(DataError, match=r"alcie\.txt: no such file\.\n  Files in .*: alice\.txt"):
        list(text.byte_blocks(tmp_path / "alcie.txt"))
    with pytest.raises(DataError, match="There is no folder"):
        list(text.byte_blocks(tmp_path / "none" / "alice.txt"))


def test_binary_files_are_not_to_be_converted(tmp_path):
    path = tmp_path / "program"
    path.write_bytes(b"\x7fELF\x00\x00\xf0\x01")
    with pytest.raises(DataError, match="looks like no text at all; read it as bytes: --level byte"):
        list(text.character_blocks([path]))
