"""Gradient flow against recurrences whose derivatives are known."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from recurra.base.errors import ShapeError
from recurra.diagnostics.flow import gradient_by_distance, gradient_norms, named_leaves


class Pair(NamedTuple):
    h: Tensor
    c: Tensor


def first_output(outputs: Tensor, target: Tensor) -> Tensor:
    return outputs[:, 0] - target


def test_linear_recurrence_decays_as_its_eigenvalue() -> None:
    def step(x: Tensor, h: Tensor | None) -> tuple[Tensor, Tensor]:
        h = torch.zeros(2, 3) if h is None else h
        h = 0.9 * h + x[:, None]
        return h, h

    flow = gradient_by_distance(step, torch.randn(2, 30), torch.zeros(2, 30), first_output, distance=10, losses=4)
    np.testing.assert_allclose(flow["h"], 0.9 ** np.arange(11), rtol=1e-6)


def test_total_derivative_against_autograd_one_loss_at_a_time() -> None:
    cell, out = nn.LSTMCell(3, 4), nn.Linear(4, 5)

    def step(x: Tensor, state: Any) -> tuple[Tensor, Any]:
        state = None if state is None else tuple(state[0])
        pair = Pair(*cell(x, state))
        return out(pair.h), (pair,)

    def loss(outputs: Tensor, target: Tensor) -> Tensor:
        return nn.functional.cross_entropy(outputs, target, reduction="none")

    inputs, targets = torch.randn(2, 6, 3), torch.randint(5, (2, 6))
    flow = gradient_by_distance(step, inputs, targets, loss, distance=3, losses=99)
    assert set(flow) == {"layer 0 h", "layer 0 c"}
    expected = np.zeros(4)
    for t in (3, 4, 5):
        for k in range(4):
            for row in range(2):
                # The state after step t - k is cut out and made a leaf, and the rest is rolled forward from it.
                state: Any = None
                for s in range(t - k + 1):
                    outputs, state = step(inputs[:, s], state)
                h, c = state[0].h.detach().requires_grad_(), state[0].c.detach()
                outputs, state = out(h), (Pair(h, c),)
                for s in range(t - k + 1, t + 1):
                    outputs, state = step(inputs[:, s], state)
                loss(outputs, targets[:, t])[row].backward()
                assert h.grad is not None
                expected[k] += float(h.grad[row].norm()) / 6
    np.testing.assert_allclose(flow["layer 0 h"], expected, rtol=1e-4)


def test_it_works_on_a_frozen_model_and_leaves_grad_alone() -> None:
    cell = nn.RNNCell(2, 3)

    def step(x: Tensor, h: Any) -> tuple[Tensor, Any]:
        h = cell(x, h)
        return h, h

    inputs, targets = torch.randn(1, 8, 2), torch.zeros(1, 8)
    free = gradient_by_distance(step, inputs, targets, first_output, distance=5)
    assert all(parameter.grad is None for parameter in cell.parameters())
    cell.requires_grad_(False)
    np.testing.assert_allclose(gradient_by_distance(step, inputs, targets, first_output, distance=5)["h"], free["h"])


def test_too_short_a_stretch_is_refused() -> None:
    with pytest.raises(ShapeError, match="more than distance = 8 time steps, got T = 8"):
        gradient_by_distance(lambda x, s: (x, s), torch.zeros(1, 8), torch.zeros(1, 8), first_output, distance=8)


def test_leaves_are_named_by_layer_and_field() -> None:
    one = torch.zeros(1)
    assert list(named_leaves((Pair(one, one), Pair(one, one)))) == ["layer 0 h", "layer 0 c", "layer 1 h", "layer 1 c"]
    assert list(named_leaves(one)) == ["h"]
    assert named_leaves(None) == {}


def test_gradient_norms_are_euclidean_and_skip_what_has_none() -> None:
    net = nn.Linear(2, 1)
    net.weight.grad = torch.tensor([[3.0, 4.0]])
    assert gradient_norms(net.named_parameters()) == {"weight": 5.0}
