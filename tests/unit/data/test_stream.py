"""Streams count every target, restart, and resume bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from recurra.base.errors import DataError
from recurra.base.rng import stream
from recurra.data.batch import Batch
from recurra.data.buckets import BucketStream
from recurra.data.stream import EpochStream, TokenStream
from recurra.data.windows import WindowStream


def valid_targets(batch: Batch) -> list[int]:
    lengths = batch.lengths if batch.lengths is not None else torch.full((len(batch.y),), batch.y.shape[1])
    return [int(y) for row, length in zip(batch.y, lengths, strict=True) for y in row[: int(length)]]


def same(one: Batch, other: Batch) -> bool:
    def equal(a: torch.Tensor | None, b: torch.Tensor | None) -> bool:
        return a is b if a is None or b is None else torch.equal(a, b)

    return one.first == other.first and all(map(equal, one[:4], other[:4]))


@given(st.integers(2, 80), st.integers(1, 6), st.integers(1, 9))
def test_evaluation_counts_every_target_once(size, batch_size, chunk):
    assume(size - 1 >= batch_size)
    tokens = np.arange(size, dtype=np.uint8)
    batches = list(TokenStream(tokens, batch_size, chunk, shuffle=False))
    targets = sorted(target for batch in batches for target in valid_targets(batch))
    assert targets == list(range(1, size))
    assert sum(batch.count() for batch in batches) == size - 1
    assert all(batch.lengths is None or int(batch.lengths.min()) >= 1 for batch in batches)
    for batch in batches:
        assert batch.x.dtype == torch.int64
        assert valid_targets(batch) == valid_targets(batch._replace(y=batch.x + 1))


@given(st.integers(2, 300), st.integers(1, 6), st.integers(1, 9), st.integers(0, 5))
def test_training_reads_each_row_on_without_a_gap(size, batch_size, chunk, seed):
    assume(size - 1 >= batch_size * chunk)
    source = TokenStream(np.arange(size), batch_size, chunk, generator=stream(seed, "data"))
    batches = list(source)
    assert len(batches) == len(source)
    assert [batch.first for batch in batches] == [True] + [False] * (len(batches) - 1)
    rows = torch.cat([batch.x for batch in batches], 1)
    assert torch.equal(rows, rows[:, :1] + torch.arange(rows.shape[1]))
    assert torch.equal(torch.cat([batch.y for batch in batches], 1), rows + 1)
    assert torch.equal(rows[1:, 0], rows[:-1, -1] + 1)
    assert source.targets == rows.numel() > size - 1 - chunk - batch_size


def test_the_offset_changes_from_epoch_to_epoch():
    source = TokenStream(np.arange(1000), 4, 16, generator=stream(0, "data"))
    assert len({int(next(iter(list(source))).x[0, 0]) for _ in range(20)}) > 5


def test_rows_restart_with_the_given_probability():
    source = TokenStream(np.zeros(40_001), 8, 5, generator=stream(0, "data"), reset_probability=0.03)
    batches = list(source)
    assert batches[0].resets is None
    marked = [batch.resets for batch in batches if batch.resets is not None]
    assert all(not bool(resets[:, 1:].any()) for resets in marked)
    share = sum(int(resets.sum()) for resets in marked) / (len(batches) * 8)
    assert 0.025 < share < 0.035
    assert all(batch.resets is None for batch in TokenStream(np.zeros(4001), 8, 5))


def streams() -> list[EpochStream]:
    sequences = [(torch.arange(n), torch.arange(n)) for n in range(1, 24)]
    return [
        TokenStream(np.arange(400), 3, 7, generator=stream(1, "data"), reset_probability=0.3),
        WindowStream(np.arange(400), 7, 3, generator=stream(1, "data")),
        BucketStream(sequences, 2, generator=stream(1, "data")),
    ]


@pytest.mark.parametrize("kind", range(3), ids=["tokens", "windows", "buckets"])
@pytest.mark.parametrize("stop", [0, 1, 5, -1, "end"])
def test_a_resumed_stream_continues_bit_for_bit(kind, stop):
    source, resumed = streams()[kind], streams()[kind]
    expected = [batch for _ in range(3) for batch in source]
    size = len(source)
    stop = size if stop == "end" else stop % size
    interrupted = streams()[kind]
    seen = list(interrupted)
    if stop:
        for index, batch in enumerate(interrupted, start=1):
            seen.append(batch)
            if index == stop:
                break
    state = interrupted.state_dict()
    # A stream of its own, with another history, is put in the same place.
    list(resumed)
    resumed.load_state_dict(state)
    seen += list(resumed)
    if len(seen) < 3 * size:
        seen += list(resumed)
    assert resumed.epoch == 3
    assert len(seen) == len(expected)
    assert all(same(one, other) for one, other in zip(seen, expected, strict=True))


def test_an_iteration_left_in_the_middle_goes_on_or_begins_anew():
    source = TokenStream(np.arange(100), 1, 10, shuffle=False)
    next(iter(source))
    assert next(iter(source)).x[0, 0] == 10
    source.restart()
    assert next(iter(source)).first


def test_a_state_of_another_stream_is_refused():
    state = {"epoch": 0, "index": 50, "generator": torch.Generator().get_state()}
    with pytest.raises(DataError, match="cannot continue at batch 50: an epoch has 10 batches here"):
        TokenStream(np.arange(101), 1, 10, shuffle=False).load_state_dict(state)


@pytest.mark.parametrize(
    ("size", "hint"),
    [
        (100, "the largest that fits: batch_size=9 or chunk=4."),
        (11, "the largest that fits: batch_size=1."),
        (5, "the largest that fits: batch_size=1 with chunk=4."),
        (1, "the largest that fits: a longer text."),
    ],
)
def test_a_text_shorter_than_one_batch_says_what_fits(size, hint):
    with pytest.raises(DataError) as caught:
        TokenStream(np.arange(size), 20, 10)
    assert f"20 rows x 10 steps want 201 tokens, there are {size}" in str(caught.value)
    assert hint in str(caught.value)


def test_sizes_that_make_no_sense():
    with pytest.raises(DataError, match="chunk must be at least 1, got 0"):
        TokenStream(np.arange(10), 1, 0)
    with pytest.raises(DataError, match="reset_probability must be from 0 to 1, got 2"):
        TokenStream(np.arange(10), 1, 1, reset_probability=2)


def test_windows_are_all_there_and_independent():
    source = WindowStream(np.arange(50), 5, 4, stride=3, generator=stream(0, "data"))
    batches = list(source)
    assert all(batch.first for batch in batches)
    rows = torch.cat([batch.x for batch in batches])
    assert sorted(rows[:, 0].tolist()) == list(range(0, 45, 3))
    assert rows[:, 0].tolist() != sorted(rows[:, 0].tolist())
    assert all(torch.equal(batch.y, batch.x + 1) for batch in batches)


def test_a_text_shorter_than_one_window():
    with pytest.raises(DataError, match="length=3 is the most that fits"):
        WindowStream(np.arange(4), 4, 1)


def test_buckets_pad_little_and_lose_nothing():
    chance = torch.Generator().manual_seed(0)
    lengths = torch.randint(1, 200, (300,), generator=chance).tolist()
    pairs = [(torch.full((n, 2), float(i)), torch.tensor(i)) for i, n in enumerate(lengths)]
    source = BucketStream(pairs, 8, generator=stream(0, "data"))
    batches = list(source)
    assert sorted(int(y) for batch in batches for y in batch.y) == list(range(300))
    for batch in batches:
        assert batch.lengths is not None
        for x, y, length in zip(batch.x, batch.y, batch.lengths, strict=True):
            assert int(length) == lengths[int(y)]
            assert bool((x[:length] == y).all())
            assert not bool(x[length:].any())
    padding = 1 - sum(lengths) / sum(batch.x.shape[0] * batch.x.shape[1] for batch in batches)
    assert padding < 0.12


def test_unshuffled_buckets_say_their_order():
    pairs = [(torch.arange(n), torch.arange(n)) for n in (2, 5, 3)]
    source = BucketStream(pairs, 2, shuffle=False)
    assert source.order == [1, 2, 0]
    assert [batch.x.tolist() for batch in source] == [[[0, 1, 2, 3, 4], [0, 1, 2, 0, 0]], [[0, 1]]]


def test_buckets_refuse_what_they_cannot_hold():
    with pytest.raises(DataError, match="sequence 1 is empty"):
        BucketStream([(torch.arange(2), torch.arange(2)), (torch.arange(0), torch.arange(0))], 2)
    with pytest.raises(DataError, match="at least one row and one sequence, got 2 and 0"):
        BucketStream([], 2)


def test_a_batch_moves_whole():
    batch = Batch(torch.zeros(2, 3), torch.zeros(2, 3), torch.tensor([3, 1]))
    assert batch.count() == 4
    assert batch._replace(lengths=None).count() == 6
    doubled = batch.map(lambda tensor: tensor.double())
    assert doubled.x.dtype == doubled.y.dtype == torch.float64
    assert doubled.resets is None
