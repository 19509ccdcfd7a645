"""Ragged batches and restarts, against loops over rows and steps."""

from __future__ import annotations

import itertools

import pytest
import torch

from recurra.layers import Recurrent
from recurra.layers.sequence import flip, flip_resets, last_valid, valid_mask

B, T, F = 4, 6, 3
DRAW = torch.Generator().manual_seed(6)
X = torch.randn(B, T, F, generator=DRAW, dtype=torch.float64)
RAGGED = torch.tensor([6, 3, 1, 0])


@pytest.mark.parametrize("lengths", [None, RAGGED])
def test_flip(lengths):
    have = flip(X, lengths)
    for row in range(B):
        size = T if lengths is None else int(lengths[row])
        assert torch.equal(have[row, :size], X[row, :size].flip(0))
        assert torch.equal(have[row, size:], X[row, size:])
    assert torch.equal(flip(have, lengths), X)


@pytest.mark.parametrize("lengths", [None, RAGGED])
def test_last_valid(lengths):
    have = last_valid(X, lengths)
    for row in range(B):
        size = T if lengths is None else int(lengths[row])
        assert torch.equal(have[row], X[row, size - 1] if size else torch.zeros(F, dtype=torch.float64))


def test_valid_mask():
    assert valid_mask(RAGGED, T).tolist() == [[t < size for t in range(T)] for size in RAGGED]


@pytest.mark.parametrize("lengths", [None, RAGGED])
def test_flip_resets(lengths):
    """A border between two steps is met from the other side: before the earlier of the two is read."""
    resets = torch.rand(B, T, generator=torch.Generator().manual_seed(1)) < 0.4
    have = flip_resets(resets, lengths)
    for row in range(B):
        size = T if lengths is None else int(lengths[row])
        for t in range(1, size):
            # Step t - 1 is the one that the backward reader reads at size - t.
            assert have[row, size - t] == resets[row, t]


def pieces(resets, size):
    """The spans of a row between its restarts."""
    starts = [0, *[t for t in range(1, size) if resets[t]], size]
    return [slice(a, b) for a, b in itertools.pairwise(starts) if b > a]


@pytest.mark.parametrize("cell", ["lstm", "gru_v1"])
@pytest.mark.parametrize("options", [{}, {"reverse": True}, {"bidirectional": True, "num_layers": 1}])
@pytest.mark.parametrize("lengths", [None, RAGGED])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_reset_is_a_fresh_state(cell, options, lengths, seed):
    layer = Recurrent(cell, F, 4, **options).double()
    resets = torch.rand(B, T, generator=torch.Generator().manual_seed(seed)) < 0.3
    resets[:, 0] = True
    # What is carried in must not matter behind a restart; a backward reader keeps it up to the first one.
    carried = (
        None
        if layer.reverse or layer.bidirectional
        else tuple(type(part)(*(torch.randn_like(leaf) for leaf in part)) for part in layer.zero_state(B))
    )
    y, _ = layer(X, carried, lengths=lengths, resets=resets)
    for row in range(B):
        size = T if lengths is None else int(lengths[row])
        assert bool((y[row, size:] == 0).all())
        for span in pieces(resets[row], size):
            torch.testing.assert_close(y[row, span], layer(X[row : row + 1, span])[0][0])


@pytest.mark.parametrize("options", [{}, {"reverse": True}])
@pytest.mark.parametrize("backend", ["reference", None])
def test_restarts_on_the_padding_do_nothing(options, backend):
    layer = Recurrent("lstm", F, 4, backend=backend, **options).double()
    state = tuple(type(part)(*(torch.randn_like(leaf) for leaf in part)) for part in layer.zero_state(B))
    resets = ~valid_mask(RAGGED, T)
    y, final = layer(X, state, lengths=RAGGED, resets=resets)
    want, want_final = layer(X, state, lengths=RAGGED)
    torch.testing.assert_close(y, want)
    torch.testing.assert_close(final, want_final)
    # A row without any step keeps what it came with.
    assert torch.equal(final[0].c[3], state[0].c[3])


def test_lengths_as_a_list():
    layer = Recurrent("gru", F, 4).double()
    assert torch.equal(layer(X, lengths=RAGGED.tolist())[0], layer(X, lengths=RAGGED)[0])
