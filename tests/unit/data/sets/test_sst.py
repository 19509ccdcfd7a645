"""The Stanford Sentiment Treebank as it is published."""

from __future__ import annotations

import gzip

import pytest

from recurra.base.errors import DataError
from recurra.data.sets import sst
from recurra.data.trees import forest


def test_sizes_and_a_sentence(data_dir):
    trees = {part: sst.read(data_dir / "sst", part) for part in ("dev", "test")}
    assert {part: len(found) for part, found in trees.items()} == {"dev": 1101, "test": 2210}
    first = trees["dev"][0]
    assert " ".join(first.words) == "It 's a lovely film with lovely performances by Buy and Accorsi ."
    assert first.labels[0] == "3"
    # The two-class task: sentences that are not neutral, as counted by Socher et al. 2013.
    assert sum(sst.binary(tree.labels[0]) is not None for tree in trees["dev"]) == 872
    assert sum(sst.binary(tree.labels[0]) is not None for tree in trees["test"]) == 1821
    whole = forest(trees["dev"])
    assert whole.arity == 2
    # In a binary tree leaves are one more than inner nodes.
    assert 2 * len(whole.leaves) - whole.trees == whole.nodes


def test_plain_and_packed_files(tmp_path):
    (tmp_path / "dev.txt").write_text("(3 (2 It) (4 works))\n", encoding="utf-8")
    (tmp_path / "test.txt.gz").write_bytes(gzip.compress(b"(3 (2 It) (7 works))\n"))
    (tmp_path / "train.txt").write_text("", encoding="utf-8")
    assert sst.read(tmp_path, "dev")[0].labels == ["3", "2", "4"]
    with pytest.raises(DataError, match="tree 0 has the label '7', expected 0 to 4"):
        sst.read(tmp_path, "test")
    with pytest.raises(DataError, match="holds no trees"):
        sst.read(tmp_path, "train")
    with pytest.raises(DataError, match="part must be one of train, dev, test, got 'valid'"):
        sst.read(tmp_path, "valid")
    with pytest.raises(DataError, match=r"neither dev.txt nor dev.txt.gz is in"):
        sst.read(tmp_path / "none", "dev")
