"""Deep transitions against the formulas of Pascanu et al. 2014 in plain NumPy, and as cells like any other."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.tolerances import assert_close

from recurra.base.errors import ConfigError, EquationError
from recurra.cells import CELLS
from recurra.equations.cell import Cell
from recurra.equations.functions import mean, tanh
from recurra.kernels.cpu.compiler import compiler
from recurra.layers import Recurrent
from recurra.layers.facts import feedforward_depth, recurrent_depth
from recurra.layers.transition import deep_transition

B, T, F, H = 3, 7, 4, 5
DEEP = [name for name in CELLS if not CELLS[name]().spec.is_affine_elementwise and name != "multiplicative_lstm"]


def made(cell, **options):
    layer = Recurrent(cell, F, H, generator=torch.Generator().manual_seed(3), **options).double()
    generator = torch.Generator().manual_seed(8)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return layer


def draw():
    return torch.randn(B, T, F, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


@pytest.mark.parametrize("shortcut", [False, True])
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_elman_as_the_paper_writes_it(depth, shortcut):
    layer = made(deep_transition("elman", depth, shortcut=shortcut))
    value = {name: tensor.detach().numpy() for name, tensor in layer.units[0].named().items()}
    x = draw()
    h = np.zeros((B, H))
    outputs = []
    for t in range(T):
        before = h
        h = np.tanh(x[:, t].numpy() @ value["W"].T + before @ value["U"].T + value["b"])
        for k in range(2, depth + 1):
            total = h @ value[f"U{k}"].T + value[f"b{k}"]
            if shortcut:
                total = total + before @ value[f"Us{k}"].T
            h = np.tanh(total)
        outputs.append(h)
    assert_close(layer(x)[0], torch.from_numpy(np.stack(outputs, 1)), "value", "DT-RNN")


def test_gru_is_a_step_with_input_and_steps_without():
    layer = made(deep_transition("gru_v1", 3))
    value = layer.units[0].named()

    def step(x, h, mark):
        def gate(name):
            total = value[f"b{mark}.{name}"] + h @ value[f"U{mark}.{name}"].T if name != "n" else value[f"b{mark}.n"]
            return total + x @ value[f"W.{name}"].T if x is not None else total

        r, z = torch.sigmoid(gate("r")), torch.sigmoid(gate("z"))
        n = torch.tanh(gate("n") + (r * h) @ value[f"U{mark}.n"].T)
        return (1 - z) * h + z * n

    x = draw()
    h = torch.zeros(B, H, dtype=torch.float64)
    outputs = []
    for t in range(T):
        h = step(None, step(None, step(x[:, t], h, ""), "2"), "3")
        outputs.append(h)
    assert_close(layer(x)[0], torch.stack(outputs, 1), "value", "deep GRU")


@pytest.mark.parametrize("inputs", ["first", "all"])
@pytest.mark.parametrize("cell", DEEP)
def test_every_cell_deepens(cell, inputs):
    deep = deep_transition(cell, 2, shortcut=True, inputs=inputs)
    layer = made(deep, backend="reference")
    x = draw()
    y, state = layer(x)
    first, middle = layer(x[:, :3])
    second, last = layer(x[:, 3:], middle)
    assert_close(torch.cat((first, second), 1), y, "value", "chunks")
    assert_close(last[0][0], state[0][0], "value", "state")
    flat, deep_depth = recurrent_depth(CELLS[cell]().spec), recurrent_depth(deep.spec)
    assert deep_depth == 2 * flat
    assert torch.autograd.gradcheck(lambda x: layer(x)[0][:, -1].sum(), x[:1, :2].clone().requires_grad_())


@pytest.mark.skipif(not compiler(), reason="no compiler")
@pytest.mark.parametrize("cell", ["elman", "lstm", "gru"])
def test_the_native_engine_compiles_it(cell):
    deep = deep_transition(cell, 2, shortcut=True)
    layer, slow = made(deep, backend="native").float(), made(deep, backend="reference")
    x = draw()
    y, want = layer(x.float())[0], slow(x)[0]
    assert_close(y, want, "rounding", "y")
    y.sum().backward()
    want.sum().backward()
    for (name, have), other in zip(layer.named_parameters(), slow.parameters(), strict=True):
        assert_close(have.grad, other.grad, "gradient rounding", name)


def test_the_options_of_the_layer():
    deep = deep_transition("lstm", 2, shortcut=True)
    x = draw()
    for options in (
        {"projection_size": 3},
        {"zoneout": 0.3},
        {"recurrent_dropout": 0.5},
        {"learned_initial_state": True},
    ):
        layer = made(deep, **options)
        y, _ = layer(x)
        assert y.shape == (B, T, options.get("projection_size", H))
        layer.eval()
        first, middle = layer(x[:, :3])
        assert_close(torch.cat((first, layer(x[:, 3:], middle)[0]), 1), layer(x)[0], "value", str(options))
        live = layer.stream(B)
        pushed = torch.cat([live.push(piece) for piece in x.split(2, 1)], 1)
        assert_close(pushed, layer(x)[0], "value", "stream")


def test_depths_and_names():
    assert feedforward_depth(deep_transition("elman", 4).spec) == 4
    assert deep_transition("lstm", 2, shortcut=True).name == "deep2s_lstm"
    assert deep_transition("lstm", 3).initial == {"b.f": 1.0, "b2.f": 1.0, "b3.f": 1.0}
    assert deep_transition("relu_rnn", 2).initial["U2"] == "identity"
    assert "W2" not in deep_transition("relu_rnn", 2).initial


class Scaled(Cell):
    """Reads x other than through a matrix."""

    states = "h"

    def step(self, x, h, W, U):
        return tanh(W @ x + U @ h) * mean(x)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "said"),
    [
        (("lstm", 0), {}, ConfigError, "depth must be a whole number from 1, got 0"),
        (("lstm", 2.0), {}, ConfigError, "depth must be a whole number"),
        (("lstm", 2), {"inputs": "last"}, ConfigError, "inputs must be 'first' or 'all'"),
        (("min_gru", 2), {}, EquationError, "affine and elementwise"),
        ((Scaled, 2), {}, EquationError, "reads x other than through a product"),
        (("multiplicative_lstm", 2), {}, EquationError, "nothing is left of the product"),
    ],
)
def test_bad_input(arguments, options, error, said):
    with pytest.raises(error, match=said):
        deep_transition(*arguments, **options)
