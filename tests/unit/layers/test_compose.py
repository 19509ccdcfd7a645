"""Stacks, directions, skips and dropouts against the same thing put together by hand."""

from __future__ import annotations

import pytest
import torch
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pack_sequence, pad_packed_sequence

from recurra.layers import Recurrent
from recurra.layers.sequence import flip

B, T, F = 3, 6, 4
DRAW = torch.Generator().manual_seed(2)
X = torch.randn(B, T, F, generator=DRAW, dtype=torch.float64)
LENGTHS = torch.tensor([4, 6, 1])


def made(cell="gru", **options):
    generator = torch.Generator().manual_seed(4)
    return Recurrent(cell, F, F, generator=generator, **options).double()


def run(layer, index, x, lengths=None):
    """One unit alone."""
    return layer.units[index](x, None, lengths)[0]


MERGES = {
    "concat": lambda a, b: torch.cat((a, b), -1),
    "sum": lambda a, b: a + b,
    "mean": lambda a, b: (a + b) / 2,
    "mul": lambda a, b: a * b,
}


@pytest.mark.parametrize("merge", MERGES)
@pytest.mark.parametrize("lengths", [None, LENGTHS])
def test_two_directions(merge, lengths):
    layer = made(bidirectional=True, merge=merge, num_layers=2)
    below = X if lengths is None else torch.where((torch.arange(T) < lengths[:, None])[..., None], X, 0)
    for index in (0, 2):
        forth = run(layer, index, below, lengths)
        back = flip(run(layer, index + 1, flip(below, lengths), lengths), lengths)
        below = MERGES[merge](forth, back)
    y, state = layer(X, lengths=lengths)
    torch.testing.assert_close(y, below)
    assert layer.output_width == y.shape[2] == (2 * F if merge == "concat" else F)
    assert len(state) == 4


def test_reverse():
    layer = made(reverse=True)
    torch.testing.assert_close(layer(X)[0], run(layer, 0, X.flip(1)).flip(1))


def test_residual():
    layer = made(num_layers=2, residual=True)
    first = run(layer, 0, X) + X
    torch.testing.assert_close(layer(X)[0], run(layer, 1, first) + first)


def test_residual_only_where_the_widths_agree():
    layer = Recurrent("gru", F, 5, 2, residual=True).double()
    first = run(layer, 0, X)
    torch.testing.assert_close(layer(X)[0], run(layer, 1, first) + first)


def test_skip():
    layer = made(num_layers=3, skip=True)
    outputs = [run(layer, 0, X)]
    for index in (1, 2):
        outputs.append(run(layer, index, torch.cat((outputs[-1], X), -1)))
    y, _ = layer(X)
    torch.testing.assert_close(y, torch.cat(outputs, -1))
    assert layer.output_width == y.shape[2] == 3 * F


@pytest.mark.parametrize("options", [{"residual": True}, {"skip": True}, {"residual": True, "skip": True}])
@pytest.mark.parametrize("cell", ["lstm", "jordan"])
def test_steps_are_put_together_alike(options, cell):
    layer = made(cell, num_layers=2, **options)
    whole, final = layer(X)
    state, steps = None, []
    for t in range(T):
        y, state = layer.step(X[:, t], state)
        steps.append(y)
    torch.testing.assert_close(torch.stack(steps, 1), whole)
    torch.testing.assert_close(state, final)


def test_dropout_between_layers_in_training_only():
    layer = made(num_layers=2, dropout=0.5)
    plain = made(num_layers=2)
    assert torch.equal(layer.eval()(X)[0], plain(X)[0])
    layer.train()
    torch.manual_seed(0)
    y, _ = layer(X)
    torch.manual_seed(0)
    below = torch.nn.functional.dropout(run(layer, 0, X), 0.5)
    torch.testing.assert_close(y, run(layer, 1, below))
    assert not torch.equal(y, plain(X)[0])


def test_no_dropout_after_the_last_layer():
    layer = made(dropout=0.9)
    assert torch.equal(layer(X)[0], layer.eval()(X)[0])


def test_recurrent_dropout_is_one_mask_for_all_steps():
    layer = made("elman", recurrent_dropout=0.5)
    torch.manual_seed(1)
    y, _ = layer(X)
    torch.manual_seed(1)
    mask = torch.empty(B, F, dtype=torch.float64).bernoulli_(0.5) / 0.5
    assert set(mask.unique().tolist()) == {0.0, 2.0}
    W, U, b = (layer.units[0].named()[name] for name in "WUb")
    h = torch.zeros(B, F, dtype=torch.float64)
    for t in range(T):
        h = torch.tanh(X[:, t] @ W.t() + (mask * h) @ U.t() + b)
        torch.testing.assert_close(y[:, t], h)


