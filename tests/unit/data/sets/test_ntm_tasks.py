"""The tasks of the neural Turing machine's paper: what stands where, and what it costs to guess."""

from __future__ import annotations

import math

import pytest
import torch

from recurra.base.errors import ConfigError
from recurra.data.sets import associative_recall, ntm_copy, repeat_copy


def generator():
    return torch.Generator().manual_seed(0)


def test_copy():
    x, y, *_ = ntm_copy.batch(5, 4, bits=3, generator=generator())
    assert x.shape == (5, 10, 5)
    assert (x[:, 1:5, :3] == y).all()
    assert x[:, 0].tolist() == [[0, 0, 0, 1, 0]] * 5
    assert x[:, 5].tolist() == [[0, 0, 0, 0, 1]] * 5
    assert not x[:, 6:].any()
    assert set(y.unique().tolist()) == {0, 1}
    seen = {ntm_copy.batch(1, (2, 5), generator=g).y.shape[1] for g in [generator()] for _ in range(60)}
    assert seen == {2, 3, 4, 5}
    again = ntm_copy.batch(5, 4, bits=3, generator=generator())
    assert (again.x == x).all()


def test_bits_of_a_coin_and_of_a_sure_answer():
    _, y, *_ = ntm_copy.batch(7, 20, generator=generator())
    assert float(ntm_copy.bits_per_sequence(torch.zeros(7, 42, 8), y)) == pytest.approx(160, abs=1e-3)
    sure = torch.full((7, 42, 8), 9.0)
    sure[:, 22:] = (2 * y - 1) * math.log(3)
    assert float(ntm_copy.bits_per_sequence(sure, y)) == pytest.approx(160 * math.log2(4 / 3), abs=1e-3)


def test_repeat_copy():
    x, y, *_ = repeat_copy.batch(3, 2, 4, bits=5, generator=generator())
    assert x.shape == (3, 13, 7)
    assert y.shape == (3, 9, 6)
    for time in range(4):
        assert (y[:, 2 * time : 2 * time + 2, :5] == x[:, 1:3, :5]).all()
    assert (y[:, :, 5] == torch.tensor([0] * 8 + [1])).all()
    assert (x[:, 3, 6] == repeat_copy.scaled(4)).all()
    assert not x[:, 4:].any()
    numbers = repeat_copy.scaled(torch.arange(1, 11))
    assert float(numbers.mean()) == pytest.approx(0, abs=1e-6)
    assert float(numbers.std(correction=0)) == pytest.approx(1, abs=1e-6)


def test_associative_recall():
    x, y, *_ = associative_recall.batch(50, 4, generator=generator())
    assert x.shape == (50, 4 * 4 + 8, 8)
    shown = x[:, :16].view(50, 4, 4, 8)
    assert (shown[:, :, 0, 6] == 1).all()
    assert (x[:, 16, 7] == 1).all()
    assert (x[:, 20, 7] == 1).all()
    assert not x[:, 21:].any()
    asked, places = x[:, 17:20, :6], set()
    for row in range(50):
        found = [item for item in range(3) if (shown[row, item, 1:, :6] == asked[row]).all()]
        assert any((shown[row, item + 1, 1:, :6] == y[row]).all() for item in found)
        places.update(found)
    assert places == {0, 1, 2}


@pytest.mark.parametrize(
    ("make", "fact"),
    [
        (lambda: ntm_copy.batch(1, 0), r"ntm_copy.batch: .*lengths 0..0"),
        (lambda: ntm_copy.batch(1, (5, 2)), "lengths 5..2"),
        (lambda: ntm_copy.batch(0, 1), "batch_size 0"),
        (lambda: repeat_copy.batch(1, 1, (0, 3)), r"repeat_copy.batch: .*\(0, 3\)"),
        (lambda: associative_recall.batch(1, 1), "items 1..1 from 2"),
        (lambda: associative_recall.batch(1, 3, vectors=0), "vectors 0"),
    ],
)
def test_errors(make, fact):
    with pytest.raises(ConfigError, match=fact):
        make()
