"""Corpora in memory and memory-mapped, their splits, and short ones."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys

import numpy as np
import pytest

from recurra.base.errors import DataError
from recurra.data import corpus, text
from recurra.data.vocabulary import Vocabulary


def test_a_file_and_a_text_give_the_same(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("to be or not to be")
    read, made = corpus.read([path]), corpus.from_text("to be or not to be")
    assert np.array_equal(read.tokens, made.tokens)
    assert read.vocabulary == made.vocabulary
    assert read.vocabulary.decode(read.tokens) == "to be or not to be"


@pytest.mark.parametrize("level", ["char", "byte"])
def test_a_mapped_corpus_is_the_same_as_one_in_memory(tmp_path, level):
    files = [tmp_path / "a.txt", tmp_path / "b.txt"]
    files[0].write_text("schön " * 50)
    files[1].write_text("häßlich " * 50)
    inside = corpus.read(files, level)
    mapped = corpus.read(files, level, cache=tmp_path / "cache", in_memory_bytes=100)
    assert isinstance(mapped.tokens, np.memmap)
    assert np.array_equal(mapped.tokens, inside.tokens)
    assert mapped.vocabulary == inside.vocabulary
    assert mapped.split().train.base is not None


def test_the_cache_serves_again_until_a_file_changes(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    path.write_text("abc" * 100)
    settings = {"cache": tmp_path / "cache", "in_memory_bytes": 10}
    first = corpus.read([path], **settings)
    with monkeypatch.context() as patch:
        patch.setattr(Vocabulary, "encode", lambda *_: pytest.fail("tokenised again"))
        assert np.array_equal(corpus.read([path], **settings).tokens, first.tokens)
    path.write_text("xyz" * 100)
    assert corpus.read([path], **settings).vocabulary.symbols == "xyz"
    (tmp_path / "cache" / "tokens.bin").write_bytes(b"cut")
    assert len(corpus.read([path], **settings).tokens) == 300
    (tmp_path / "cache" / "tokens.json").write_text("{")
    assert len(corpus.read([path], **settings).tokens) == 300


def test_a_full_disk_leaves_no_half_cache(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(os.urandom(200_000))
    code = f"from recurra.data import corpus; corpus.read([{str(path)!r}], 'byte', cache={str(tmp_path / 'c')!r}, "
    code += "in_memory_bytes=10)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        # A limit on file size is what a test can set; the write fails as it does on a full disk.
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)),
    )
    assert "DataError" in done.stderr
    assert "could not be written: File too large" in done.stderr
    assert list((tmp_path / "c").iterdir()) == []


def test_a_given_vocabulary_decides(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("abxc")
    vocabulary = Vocabulary.of("abc")
    with pytest.raises(DataError, match=r"'x' \(U\+0078\) at position 2"):
        corpus.read([path], vocabulary=vocabulary)
    assert corpus.read([path], vocabulary=vocabulary, unknown="skip").tokens.tolist() == [0, 1, 2]


@pytest.mark.parametrize("level", ["char", "byte"])
@pytest.mark.parametrize(("content", "fact"), [("", "is empty"), ("x", "has a single character")])
def test_too_short_to_predict_anything(tmp_path, content, fact, level):
    (tmp_path / "a.txt").write_text(content)
    with pytest.raises(DataError, match=f"a.txt: {fact}"):
        corpus.read([tmp_path / "a.txt"], level)


def test_no_files():
    with pytest.raises(DataError, match="no text files were named"):
        corpus.read([])


def test_splits_are_consecutive_and_complete():
    parts = corpus.from_text("0123456789" * 10).split(0.8, 0.1)
    assert [len(part) for part in parts] == [80, 10, 10]
    assert np.array_equal(np.concatenate(parts), corpus.from_text("0123456789" * 10).tokens)
    assert [len(part) for part in corpus.from_text("ab" * 10).split(1.0)] == [20, 0, 0]


def test_splits_that_cannot_be():
    with pytest.raises(DataError, match="the validation part has 1 token of 10"):
        corpus.from_text("0123456789").split()
    with pytest.raises(DataError, match=r"fractions that sum to <= 1"):
        corpus.from_text("0123456789").split(0.9, 0.2)


def test_memory_stays_flat(tmp_path):
    """Reading 64 MB of text takes less memory than the text has, beyond what the imports took."""
    path = tmp_path / "big.txt"
    with path.open("w") as file:
        for _ in range(64):
            file.write("the quick brown fox.\n" * 50_000)
    code = """
import json, resource, sys
from recurra.data import corpus, text
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
got = corpus.read([sys.argv[1]], cache=sys.argv[2], in_memory_bytes=1 << 20)
print(json.dumps([len(got.tokens), (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, path, tmp_path / "cache"], capture_output=True, text=True, check=True
    )
    count, grown_mib = json.loads(done.stdout)
    assert count == path.stat().st_size
    assert grown_mib < 0.75 * count / 2**20


def test_an_unseen_character_is_told_by_file_and_position(tmp_path, monkeypatch):
    first, second = tmp_path / "a.txt", tmp_path / "b.txt"
    first.write_text("abab")
    second.write_text("ababababab?b")
    real = text.character_blocks
    monkeypatch.setattr("recurra.data.corpus.character_blocks", lambda paths: real(paths, 3))
    with pytest.raises(DataError, match=r"b\.txt: the text has 1 character .*\n  '\?' \(U\+003F\) at position 10\n"):
        corpus.read([first, second], vocabulary=Vocabulary.of("ab"))