def test_weight_drop_is_one_mask_a_call():
    layer = made("elman", weight_drop=0.5)
    torch.manual_seed(1)
    y, _ = layer(X)
    torch.manual_seed(1)
    W, U, b = (layer.units[0].named()[name] for name in "WUb")
    dropped = torch.nn.functional.dropout(U, 0.5)
    h = torch.zeros(B, F, dtype=torch.float64)
    for t in range(T):
        h = torch.tanh(X[:, t] @ W.t() + h @ dropped.t() + b)
    torch.testing.assert_close(y[:, -1], h)
    assert torch.equal(layer.eval()(X)[0], made("elman")(X)[0])


def test_zoneout_keeps_or_takes_in_training():
    layer, plain = made("elman", zoneout=0.5), made("elman")
    start = torch.full((B, F), 9.0, dtype=torch.float64)
    y, _ = layer(X[:, :1], ((start,),))
    want, _ = plain(X[:, :1], ((start,),))
    kept, taken = y[:, 0] == start, torch.isclose(y[:, 0], want[:, 0])
    assert bool((kept ^ taken).all())
    assert bool(kept.any())
    assert bool(taken.any())


def test_zoneout_is_drawn_anew_each_step():
    layer = made("elman", zoneout=0.5)
    y, _ = layer(torch.zeros(1, 200, F, dtype=torch.float64).normal_())
    kept = (y[:, 1:] == y[:, :-1]).double().mean((0, 1))
    assert bool(((kept > 0.3) & (kept < 0.7)).all())


def test_zoneout_expectation_in_prediction():
    layer, plain = made("lstm", zoneout={"c": 0.25}).eval(), made("lstm")
    draw = torch.Generator().manual_seed(9)
    start = tuple(torch.randn(B, F, generator=draw, dtype=torch.float64) for _ in range(2))
    _, ((h, c),) = layer(X[:, :1], (start,))
    _, ((plain_h, plain_c),) = plain(X[:, :1], (start,))
    torch.testing.assert_close(h, plain_h)
    torch.testing.assert_close(c, 0.25 * start[1] + 0.75 * plain_c)


@pytest.mark.parametrize("options", [{}, {"bidirectional": True}, {"zoneout": 0.1}])
def test_a_learned_initial_state_learns_and_is_what_a_reset_means(options):
    layer = made("lstm", learned_initial_state=True, **options).eval()
    with torch.no_grad():
        for unit in layer.units:
            assert unit.initial is not None
            for value in unit.initial:
                value.normal_()
    resets = torch.zeros(B, T, dtype=torch.bool)
    resets[0, 3] = resets[1, 0] = True
    y, _ = layer(X, resets=resets)
    fresh, _ = layer(X[:1, 3:])
    torch.testing.assert_close(y[:1, 3:], fresh)
    y.sum().backward()
    for unit in layer.units:
        assert unit.initial is not None
        assert all(value.grad is not None and bool((value.grad != 0).all()) for value in unit.initial)
    zero, _ = layer(X, layer.zero_state(B))
    assert not torch.allclose(zero, layer(X)[0])


@pytest.mark.parametrize("enforce_sorted", [True, False])
@pytest.mark.parametrize("options", [{}, {"bidirectional": True, "num_layers": 2}])
def test_packed_is_lengths(enforce_sorted, options):
    layer = made("lstm", **options)
    # Two rows of one length: sorting may not change their order.
    lengths = torch.tensor([6, 4, 4]) if enforce_sorted else torch.tensor([4, 6, 4])
    packed = pack_padded_sequence(X, lengths, batch_first=True, enforce_sorted=enforce_sorted)
    y, state = layer(packed)
    assert isinstance(y, PackedSequence)
    want, want_state = layer(X, lengths=lengths)
    padded, sizes = pad_packed_sequence(y, batch_first=True)
    assert sizes.tolist() == lengths.tolist()
    torch.testing.assert_close(padded, want)
    torch.testing.assert_close(state, want_state)
    for mine, theirs in zip(y[1:], packed[1:], strict=True):
        if mine is None or theirs is None:
            assert mine is theirs
        else:
            assert torch.equal(mine, theirs)


def test_packed_rows_stay_beside_their_targets():
    layer = made()
    rows = [X[0, :4], X[1], X[2, :4]]
    y, _ = layer(pack_sequence(rows, enforce_sorted=False))
    outputs = pack_sequence([layer(row[None])[0][0] for row in rows], enforce_sorted=False)
    torch.testing.assert_close(y.data, outputs.data)
