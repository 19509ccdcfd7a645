"""Deep nets in Pascanu's four places, and layers over single steps, against the formulas in plain NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.tolerances import assert_close

from recurra.base.errors import ConfigError, ShapeError
from recurra.layers.deep import DeepRecurrent
from recurra.layers.feedforward import FeedForward

B, T, F, H = 3, 6, 4, 5


def made(cell="elman", **options):
    net = DeepRecurrent(cell, F, H, generator=torch.Generator().manual_seed(3), **options).double()
    generator = torch.Generator().manual_seed(8)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return net


def draw():
    return torch.randn(B, T, F, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def test_dot_s_as_the_paper_writes_it():
    net = made(transition_depth=2, shortcut=True, output_layers=(6, 2), input_layers=(7,))
    value = {name: tensor.detach().numpy() for name, tensor in net.named_parameters()}
    cell = "recurrent.units.0."

    def layer(name, v):
        return np.tanh(v @ value[name + ".weight"].T + value[name + ".bias"])

    h = np.zeros((B, H))
    outputs = []
    for x in draw().numpy().transpose(1, 0, 2):
        x = layer("below.layers.0", x)
        first = np.tanh(x @ value[cell + "W"].T + h @ value[cell + "U"].T + value[cell + "b"])
        h = np.tanh(first @ value[cell + "U2"].T + h @ value[cell + "Us2"].T + value[cell + "b2"])
        inner = layer("above.layers.0", h)
        outputs.append(layer("above.layers.1", np.concatenate((inner, h), -1)))
    assert_close(net(draw())[0], torch.from_numpy(np.stack(outputs, 1)), "value", "DOT(S)-RNN")


@pytest.mark.parametrize(
    "options",
    [
        {"transition_depth": 2},
        {"num_layers": 2, "skip": True, "output_layers": (3,)},
        {"num_layers": 3, "residual": True, "input_layers": (H,)},
    ],
)
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_steps_and_chunks_are_the_sequence(cell, options):
    net = made(cell, **options)
    x = draw()
    y, state = net(x)
    first, middle = net(x[:, :2])
    second, last = net(x[:, 2:], middle)
    assert_close(torch.cat((first, second), 1), y, "value", "chunks")
    assert_close(last[-1][0], state[-1][0], "value", "state")
    now, outputs = net.initial_state(B), []
    for moment in x.unbind(1):
        out, now = net.step(moment, now)
        outputs.append(out)
    assert_close(torch.stack(outputs, 1), y, "value", "steps")


def test_gradients():
    net = made("gru", transition_depth=2, shortcut=True, output_layers=(2,), input_layers=(3,))
    x = draw()[:1, :2].requires_grad_()
    assert torch.autograd.gradcheck(lambda x: net(x)[0], x)


def test_depths():
    assert made().facts()[:2] == (1, 1)
    assert made(num_layers=3).facts()[:2] == (3, 1)
    assert made(transition_depth=3).facts()[:2] == (3, 3)
    assert made(input_layers=(4, 4), output_layers=(4,)).facts()[:2] == (4, 1)
    assert made(bidirectional=True).facts().causal is False


@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "relu", "linear"])
def test_feedforward(activation):
    net = FeedForward(F, (5, 2), activation=activation, last="linear", shortcut=True).double()
    x = draw()
    function = {"linear": lambda v: v}.get(activation) or getattr(torch, activation)
    inner = function(net.layers[0](x))
    want = torch.cat((inner, x), -1) @ net.layers[1].weight.t() + net.layers[1].bias
    assert_close(net(x), want, "value", "feed-forward")
    assert net.facts().feedforward == (0 if activation == "linear" else 1)
    assert torch.equal(FeedForward(F, ())(x), x)


@pytest.mark.parametrize(
    ("build", "error", "said"),
    [
        (lambda: FeedForward(0, (3,)), ConfigError, "whole numbers from 1"),
        (lambda: FeedForward(3, (3, 0)), ConfigError, "whole numbers from 1"),
        (lambda: FeedForward(3, (3,), activation="than"), ConfigError, "activation must be one of tanh"),
        (lambda: FeedForward(3, (3,))(torch.zeros(2, 4)), ShapeError, r"x must be \(..., I\) = \(..., 3\)"),
        (lambda: made("min_gru", transition_depth=2), ValueError, "affine"),
        (lambda: made(transition_depth=0), ConfigError, "depth must be"),
        (lambda: made()(torch.zeros(2, 3)), ShapeError, r"x must be \(B, T, I\)"),
        (lambda: made()(torch.zeros(2, 3, F)), ShapeError, "x is torch.float32, the weights are torch.float64"),
        (lambda: made()(draw(), lengths=[1, 2, 7]), ShapeError, "lengths must lie in 0..T = 0..6, got 1..7"),
        (lambda: made()(draw(), lengths=[1.0, 2, 3]), ShapeError, "integers"),
    ],
)
def test_bad_input(build, error, said):
    with pytest.raises(error, match=said):
        build()
