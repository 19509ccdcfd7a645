"""Temporal order, adding, copy memory, XOR in time, counting: what the papers say of each, checked on many draws."""

from __future__ import annotations

import math

import pytest
import torch

from recurra.base.errors import ConfigError, DataError
from recurra.data.sets import adding, copy_memory, counting, temporal_order, xor_sequence


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(("relevant", "ranges"), [(2, [(10, 20), (50, 60)]), (3, [(10, 20), (33, 43), (66, 76)])])
def test_temporal_order_is_that_of_1997(relevant: int, ranges: list[tuple[int, int]]) -> None:
    batch = temporal_order.batch(3000, relevant, generator=seeded())
    assert batch.lengths is not None
    assert (int(batch.lengths.min()), int(batch.lengths.max())) == (100, 110)
    places: list[set[int]] = [set() for _ in ranges]
    for row, (x, length, wanted) in enumerate(zip(batch.x, batch.lengths.tolist(), batch.y.tolist(), strict=True)):
        text = "".join(temporal_order.SYMBOLS[index] for index in x[:length].argmax(-1).tolist())
        assert text[0] == "E"
        assert text[-1] == "B"
        found = [(at, symbol) for at, symbol in enumerate(text) if symbol in "XY"]
        assert len(found) == relevant, row
        assert set(text[1:-1]) <= set("abcdXY")
        code = int("".join("01"[symbol == "Y"] for _, symbol in found), 2)
        assert code == wanted
        for place, (at, _) in zip(places, found, strict=True):
            place.add(at)
        assert not x[length:].any()
    # Every place of the paper's ranges occurs, and no other.
    assert [(min(place), max(place), len(place)) for place in places] == [(low, high, 11) for low, high in ranges]
    assert torch.bincount(batch.y).min() > 3000 / 2**relevant * 0.8


def test_adding_has_the_error_that_theory_gives() -> None:
    batch = adding.batch(20000, 50, seeded())
    marks = batch.x[..., 1]
    assert torch.equal(marks[:, :25].sum(1), torch.ones(20000))
    assert torch.equal(marks[:, 25:].sum(1), torch.ones(20000))
    assert set(marks.unique().tolist()) == {0.0, 1.0}
    torch.testing.assert_close((batch.x[..., 0] * marks).sum(1, keepdim=True), batch.y)
    # The variance of a sum of two uniform numbers: 1/6, and not the .1767 that is often quoted.
    error = (batch.y - 1).square()
    assert abs(float(error.mean()) - 1 / 6) < 5 * float(error.std()) / math.sqrt(20000)
    assert adding.BASELINE == 1 / 6


def test_adding_as_in_1997() -> None:
    batch = adding.batch_1997(20000, 100, seeded())
    assert batch.lengths is not None
    assert (int(batch.lengths.min()), int(batch.lengths.max())) == (100, 110)
    marks, numbers = batch.x[..., 1], batch.x[..., 0]
    assert torch.equal((marks == 1).sum(1), torch.full((20000,), 2))
    ends = marks[torch.arange(20000), batch.lengths - 1]
    assert bool((ends == -1).all())
    first = marks[:, 0]
    assert bool(((first == -1) | (first == 1)).all())
    # Where the first step is marked its number is 0.
    assert bool((numbers[first == 1, 0] == 0).all())
    places = (marks == 1).float().nonzero()[:, 1].view(-1, 2)
    assert int(places.min()) == 0
    assert int(places[:, 0].max()) <= 9
    assert int(places.max()) == 49
    total = (numbers * (marks == 1)).sum(1, keepdim=True)
    torch.testing.assert_close(batch.y, 0.5 + total / 4)
    # Uniform on [-1, 1] has variance 1/3; a sixteenth of two of them is 1/24. A tenth of the first marks and some of
    # the second are set to 0, which takes a little off.
    assert abs(float((batch.y - 0.5).square().mean()) - 1 / 24) < 0.004
    assert bool((batch.y >= 0).all() and (batch.y <= 1).all())


def test_copy_memory_and_its_baseline() -> None:
    batch = copy_memory.batch(2000, 30, seeded())
    shown = batch.x.argmax(-1)
    assert shown.shape == (2000, 50)
    assert torch.equal(batch.y[:, -10:], shown[:, :10])
    assert bool((batch.y[:, :-10] == 8).all())
    assert bool((shown[:, 10:39] == 8).all())
    assert bool((shown[:, 39] == 9).all())
    assert bool((shown[:, 40:] == 8).all())
    assert torch.bincount(shown[:, :10].flatten(), minlength=8)[:8].min() > 2000 * 10 / 8 * 0.9
    # The answer that remembers nothing: certain of the blanks, 1/8 for each symbol at the end.
    logits = torch.full((2000, 50, 10), -1e4)
    logits[:, :-10, 8] = 0
    logits[:, -10:, :8] = 0
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch.y.flatten())
    assert float(loss) == pytest.approx(copy_memory.baseline(30), rel=1e-5)
    assert copy_memory.baseline(1000) == pytest.approx(0.02039, abs=5e-6)


def test_xor_comes_at_every_third_step() -> None:
    batch = xor_sequence.batch(50, 40, seeded())
    bits = torch.cat([batch.x, batch.y[:, -1:]], 1)[..., 0].view(50, 40, 3).long()
    assert torch.equal(bits[..., 0] ^ bits[..., 1], bits[..., 2])
    assert abs(float(bits[..., :2].float().mean()) - 0.5) < 5 * 0.5 / math.sqrt(4000)
    # The two free bits are independent: all four pairs are equally frequent.
    pairs = torch.bincount((2 * bits[..., 0] + bits[..., 1]).flatten(), minlength=4)
    assert pairs.min() > 500 * 0.8


@pytest.mark.parametrize("letters", [2, 3])
def test_counting_by_enumeration(letters: int) -> None:
    """The sets of next symbols from the language itself: all strings that begin as this one does."""
    names = counting.symbols(letters)
    language = ["S" + "".join(letter * n for letter in "abc"[:letters]) + "T" for n in range(1, 12)]
    for n in range(1, 6):
        x, y = counting.pair(n, letters)
        text = language[n - 1]
        assert "".join(names[index] for index in x.argmax(-1).tolist()) == text[:-1]
        for at in range(len(text) - 1):
            following = {other[at + 1] for other in language if other.startswith(text[: at + 1])}
            said = {name for name, on in zip(names, y[at].tolist(), strict=True) if on}
            assert said == following, (text, at)


@pytest.mark.parametrize(
    "call",
    [
        lambda: temporal_order.batch(1, 5),
        lambda: adding.batch(0, 10),
        lambda: adding.batch_1997(1, 20),
        lambda: copy_memory.batch(1, 0),
        lambda: xor_sequence.batch(1, 0),
        lambda: counting.pair(0),
        lambda: counting.batch([]),
        lambda: counting.symbols(4),
    ],
)
def test_impossible_sizes_are_refused(call) -> None:
    with pytest.raises((ConfigError, DataError), match=r"got|no n was given"):
        call()
