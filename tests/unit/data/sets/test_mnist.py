"""idx files, and MNIST as it is published."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
import torch

from recurra.base.errors import DataError
from recurra.data.sets import mnist


def test_the_published_files(data_dir):
    images, digits = mnist.read(data_dir / "mnist", "test")
    assert images.shape == (10000, 28, 28, 1)
    assert images.dtype == torch.float32
    assert float(images.max()) == 1.0
    assert digits[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    # The mean and deviation that everybody normalises by are those of the 60,000; these images lie close to them.
    assert float(images.mean()) == pytest.approx(0.1307, abs=0.003)
    assert digits.bincount().tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


def test_every_type(tmp_path):
    for code, kind in ((0x08, ">u1"), (0x09, ">i1"), (0x0B, ">i2"), (0x0C, ">i4"), (0x0D, ">f4"), (0x0E, ">f8")):
        array = np.arange(6).reshape(2, 3).astype(kind)
        header = bytes([0, 0, code, 2]) + np.array([2, 3], ">i4").tobytes()
        (tmp_path / "a.idx").write_bytes(header + array.tobytes())
        (tmp_path / "a.idx.gz").write_bytes(gzip.compress(header + array.tobytes()))
        for name in ("a.idx", "a.idx.gz"):
            read = mnist.read_idx(tmp_path / name)
            assert read.dtype.isnative
            assert read.tolist() == array.tolist()


def test_damaged_files(tmp_path):
    path = tmp_path / "bad"
    for raw, fact in (
        (b"", "is no idx file"),
        (b"\0\0\7\1\0\0\0\1x", "is no idx file"),
        (b"\0\0\x08\1\0\0\0\5abc", "holds 3 bytes, its header says 5"),
        (b"\0\0\x08\3\0\0\0\5", "its header says"),
    ):
        path.write_bytes(raw)
        with pytest.raises(DataError, match=fact):
            mnist.read_idx(path)
    (tmp_path / "bad.gz").write_bytes(b"no gzip")
    with pytest.raises(DataError, match="is damaged"):
        mnist.read_idx(tmp_path / "bad.gz")
    with pytest.raises(DataError, match=r"neither train-images-idx3-ubyte nor train-images-idx3-ubyte.gz is in"):
        mnist.read(tmp_path)
    with pytest.raises(DataError, match="part must be train or test"):
        mnist.read(tmp_path, "dev")
