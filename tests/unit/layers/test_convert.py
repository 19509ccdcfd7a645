"""To torch.nn and back: same function, whatever the options; and a refusal where torch has no such thing."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from recurra.base.errors import ConfigError, DataError
from recurra.cells.lstm import LSTM
from recurra.equations.functions import tanh
from recurra.layers import Recurrent
from recurra.layers.convert import from_keras, from_onnx, to_keras, to_onnx

X = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
MODULES = {
    "layers": lambda: nn.LSTM(4, 6, 3, batch_first=True),
    "directions": lambda: nn.GRU(4, 6, 2, bidirectional=True, batch_first=True),
    "projection": lambda: nn.LSTM(4, 6, 2, proj_size=3, bidirectional=True, batch_first=True),
    "no bias": lambda: nn.LSTM(4, 6, 2, bias=False, batch_first=True),
    "no bias gru": lambda: nn.GRU(4, 6, bias=False, batch_first=True),
    "tanh": lambda: nn.RNN(4, 6, 2, batch_first=True),
    "relu": lambda: nn.RNN(4, 6, nonlinearity="relu", batch_first=True),
}


@pytest.mark.parametrize("name", MODULES)
def test_from_torch_and_back(name):
    torch.manual_seed(0)
    module = MODULES[name]().double()
    layer = Recurrent.from_torch(module)
    want, last = module(X)
    y, state = layer(X)
    torch.testing.assert_close(y, want, rtol=1e-12, atol=1e-12)
    h = torch.stack([part.h for part in state])
    torch.testing.assert_close(h, last[0] if isinstance(last, tuple) else last, rtol=1e-12, atol=1e-12)
    again = layer.to_torch()
    assert type(again) is type(module)
    torch.testing.assert_close(again(X)[0], want, rtol=1e-12, atol=1e-12)
    assert next(layer.parameters()).dtype == next(again.parameters()).dtype == torch.float64


def test_from_torch_takes_time_major_modules():
    module = nn.GRU(4, 6).double()
    y, _ = Recurrent.from_torch(module)(X)
    torch.testing.assert_close(y, module(X.transpose(0, 1))[0].transpose(0, 1))


@pytest.mark.parametrize("training", [True, False])
def test_mode_and_dropout_go_along(training):
    module = nn.LSTM(4, 6, 2, dropout=0.3).train(training)
    layer = Recurrent.from_torch(module)
    assert (layer.training, layer.dropout) == (training, 0.3)
    again = layer.to_torch()
    assert (again.training, again.dropout) == (training, 0.3)


def test_bfloat16():
    module = nn.GRU(4, 6).to(torch.bfloat16)
    layer = Recurrent.from_torch(module)
    assert torch.equal(layer.units[0].named()["W.r"], module.get_parameter("weight_ih_l0")[:6])
    assert layer.to_torch().get_parameter("weight_ih_l0").dtype == torch.bfloat16


def test_one_layer_with_dropout_warns_of_nothing():
    assert Recurrent("gru", 4, 6, dropout=0.5).to_torch().dropout == 0


@pytest.mark.parametrize("cell", ["jordan", "peephole_lstm", "gru_v1", "minimal_gated_unit"])
def test_cells_that_torch_has_not(cell):
    with pytest.raises(ConfigError, match=f"torch has no operator with the equations of {cell}"):
        Recurrent(cell, 4, 6).to_torch()


@pytest.mark.parametrize(
    "options",
    [
        {"residual": True},
        {"skip": True},
        {"reverse": True},
        {"bidirectional": True, "merge": "sum"},
        {"zoneout": 0.1},
        {"recurrent_dropout": 0.1},
        {"weight_drop": 0.1},
        {"learned_initial_state": True},
    ],
)
def test_options_that_torch_has_not(options):
    with pytest.raises(ConfigError, match=r"Recurrent\.to_torch: torch has no"):
        Recurrent("lstm", 4, 6, **options).to_torch()


def test_a_name_is_not_enough():
    def step(self, x, h, c, W, U, b):
        c_next = c + tanh(W.g @ x + U.g @ h + b.g)
        return tanh(c_next), c_next

    impostor = type("LSTM", (LSTM,), {"step": step, "initial": {}})
    layer = Recurrent(impostor, 4, 6)
    assert layer.cell.name == "lstm"
    for convert in (Recurrent.to_torch, to_keras, to_onnx):
        with pytest.raises(ConfigError, match="no operator with the equations of lstm"):
            convert(layer)


@pytest.mark.parametrize("convert", [to_keras, to_onnx])
def test_one_layer_at_a_time(convert):
    with pytest.raises(ConfigError, match="one layer without residual or skip at a time"):
        convert(Recurrent("lstm", 4, 6, 2))


def test_wrong_weights():
    layer = Recurrent("lstm", 4, 6)
    weights = to_keras(Recurrent("lstm", 5, 6))
    with pytest.raises(DataError, match=r"a gate must be \(6, 4\), got \(6, 5\)"):
        from_keras(layer, weights)
    with pytest.raises(DataError, match="3 arrays are needed, got 2"):
        from_keras(layer, weights[:2])
    with pytest.raises(DataError, match="a gate must be"):
        from_onnx(layer, to_onnx(Recurrent("lstm", 4, 8)))
