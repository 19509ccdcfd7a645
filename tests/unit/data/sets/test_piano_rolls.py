"""The reader of piano rolls, on the real chorales where they are and on files that are wrong."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.io import savemat

from recurra.base.errors import DataError
from recurra.data.sets import piano_rolls


def cells(*rolls):
    made = np.empty((1, len(rolls)), object)
    made[0, :] = rolls
    return made


def written(path, **parts):
    savemat(path, parts)
    return path


def roll(steps, value=1.0):
    return np.full((steps, 88), value)


def test_pieces_come_back(tmp_path):
    three = {name: cells(roll(3), roll(5, 0)) for name in ("traindata", "validdata", "testdata")}
    found = piano_rolls.read(written(tmp_path / "a.mat", **three))
    assert [piece.shape for piece in found.train] == [(3, 88), (5, 88)]
    assert found.test[0].dtype == torch.float32
    x, y = piano_rolls.next_frame([torch.arange(4.0)[:, None].expand(4, 88)])[0]
    assert torch.equal(y, x + 1)


@pytest.mark.parametrize(
    ("parts", "fact"),
    [
        ({"traindata": cells(roll(3))}, "holds no validdata, testdata"),
        ({"traindata": cells(roll(3)[:, :80]), "validdata": 1, "testdata": 1}, r"must be \(T, 88\)"),
        ({"traindata": cells(roll(3, 2.0)), "validdata": 1, "testdata": 1}, "other numbers than 0 and 1"),
        ({"traindata": cells(roll(3, np.nan)), "validdata": 1, "testdata": 1}, "other numbers than 0 and 1"),
    ],
)
def test_wrong_contents(tmp_path, parts, fact):
    with pytest.raises(DataError, match=fact):
        piano_rolls.read(written(tmp_path / "a.mat", **parts))


def test_wrong_files(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        piano_rolls.read(tmp_path / "none.mat")
    for name, contents in (("empty.mat", b""), ("text.mat", b"hello " * 99)):
        (tmp_path / name).write_bytes(contents)
        with pytest.raises(DataError, match="cannot be read as a MATLAB file"):
            piano_rolls.read(tmp_path / name)
    whole = written(tmp_path / "whole.mat", traindata=cells(roll(30)), validdata=1, testdata=1).read_bytes()
    (tmp_path / "cut.mat").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError):
        piano_rolls.read(tmp_path / "cut.mat")


def test_the_chorales(data_dir):
    found = piano_rolls.read(data_dir / "polyphonic_music" / "JSB_Chorales.mat")
    assert [len(part) for part in found] == [229, 76, 77]
    train, test = torch.cat(found.train), torch.cat(found.test)
    # Every key with its own frequency, silent keys never: the floor of research/classic.md, 11.09 nats per frame.
    share = (train.sum(0) + 0.5) / (len(train) + 1)
    floor = -(test * share.log() + (1 - test) * (1 - share).log()).sum(1).mean()
    assert abs(float(floor) - 11.09) < 0.1
