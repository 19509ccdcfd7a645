"""The nets of classification: padding, batch normalisation and the ridge against others' figures."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from recurra.tasks.classify.convolution import FullyConvolutional, MaskedBatchNorm
from recurra.tasks.classify.network import EchoStateNet, LstmFcn, net_of
from recurra.tasks.classify.prepare import Preparation
from recurra.tasks.classify.settings import MODELS, Architecture
from tolerances import assert_close

CELLS = ("lstm", "gru", "elman")
POOLINGS = ("last", "mean", "max", "attention")


def preparation(channels=2, masked=False, length=12):
    return Preparation(
        channels=tuple(map(str, range(channels))),
        classes=("a", "b", "c"),
        counts=(1, 1, 1),
        location=(0.0,) * channels,
        scale=(1.0,) * channels,
        normalise="standard",
        masked=masked,
        length=length,
    )


def made(seed=0, **options):
    generator = torch.Generator().manual_seed(seed)
    options = {"hidden": 7, "filters": (6, 8, 5), "kernels": (8, 5, 3), **options}
    return net_of(Architecture(**options), preparation(), generator, seed).double()


def ragged(batch=4, steps=11, width=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, steps, width, dtype=torch.float64, generator=generator)
    return x, torch.tensor([11, 1, 7, 3])


KINDS = [
    *({"name": "recurrent", "pooling": pooling, "bidirectional": both} for pooling in POOLINGS for both in (0, 1)),
    *({"name": "lstm_fcn", "shuffle": shuffle, "pooling": pooling} for shuffle in (0, 1) for pooling in POOLINGS[::3]),
    {"name": "fcn"},
    {"name": "esn"},
]


@pytest.mark.parametrize("options", KINDS, ids=lambda kind: "-".join(map(str, kind.values())))
def test_padding_never_changes_a_number(options):
    """In training too: a row among longer ones, a row alone, and NaN where the padding is."""
    options = {name: bool(value) if name in ("bidirectional", "shuffle") else value for name, value in options.items()}
    net = made(dropout=0.0, branch_dropout=0.0, **options)
    x, lengths = ragged()
    if options["name"] == "esn":
        net.weights.copy_(torch.randn(net.weights.shape, dtype=torch.float64))
        net.spread.fill_(1.0)
    net.eval()
    together = net(x, lengths=lengths)[0]
    for row, length in enumerate(lengths.tolist()):
        alone = net(x[row : row + 1, :length], lengths=None)[0]
        assert_close(together[row : row + 1], alone, "value", f"row {row}", torch.float64)
    if options["name"] == "esn":
        return
    net.train()
    further = torch.cat([x, torch.full((4, 3, 2), torch.nan, dtype=torch.float64)], 1)
    for row, length in enumerate(lengths.tolist()):
        further[row, length:] = torch.nan
    grads = []
    for given in (x, further):
        net.zero_grad()
        loss = net(given, lengths=lengths)[0].square().sum()
        loss.backward()
        grads.append([loss.detach(), *(p.grad.clone() for p in net.parameters())])
    for one, other in zip(*grads, strict=True):
        assert_close(one, other, "gradient", "with and without NaN on the padding", torch.float64)


def test_masked_batch_norm_against_torch_on_the_valid_steps():
    """Statistics, running figures and gradients are those of the valid steps put end to end."""
    x, lengths = ragged(width=5)
    x = x.transpose(1, 2).contiguous()
    valid = (torch.arange(11) < lengths[:, None]).unsqueeze(1)
    ours, theirs = MaskedBatchNorm(5).double(), nn.BatchNorm1d(5, eps=1e-3, momentum=0.1).double()
    for norm in (ours, theirs):
        nn.init.uniform_(norm.weight, generator=torch.Generator().manual_seed(1))
    flat = x.transpose(1, 2)[valid[:, 0]]
    one, other = x.clone().requires_grad_(), flat.clone().requires_grad_()
    y, z = ours(one, valid).transpose(1, 2)[valid[:, 0]], theirs(other)
    assert_close(y, z, "value", "outputs", torch.float64)
    y.pow(3).sum().backward()
    z.pow(3).sum().backward()
    assert_close(one.grad.transpose(1, 2)[valid[:, 0]], other.grad, "gradient", "x", torch.float64)
    for name in ("running_mean", "running_var"):
        assert_close(getattr(ours, name), getattr(theirs, name), "value", name, torch.float64)
    everything = torch.ones(4, 1, 11, dtype=torch.bool)
    assert_close(ours(x, None), ours(x, everything), "value", "no mask", torch.float64)


def test_fcn_against_torch():
    """Convolutions of the same length, batch normalisation, rectifier, thrice (Wang et al. 2017)."""
    net = FullyConvolutional(2, (6, 8, 5), (8, 5, 3), generator=torch.Generator().manual_seed(0)).double()
    layers = []
    for block, kernel in zip(net.blocks, (8, 5, 3), strict=True):
        conv = nn.Conv1d(block.weight.shape[1], block.weight.shape[0], kernel, bias=False).double()
        with torch.no_grad():
            conv.weight.copy_(block.weight)
        pad = nn.ConstantPad1d(((kernel - 1) // 2, kernel // 2), 0.0)
        layers += [pad, conv, nn.BatchNorm1d(block.weight.shape[0], eps=1e-3).double(), nn.ReLU()]
    x = torch.randn(3, 20, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    assert_close(net(x, None), nn.Sequential(*layers)(x.transpose(1, 2)), "value", "features", torch.float64)


def test_lstm_fcn_has_the_parameters_of_the_paper():
    """Karim et al. 2018, one channel of 150 values, LSTM of 8 units, two classes; no biases before normalisation."""
    net = LstmFcn(1, 2, Architecture(name="lstm_fcn", hidden=8, pooling="last"), 150, torch.Generator())
    lstm = 4 * (8 * 150 + 8 * 8 + 8)
    convolutions = 1 * 128 * 8 + 128 * 256 * 5 + 256 * 128 * 3 + 2 * (128 + 256 + 128)
    dense = (8 + 128) * 2 + 2
    assert sum(parameter.numel() for parameter in net.parameters()) == lstm + convolutions + dense


def test_a_longer_case_than_any_learnt_is_read():
    """The branch reads what it knows; what is behind that changes the convolutions' part only."""
    net = made(name="lstm_fcn", pooling="last").eval()
    x = torch.randn(1, 15, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    other = x.clone()
    other[:, 12:] += 1
    branches = [net._branch(net.body, one, None) for one in (x, other)]
    torch.testing.assert_close(*branches, rtol=0, atol=0)
    assert not torch.equal(net(x)[0], net(other)[0])


def test_the_readout_against_scikit_learn():
    linear = pytest.importorskip("sklearn.linear_model")
    net = made(name="esn")
    x, lengths = ragged()
    x, lengths = x.repeat(10, 1, 1), lengths.repeat(10)
    x = x + 0.1 * torch.randn(x.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    features = net.features(x, lengths)
    labels = np.arange(40) % 3
    weights = np.where(labels == 0, 2.0, 0.5)
    net.fit(features, labels, weights)
    rows = ((features - net.mean) / net.spread).numpy()
    theirs = linear.Ridge(alpha=net.ridge, solver="svd").fit(rows, np.eye(3)[labels] - 1 / 3, sample_weight=weights)
    ours = rows @ net.weights.numpy() + net.intercept.numpy()
    np.testing.assert_allclose(ours, theirs.predict(rows), atol=1e-5)
    shares = net.probabilities(x, lengths)
    assert (shares.sum(1) - 1).abs().max() < 1e-9
    assert (shares.argmax(1).numpy() == ours.argmax(1)).all()


def test_both_directions_of_a_reservoir():
    """The second half of the features is what the reversed case gives the first."""
    net = made(name="esn")
    assert isinstance(net, EchoStateNet)
    x, lengths = ragged()
    there = net.features(x, lengths)
    turned = torch.stack([torch.cat([row[:n].flip(0), row[n:]]) for row, n in zip(x, lengths.tolist(), strict=True)])
    back = net.features(turned, lengths)
    half = there.shape[1] // 2
    torch.testing.assert_close(there[:, half:], back[:, :half], rtol=0, atol=1e-12)


def test_every_model_can_be_made():
    assert {kind["name"] for kind in KINDS} == set(MODELS)
