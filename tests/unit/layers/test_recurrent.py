"""The recurrent layer's arguments, and the errors of its calls."""

from __future__ import annotations

import copy
import pickle
from typing import ClassVar

import pytest
import torch

from recurra.base.errors import ConfigError, ShapeError, UnknownName
from recurra.base.state import map_state
from recurra.cells.gru import GRU
from recurra.equations.cell import Cell
from recurra.equations.functions import tanh
from recurra.layers import Recurrent


def test_all_mistakes_at_once():
    with pytest.raises(ConfigError) as caught:
        Recurrent(
            "lstm",
            0,
            -1,
            num_layers=1.5,  # pyright: ignore[reportArgumentType]
            merge="add",  # pyright: ignore[reportArgumentType]
            dropout=1.0,
            recurrent_dropout=-0.1,
            zoneout={"c": 2.0},
            projection_size=0,
            bidirectional=True,
            reverse=True,
        )
    said = str(caught.value).splitlines()
    assert said[0] == "Recurrent: the arguments do not fit."
    assert said[1:] == [
        "  input_size must be a whole number from 1, got 0",
        "  hidden_size must be a whole number from 1, got -1",
        "  num_layers must be a whole number from 1, got 1.5",
        "  projection_size must be a whole number from 1, got 0",
        "  dropout must lie in [0, 1), got 1.0",
        "  recurrent_dropout must lie in [0, 1), got -0.1",
        "  zoneout of c must lie in [0, 1), got 2.0",
        "  merge must be one of concat, mean, mul, sum, got 'add'",
        "  reverse and bidirectional cannot both be set: bidirectional reads backwards already",
    ]


@pytest.mark.parametrize(
    ("options", "fact"),
    [
        ({"zoneout": {"q": 0.5}}, "lstm has no state q"),
        ({"output_size": 3}, "lstm has no output layer inside"),
    ],
)
def test_what_the_cell_has_not(options, fact):
    with pytest.raises(ConfigError, match=fact):
        Recurrent("lstm", 3, 4, **options)


def test_unknown_cell():
    with pytest.raises(UnknownName, match=r"no cell is called 'lstmm'(.|\n)*There are: lstm, "):
        Recurrent("lstmm", 3, 4)
    with pytest.raises(ConfigError, match="must be a name, a Cell class or a Cell, got 3"):
        Recurrent(3, 3, 4)  # pyright: ignore[reportArgumentType]


class Odd(Cell):
    states = "h"
    axes: ClassVar = {"h": "M"}

    def step(self, x, h, W, U):
        return tanh(W @ x + U @ h)


class Fixed(Cell):
    states = "h"
    axes: ClassVar = {"h": "I"}

    def step(self, x, h):
        return 0.9 * h + x


@pytest.mark.parametrize(("cell", "fact"), [(Odd, "odd has the axis M"), (Fixed, "fixed has no parameters")])
def test_cells_that_no_layer_can_hold(cell, fact):
    with pytest.raises(ConfigError, match=fact):
        Recurrent(cell, 3, 4)


@pytest.mark.parametrize("cell", ["gru", GRU, GRU()])
def test_name_class_or_instance(cell):
    layer = Recurrent(cell, 3, 4)
    assert layer.cell.name == "gru"
    assert layer.parameter_count() == 3 * 4 * (3 + 4 + 1) + 4
    assert repr(layer).startswith("Recurrent(\n  gru, 3 -> 4, 100 parameters")


def test_the_state_error_of_the_style_guide():
    layer, other = Recurrent("gru", 40, 128), Recurrent("gru", 40, 64)
    with pytest.raises(ShapeError) as caught:
        layer(torch.zeros(32, 100, 40), other.zero_state(32))
    assert str(caught.value) == (
        "Recurrent.forward: state[0].h must be (B, H) = (32, 128), got (32, 64).\n"
        "  B = 32 from x (32, 100, 40); H = 128 from cell gru(hidden_size=128).\n"
        "  Hint: layer.zero_state(32) makes a fresh state; is this one from another layer?"
    )


LAYER = Recurrent("lstm", 4, 6, 2)
X = torch.zeros(2, 5, 4)


