"""Both forms of the bidirectional net: torch.nn's joined layers, and Schuster and Paliwal's separate stacks."""

from __future__ import annotations

import pytest
import torch
from tests.tolerances import assert_close
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from recurra.base.errors import ConfigError, ShapeError
from recurra.base.state import leaves
from recurra.layers import Recurrent
from recurra.layers.bidirectional import Bidirectional

B, T, F, H = 4, 9, 3, 5
LENGTHS = torch.tensor([9, 1, 4, 7])


def draw(dtype=torch.float64):
    return torch.randn(B, T, F, generator=torch.Generator().manual_seed(1), dtype=dtype)


def made(cell="lstm", **options):
    return Bidirectional(cell, F, H, generator=torch.Generator().manual_seed(2), **options).double()


MODULES = {
    "lstm": nn.LSTM,
    "gru": nn.GRU,
    "elman": nn.RNN,
}


@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("cell", MODULES)
def test_the_joined_form_is_torchs_packed_or_not(cell, layers):
    torch.manual_seed(0)
    module = MODULES[cell](F, H, layers, bidirectional=True, batch_first=True).double()
    ours = Recurrent.from_torch(module)
    x = draw()
    want, _ = module(x)
    assert_close(ours(x)[0], want, "value", "dense")
    packed = pack_padded_sequence(x, LENGTHS, batch_first=True, enforce_sorted=False)
    theirs, final = module(packed)
    have, state = ours(packed)
    assert torch.equal(have.batch_sizes, theirs.batch_sizes)
    assert_close(have.data, theirs.data, "value", "packed")
    want, _ = pad_packed_sequence(theirs, batch_first=True)
    assert_close(ours(x, lengths=LENGTHS)[0], want, "value", "ragged")
    final = final if isinstance(final, tuple) else (final,)
    for index, part in enumerate(state):
        for leaf, other in zip(part, final, strict=True):
            assert_close(leaf, other[index], "value", f"final state {index}")


@pytest.mark.parametrize("cell", ["lstm", "gru", "elman"])
def test_the_separate_form_is_two_torch_nets(cell):
    torch.manual_seed(0)
    ahead, back = (MODULES[cell](F, H, 2, batch_first=True).double() for _ in range(2))
    net = made(cell, num_layers=2, output_size=4)
    net.forwards.load_state_dict(Recurrent.from_torch(ahead).state_dict())
    net.backwards.load_state_dict(Recurrent.from_torch(back).state_dict())
    x = draw()
    # Row by row, so that no mask and no flip is shared with what is tested.
    for row, length in enumerate(LENGTHS.tolist()):
        alone = x[row : row + 1, :length]
        joined = torch.cat((ahead(alone)[0], back(alone.flip(1))[0].flip(1)), -1)
        want = joined @ net.output.weight.t() + net.output.bias
        have, _ = net(x, lengths=LENGTHS)
        assert_close(have[row, :length], want[0], "value", f"row {row}")
        assert not have[row, length:].any()


@pytest.mark.parametrize("output_size", [None, 2])
def test_the_separate_form_packed(output_size):
    net = made("gru", output_size=output_size)
    x = draw()
    packed = pack_padded_sequence(x, LENGTHS, batch_first=True, enforce_sorted=False)
    y, state = net(packed)
    want, final = net(x, lengths=LENGTHS)
    assert_close(pad_packed_sequence(y, batch_first=True)[0], want, "value", "packed")
    for have, other in zip(leaves(state), leaves(final), strict=True):
        assert_close(have, other, "value", "state")


@pytest.mark.parametrize("merge", ["concat", "sum", "mean", "mul"])
def test_merges(merge):
    net = made(merge=merge)
    x = draw()
    ahead, back = net.forwards(x)[0], net.backwards(x)[0]
    want = {
        "concat": torch.cat((ahead, back), -1),
        "sum": ahead + back,
        "mean": (ahead + back) / 2,
        "mul": ahead * back,
    }[merge]
    assert_close(net(x)[0], want, "value", merge)
    assert net.output_width == want.shape[2]


def test_two_cells_of_two_sizes_and_a_state_that_comes_back():
    net = made("gru", backward_cell="lstm", backward_size=2)
    x = draw()
    y, (first, second) = net(x)
    assert y.shape == (B, T, H + 2)
    assert [leaf.shape[1] for leaf in leaves((first, second))] == [H, 2, 2]
    again, _ = net(x, (first, second))
    assert not torch.allclose(again, y)
    assert_close(net(x, net.initial_state(B))[0], y, "value", "zeros")


def test_gradients():
    net = made("gru", output_size=2)
    x = draw()[:2, :3].requires_grad_()
    assert torch.autograd.gradcheck(lambda x: net(x, lengths=[3, 2])[0], x)


def test_layers_of_the_separate_form_do_not_mix():
    net = made(num_layers=2)
    x = draw()
    later = x.clone()
    later[:, 5:] += 1
    ahead = slice(0, H)
    assert torch.equal(net(x)[0][:, :5, ahead], net(later)[0][:, :5, ahead])


@pytest.mark.parametrize(
    ("build", "error", "said"),
    [
        (lambda: made(merge="add"), ConfigError, "merge must be one of"),
        (lambda: made(output_size=0), ConfigError, "output_size must be"),
        (lambda: made(reverse=True), ConfigError, "both directions already"),
        (lambda: made(backward_size=3, merge="sum"), ConfigError, "have 5 and 3 outputs"),
        (lambda: made()(draw(), state=1), ShapeError, "must be a pair"),
        (lambda: made()(draw()[0]), ShapeError, r"x must be \(B, T, I\)"),
        (lambda: made(output_size=2)(draw(), lengths=[1, 2]), ShapeError, r"lengths must be \(B,\)"),
    ],
)
def test_bad_input(build, error, said):
    with pytest.raises(error, match=said):
        build()
