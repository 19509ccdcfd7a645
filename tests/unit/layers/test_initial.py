"""Initialisers: each is what its name says, and the most specific wish wins."""

from __future__ import annotations

import math
from typing import ClassVar

import pytest
import torch

from recurra.base.errors import ConfigError, UnknownName
from recurra.equations.cell import Cell
from recurra.equations.functions import tanh
from recurra.layers import Recurrent
from recurra.layers.initial import INITIALISERS


def drawn(name, *shape, seed=0):
    return INITIALISERS[name](shape, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(6, 6), (9, 4), (4, 9), (1, 5), (1, 1)])
def test_orthogonal(shape):
    matrix = drawn("orthogonal", *shape)
    small = matrix @ matrix.t() if shape[0] <= shape[1] else matrix.t() @ matrix
    torch.testing.assert_close(small, torch.eye(min(shape)), rtol=0, atol=1e-6)


def test_orthogonal_is_not_biased_in_sign():
    signs = torch.stack([drawn("orthogonal", 2, 2, seed=seed) for seed in range(400)]).sign().mean(0)
    assert signs.abs().max() < 0.2


@pytest.mark.parametrize("size", [1, 5, 64])
def test_np_rnn(size):
    matrix = drawn("np_rnn", size, size)
    torch.testing.assert_close(matrix, matrix.t())
    spectrum = torch.linalg.eigvalsh(matrix.double())
    assert spectrum[0] > 0
    assert spectrum[-1].item() == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize(("shape", "fans"), [((30, 50), 80), ((40,), 80)])
def test_glorot(shape, fans):
    uniform = torch.stack([drawn("glorot_uniform", *shape, seed=seed) for seed in range(30)])
    bound = math.sqrt(6 / fans)
    assert 0.98 * bound < uniform.abs().max() <= bound
    normal = torch.stack([drawn("glorot_normal", *shape, seed=seed) for seed in range(30)])
    for values in (uniform, normal):
        assert values.std().item() == pytest.approx(math.sqrt(2 / fans), rel=0.1)
        assert values.mean().item() == pytest.approx(0, abs=0.02)


def test_griffin_decay():
    layer = Recurrent("rglru", 3, 2000, generator=torch.Generator().manual_seed(0))
    decay = torch.exp(-8 * torch.nn.functional.softplus(layer.units[0].named()["L"].detach().double()))
    assert 0.9 <= decay.min() < 0.901
    assert 0.998 < decay.max() <= 0.999
    assert decay.mean().item() == pytest.approx((0.9 + 0.999) / 2, abs=2e-3)


def test_torch_uniform():
    values = drawn("torch_uniform", 25, 400)
    assert 0.99 / 5 < values.abs().max() <= 1 / 5


@pytest.mark.parametrize(("name", "expected"), [("zeros", torch.zeros(3, 3)), ("ones", torch.ones(3, 3))])
def test_constant(name, expected):
    assert torch.equal(drawn(name, 3, 3), expected)
    assert torch.equal(drawn(name, 3), expected[0])


def test_identity():
    assert torch.equal(drawn("identity", 3, 3), torch.eye(3))
    assert torch.equal(drawn("identity", 2, 3), torch.eye(2, 3))


@pytest.mark.parametrize("name", ["orthogonal", "identity", "np_rnn"])
def test_matrices_only(name):
    with pytest.raises(ConfigError, match=rf"{name}: .*\(4,\)"):
        Recurrent("lstm", 3, 4, initializers={"b": name})


def test_np_rnn_is_square():
    with pytest.raises(ConfigError, match=r"square recurrent matrix, got \(4, 3\)"):
        Recurrent("elman", 3, 4, initializers={"W": "np_rnn"})


def values(layer):
    return {name: value.detach() for name, value in layer.units[0].named().items()}


def test_by_shape():
    lstm = values(Recurrent("lstm", 5, 8))
    assert all(lstm[f"W.{gate}"].abs().max() <= math.sqrt(6 / 13) for gate in "ifgo")
    for gate in "ifgo":
        torch.testing.assert_close(lstm[f"U.{gate}"] @ lstm[f"U.{gate}"].t(), torch.eye(8), rtol=0, atol=1e-6)
    assert not torch.equal(lstm["U.i"], lstm["U.f"])
    assert [lstm[f"b.{gate}"].unique().tolist() for gate in "ifgo"] == [[0.0], [1.0], [0.0], [0.0]]


def test_what_the_cell_says():
    relu = values(Recurrent("relu_rnn", 5, 8))
    assert torch.equal(relu["U"], torch.eye(8))
    assert relu["W"].abs().max() < 0.01
    norms = values(Recurrent("layer_norm_lstm", 5, 8))
    assert all(bool((value == 1).all()) for name, value in norms.items() if name[0] in "st")


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ({"b.f": 2.0}, [0.0, 2.0, 0.0, 0.0]),
        # A family that the caller names comes before a gate that the cell names.
        ({"b": -1}, [-1.0, -1.0, -1.0, -1.0]),
        ({"b": -1, "b.o": "ones"}, [-1.0, -1.0, -1.0, 1.0]),
        ({}, [0.0, 1.0, 0.0, 0.0]),
    ],
)
def test_the_most_specific_wish_wins(override, expected):
    layer = Recurrent("lstm", 3, 4, 2, bidirectional=True, initializers=override)
    for unit in layer.units:
        assert [unit.named()[f"b.{gate}"].unique().tolist() for gate in "ifgo"] == [[value] for value in expected]


def test_a_generator_fixes_the_weights():
    layers = [Recurrent("gru", 3, 4, generator=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
    first, same, other = (torch.cat([value.flatten() for value in values(layer).values()]) for layer in layers)
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_unknown_parameter():
    with pytest.raises(ConfigError, match=r"lstm has no parameter bf(.|\n)*It has: b\.f, "):
        Recurrent("lstm", 3, 4, initializers={"bf": 1.0})


def test_unknown_initialiser():
    with pytest.raises(UnknownName, match=r"no initialiser is called 'ortogonal'(.|\n)*There are: orthogonal, "):
        Recurrent("lstm", 3, 4, initializers={"U": "ortogonal"})


def test_neither_name_nor_number():
    with pytest.raises(ConfigError, match=r"U\.i must be an initialiser's name or a number, got \[1\]"):
        Recurrent("lstm", 3, 4, initializers={"U": [1]})  # pyright: ignore[reportArgumentType]


def test_a_cell_that_names_a_parameter_it_has_not():
    class Forgetful(Cell):
        states = "h"
        initial: ClassVar = {"bf": 1.0}

        def step(self, x, h, W, U, b):
            return tanh(W @ x + U @ h + b)

    with pytest.raises(ConfigError, match=r"Forgetful\.initial: forgetful has no parameter bf"):
        Recurrent(Forgetful, 3, 4)
