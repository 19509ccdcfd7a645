"""Jacobians of steps, their products, and what is read off them, against autograd through the layer itself."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from recurra.base.errors import ShapeError
from recurra.cells import CELLS
from recurra.diagnostics.gates import gate_values
from recurra.diagnostics.jacobian import (
    block,
    jacobian_product,
    product_norms,
    product_singular_values,
    step_jacobians,
    track_jacobians,
)
from recurra.diagnostics.memory import half_life, unit_half_lives
from recurra.diagnostics.observe import observe
from recurra.diagnostics.spectrum import step_spectrum
from recurra.diagnostics.subject import Subject
from recurra.layers import Recurrent

EXACT = 1e-10


def subject(cell: str, steps: int = 6, hidden: int = 5, **options: object) -> Subject:
    generator = torch.Generator().manual_seed(3)
    layer = Recurrent(cell, 3, hidden, generator=generator, **options).double()  # type: ignore[arg-type]
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator).double())
    x = torch.randn(2, steps, 3, generator=generator).double()
    return Subject(
        name=cell, model=layer, inputs=x, targets=torch.zeros(2, steps).double(), losses=lambda y, _: y.pow(2).sum(-1)
    )


@pytest.mark.parametrize("cell", list(CELLS))
def test_the_product_of_the_steps_is_what_autograd_says_of_the_layer(cell: str) -> None:
    one = subject(cell)
    unit = one.layers[""].units[0]
    start = torch.cat([0.1 * torch.randn(1, size).double() for size in unit.state_sizes], 1)

    def end_of(state: Tensor) -> Tensor:
        parts = unit.state_type(*state.split(unit.state_sizes, 1))
        return torch.cat(list(unit(one.inputs[:1], parts)[1]), 1)

    wanted = torch.autograd.functional.jacobian(end_of, start)[0, :, 0]
    states, state = [], unit.state_type(*start.split(unit.state_sizes, 1))
    for t in range(6):
        states.append(torch.cat(list(state), 1)[0])
        state = unit(one.inputs[:1, t : t + 1], state)[1]
    steps = step_jacobians(unit, one.inputs[0], torch.stack(states))
    scale = max(1.0, float(wanted.abs().max()))
    np.testing.assert_allclose(jacobian_product(steps), wanted.numpy(), rtol=0, atol=EXACT * scale)
    norms = product_norms(steps, 6)
    assert norms.shape == (1, 7)
    np.testing.assert_allclose(norms[0, 6], np.linalg.norm(wanted.numpy(), 2), rtol=EXACT, atol=EXACT)
    assert norms[0, 0] == pytest.approx(1)


def test_norm_of_dh_by_dh_through_a_watched_two_layer_lstm() -> None:
    one = subject("lstm", steps=9, num_layers=2)
    seen = observe(one, gradient=True)
    track = seen.tracks["layer 1"]
    steps = track_jacobians(track, row=1)
    for end, distance, of in ((8, 1, "h"), (8, 5, "c"), (4, 4, "h")):
        state, past = getattr(track.after[end], of)[1], track.after[end - distance].h
        wanted = np.stack([torch.autograd.grad(one, past, retain_graph=True)[0][1].numpy() for one in state])
        rows, columns = block(track.unit, of, "h")
        product = jacobian_product(steps[end - distance + 1 : end + 1])[rows, columns]
        np.testing.assert_allclose(product, wanted, atol=EXACT)
        assert np.linalg.norm(wanted) > 1e-6


def test_a_linear_orthogonal_net_keeps_every_singular_value_at_one() -> None:
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(6, 6)))[0]
    values = product_singular_values(np.repeat(turn[None], 40, 0), 30)
    assert values.shape == (4, 31, 6)
    np.testing.assert_allclose(values, 1, atol=1e-12)
    shrinks = product_norms(np.repeat(0.9 * turn[None], 12, 0), 10)
    np.testing.assert_allclose(shrinks, np.broadcast_to(0.9 ** np.arange(11), (3, 11)), rtol=1e-12)


def test_an_irnn_step_is_its_slope() -> None:
    """At the identity the Jacobian of a ReLU net is diag(1[h > 0]) (Le, Jaitly and Hinton 2015)."""
    one = subject("relu_rnn")
    unit = one.layers[""].units[0]
    with torch.no_grad():
        unit.named()["U"].copy_(torch.eye(5))
    track = observe(one).tracks["layer 0"]
    after = track.joined(0, "after").numpy()
    np.testing.assert_array_equal(track_jacobians(track), np.stack([np.diag((h > 0).astype(float)) for h in after]))


def test_eigenvalues_of_the_linearised_elman_step() -> None:
    one = subject("elman")
    track = observe(one).tracks["layer 0"]
    u = one.layers[""].units[0].named()["U"].detach().numpy()
    h = track.joined(0, "after").numpy()
    wanted = [np.sort_complex(np.linalg.eigvals(np.diag(1 - state**2) @ u)) for state in h]
    found = step_spectrum(track_jacobians(track))
    np.testing.assert_allclose([np.sort_complex(row) for row in found], wanted, atol=EXACT)
    assert (np.diff(np.abs(found), axis=1) <= 1e-15).all()


def test_the_half_life_of_an_lstm_cell_is_that_of_its_forget_gate() -> None:
    track = observe(subject("lstm")).tracks["layer 0"]
    rows, columns = block(track.unit, "c")
    found = unit_half_lives(track_jacobians(track)[:, rows, columns])
    wanted = math.log(2) / -np.log(gate_values(track)["f"][0]).mean(0)
    np.testing.assert_allclose(found, wanted, rtol=EXACT)


def test_half_lives_at_the_edges() -> None:
    assert half_life([1.0, 0.5, 0.25]) == pytest.approx(1)
    assert half_life([4.0, 1.0, 3.0, 1.0]) == pytest.approx(2 + math.log(1.5) / math.log(3)), "for good, not at first"
    assert half_life([1.0, 2.0]) == math.inf
    assert half_life([1.0, 0.0]) < 0.01
    assert math.isnan(half_life([0.0, 1.0]))
    assert unit_half_lives(np.array([[[0.0]], [[1.0]]])).tolist() == [0.0]
    assert unit_half_lives(np.array([[[1.5]]])).tolist() == [math.inf]
    for bad in ([], [[1.0]]):
        with pytest.raises(ShapeError):
            half_life(bad)  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match="T > 0"):
        unit_half_lives(np.zeros((0, 2, 2)))


def test_float32_agrees_with_float64() -> None:
    one = subject("gru", steps=12)
    double = track_jacobians(observe(one).tracks["layer 0"])
    single = track_jacobians(observe(one.to(torch.float32)).tracks["layer 0"])
    np.testing.assert_allclose(single, double, atol=1e-5)


def test_what_does_not_fit_is_refused() -> None:
    one = subject("gru")
    track = observe(one).tracks["layer 0"]
    with pytest.raises(ShapeError, match=r"gru has no state 'c'"):
        block(track.unit, "c")
    with pytest.raises(ShapeError, match=r"before \(T, S\) = \(T, 5\), got"):
        step_jacobians(track.unit, one.inputs[0], torch.zeros(6, 4))
    with pytest.raises(ShapeError, match="no steps from 7 to 6"):
        track_jacobians(track, start=7)
    with pytest.raises(ShapeError, match=r"distance must lie in 0..T = 0..6, got 7"):
        product_norms(track_jacobians(track), 7)
    with pytest.raises(ShapeError, match=r"must be \(T, S, S\)"):
        step_spectrum(np.zeros((2, 3)))


def test_chosen_distances_are_those_of_all() -> None:
    steps = track_jacobians(observe(subject("gru", steps=9)).tracks["layer 0"])
    every = product_singular_values(steps, 8)
    np.testing.assert_array_equal(product_singular_values(steps, 8, at=[1, 4, 8]), every[:, [1, 4, 8]])