@pytest.mark.parametrize(
    ("call", "fact"),
    [
        ({"x": X[0]}, r"x must be \(B, T, I\) = \(B, T, 4\), got \(5, 4\)"),
        ({"x": torch.zeros(2, 5, 3)}, r"got \(2, 5, 3\)"),
        ({"x": X.double()}, "x is torch.float64, the weights are torch.float32"),
        ({"state": LAYER.zero_state(3)}, r"state\[0\]\.h must be \(B, H\) = \(2, 6\), got \(3, 6\)"),
        ({"state": LAYER.zero_state(2)[0]}, "state must be a tuple of 2"),
        ({"state": LAYER.zero_state(2)[:1]}, "state must be a tuple of 2"),
        ({"state": torch.zeros(2, 6)}, "state must be a tuple of 2 .*, got Tensor"),
        ({"state": Recurrent("gru", 4, 6, 2).zero_state(2)}, r"must be the states \(h, c\) of lstm, got \('h',\)"),
        ({"state": map_state(torch.Tensor.double, LAYER.zero_state(2))}, r"state\[0\]\.h.* is torch.float64"),
        ({"lengths": [5]}, r"lengths must be \(B,\) = \(2,\) integers, got \(1,\)"),
        ({"lengths": torch.tensor([5.0, 2.0])}, "integers, got .* torch.float32"),
        ({"lengths": [6, 2]}, r"lengths must lie in 0..T = 0..5, got 2..6"),
        ({"lengths": [-1, 2]}, r"got -1..2"),
        ({"resets": torch.zeros(2, 4, dtype=torch.bool)}, r"resets must be \(B, T\) = \(2, 5\) bool, got \(2, 4\)"),
        ({"resets": torch.zeros(2, 5)}, "bool, got .* torch.float32"),
    ],
)
def test_shape_errors(call, fact):
    with pytest.raises(ShapeError, match=fact) as caught:
        LAYER(**{"x": X, **call})
    assert str(caught.value).startswith("Recurrent.forward: ")


def test_step_errors():
    with pytest.raises(ShapeError, match=r"Recurrent.step: x must be \(B, I\) = \(B, 4\), got \(2, 5, 4\)"):
        LAYER.step(X)
    with pytest.raises(ShapeError, match=r"Recurrent.step: state\[0\].h must be"):
        LAYER.step(X[:, 0], LAYER.zero_state(3))
    for layer in (Recurrent("gru", 4, 6, bidirectional=True), Recurrent("gru", 4, 6, reverse=True)):
        with pytest.raises(ConfigError, match="needs the whole sequence"):
            layer.step(X[:, 0])


@pytest.mark.parametrize("options", [{"recurrent_dropout": 0.2}, {"zoneout": 0.2}, {"weight_drop": 0.2}])
def test_no_single_steps_where_a_mask_spans_the_sequence(options):
    layer = Recurrent("gru", 4, 6, **options)
    with pytest.raises(ConfigError, match=r"Recurrent\.step(.|\n)*call layer\.eval\(\) first"):
        layer.step(X[:, 0])
    assert layer.eval().step(X[:, 0])[0].shape == (2, 6)


@pytest.mark.parametrize("options", [{}, {"bidirectional": True}, {"num_layers": 3}])
def test_recurrent_matrices(options):
    layer = Recurrent("lstm", 6, 6, **options)
    found = layer.recurrent_matrices()
    assert len(found) == 4 * len(layer.units)
    assert found["0.U.i"] is layer.units[0].named()["U.i"]


OPTIONS = {"num_layers": 2, "bidirectional": True, "zoneout": 0.1, "recurrent_dropout": 0.1, "dropout": 0.1}


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))])
@pytest.mark.parametrize("options", [{}, OPTIONS | {"learned_initial_state": True}, {"projection_size": 3}])
def test_copies_are_equal_and_apart(copied, options):
    layer = Recurrent("lstm", 4, 6, **options).eval()
    x = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        if not layer.bidirectional:
            layer.step(x[:, 0])
        want, state = layer(x)
        again = copied(layer)
        have, have_state = again(x, again.initial_state(2))
        torch.testing.assert_close(have, want, rtol=0, atol=0)
        assert type(have_state[0]) is type(state[0])
        next(again.parameters()).add_(1.0)
        assert not torch.equal(again(x)[0], want)
        assert torch.equal(layer(x)[0], want)


def test_state_dict_names_the_equations():
    layer = Recurrent("gru", 4, 6, 2)
    names = list(layer.state_dict())
    assert names[:3] == ["units.0.W.r", "units.0.W.z", "units.0.W.n"]
    other = Recurrent("gru", 4, 6, 2)
    x = torch.randn(2, 5, 4)
    assert not torch.equal(other(x)[0], layer(x)[0])
    other.load_state_dict(layer.state_dict())
    assert torch.equal(other(x)[0], layer(x)[0])


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_to_dtype(dtype):
    layer = Recurrent("lstm", 4, 6, zoneout=0.1, recurrent_dropout=0.1, learned_initial_state=True).to(dtype)
    y, state = layer(X.to(dtype))
    assert {y.dtype, state[0].h.dtype, state[0].c.dtype} == {dtype}


def test_inference_mode():
    with torch.inference_mode():
        layer = Recurrent("gru", 4, 6)
        once, _ = layer.step(torch.ones(1, 4))
        layer.units[0].named()["b.z"].add_(1)
        assert not torch.equal(layer.step(torch.ones(1, 4))[0], once)


def test_weight_drop_spares_all_but_recurrent_matrices():
    layer = Recurrent("jordan", 3, 5, output_size=2, weight_drop=0.5)
    unit = layer.units[0]
    torch.manual_seed(0)
    dropped = unit._dropped()
    for name, value in unit.named().items():
        if name == "U.h":
            kept = dropped[name] != 0
            assert 0 < kept.sum() < kept.numel()
            torch.testing.assert_close(dropped[name][kept], value[kept] * 2)
        else:
            assert dropped[name] is value
