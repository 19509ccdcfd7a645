"""Encoder-decoders: whole against its parts, ragged against row by row, and what the bridges hand on."""

from __future__ import annotations

import copy

import pytest
import torch
from tests.tolerances import assert_close

from recurra.base.errors import ConfigError, ShapeError
from recurra.layers import Recurrent
from recurra.layers.encoder_decoder import Bridge, EncoderDecoder, OneToMany

B, S, T, V, W, H = 3, 6, 4, 7, 9, 5
LENGTHS = torch.tensor([6, 1, 4])
KINDS = [
    {},
    {"attention": "additive", "form": "bahdanau"},
    {"attention": "dot", "bidirectional": False, "bridge": "copy"},
    {"attention": "general", "input_feeding": True, "bridge": "zero"},
    {"attention": "monotonic", "num_layers": 2},
    {"attention": None, "bidirectional": False, "bridge": "copy", "num_layers": 2},
    {"attention": None},
]


def made(cell="lstm", **options):
    options = {"source_vocabulary": W, "target_vocabulary": V, "hidden_size": H, "embedding_size": 3} | options
    return EncoderDecoder(cell, generator=torch.Generator().manual_seed(2), **options).double().eval()


def draw():
    generator = torch.Generator().manual_seed(1)
    return torch.randint(W, (B, S), generator=generator), torch.randint(V, (B, T), generator=generator)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_ragged_is_row_by_row(kind):
    net = made(**kind)
    source, target = draw()
    lengths = torch.tensor([4, 2, 3])
    logits, _, weights = net(source, target, LENGTHS, lengths)
    for row in range(B):
        alone, _, looked = net(source[row : row + 1, : LENGTHS[row]], target[row : row + 1, : lengths[row]])
        assert_close(logits[row, : lengths[row]], alone[0], "value", f"row {row}")
        assert not logits[row, lengths[row] :].any()
        if weights is not None:
            assert_close(weights[row, : lengths[row], : LENGTHS[row]], looked[0], "value", "weights")
            assert not weights[row, :, LENGTHS[row] :].any()


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_generation_is_free_running(kind):
    net = made(**kind)
    source, target = draw()
    free, _, _ = net(source, torch.full_like(target, 2), LENGTHS, teacher=0.0)
    drawn = net.generate(source, LENGTHS, start=2, end=None, max_steps=T)
    assert torch.equal(drawn.tokens, free.argmax(-1))


def test_the_bridges():
    source, _ = draw()
    net = made("lstm", num_layers=2)
    encoded = net.encode(source, LENGTHS)
    state = net.begin(source, LENGTHS)
    forth, back = encoded.final[2:]
    summary = torch.cat((forth.h, back.h), -1)
    # Of the backward direction it is the output at the first step, of the forward one that at the last valid.
    assert_close(back.h, encoded.memory[:, 0, H:], "value", "backward")
    assert_close(forth.h[1], encoded.memory[1, 0, :H], "value", "forward")
    first = net.bridge.maps[3]
    assert_close(state.cells[1].c, torch.tanh(summary @ first.weight.t() + first.bias), "value", "linear")
    net = made("lstm", bidirectional=False, bridge="copy", attention=None)
    assert torch.equal(net.begin(source).cells[0].c, net.encode(source).final[0].c)
    net = made("lstm", bridge="zero")
    assert not any(leaf.any() for leaf in net.begin(source).cells[0])


def test_features_instead_of_tokens():
    net = made(source_vocabulary=None, input_size=2)
    x = torch.randn(B, S, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64).requires_grad_()
    _, target = draw()
    dirty = x.detach().clone()
    dirty[1, 1:] = float("nan")
    assert torch.equal(net(x, target, LENGTHS)[0], net(dirty, target, LENGTHS)[0])
    assert torch.autograd.gradcheck(lambda x: net(x, target[:2, :2], [2, 1])[0], x[:2, :2].detach().requires_grad_())


def test_every_parameter_learns():
    for kind in KINDS:
        net = made(**kind).train()
        source, target = draw()
        net(source, target, LENGTHS)[0].square().sum().backward()
        for name, parameter in net.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.abs().sum() > 0, f"{kind}: {name}"


def test_a_copy_is_its_own(tmp_path):
    net = made()
    source, target = draw()
    torch.save(net, tmp_path / "net.pt")
    for other in (copy.deepcopy(net), torch.load(tmp_path / "net.pt", weights_only=False)):
        assert torch.equal(other(source, target)[0], net(source, target)[0])


def test_one_to_many():
    net = OneToMany("gru", 3, V, H, 2, embedding_size=2, generator=torch.Generator().manual_seed(2)).double()
    context = torch.randn(B, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    _, target = draw()
    logits, _ = net(context, target)
    cells = tuple((torch.tanh(part(context)),) for part in net.bridge.maps)
    h, _ = net.decoder.recurrent(net.decoder.embedding(target), cells)
    assert_close(logits, net.decoder.output(h), "value", "logits")
    assert net.generate(context, start=0, end=None, max_steps=5).tokens.shape == (B, 5)
    assert net(context, target, teacher=0.0)[0].shape == (B, T, V)


@pytest.mark.parametrize(
    ("build", "error", "said"),
    [
        (lambda: made(input_size=3), ConfigError, "either source_vocabulary"),
        (lambda: made(source_vocabulary=None), ConfigError, "either source_vocabulary"),
        (lambda: made(bridge="arch"), ConfigError, "bridge must be"),
        (lambda: made(bridge="copy"), ConfigError, "one direction and the same states"),
        (lambda: made(bridge="copy", bidirectional=False, decoder_cell="gru"), ConfigError, "the same states"),
        (lambda: made(attention="dot"), ConfigError, "one width, got 5 and 10"),
        (lambda: made()(draw()[0].double(), draw()[1]), ShapeError, r"source must be \(B, S\)"),
        (lambda: made()(draw()[0][:2], draw()[1]), ShapeError, "source has 2 rows, target 3"),
        (lambda: made()(*draw(), [7, 1, 1]), ShapeError, "lengths must lie in 0..T = 0..6"),
        (lambda: Bridge(0, Recurrent("gru", 1, 1)), ConfigError, "whole number from 1"),
        (lambda: Bridge(2, Recurrent("gru", 1, 1))(torch.zeros(2, 3)), ShapeError, r"must get \(B, E\)"),
    ],
)
def test_bad_input(build, error, said):
    with pytest.raises(error, match=said):
        build()
