"""Live sessions: any pieces, rows that start afresh, weights that change under way."""

from __future__ import annotations

import pytest
import torch

from recurra.base.errors import ConfigError, ShapeError
from recurra.layers import Recurrent

X = torch.randn(3, 7, 4, generator=torch.Generator().manual_seed(3))


def made(cell="lstm", **options):
    return Recurrent(cell, 4, 5, 2, generator=torch.Generator().manual_seed(1), **options)


def test_one_session_takes_every_shape():
    layer = made()
    live = layer.stream()
    have = [live.push(X[0, 0])[None], live.push(X[0, 1:2]), live.push(X[:1, 2:5])[0], live.push(X[0, 5:])]
    assert [part.shape for part in have] == [(1, 5), (1, 5), (3, 5), (2, 5)]
    torch.testing.assert_close(torch.cat(have), layer(X[:1])[0][0])


def test_many_sessions():
    layer = made()
    live = layer.stream(3)
    have = [live.push(X[:, 0])[:, None], live.push(X[:, 1:4]), live.push(X[:, 4:5]), live.push(X[:, 5:])]
    torch.testing.assert_close(torch.cat(have, 1), layer(X)[0])


def test_an_empty_piece():
    live = made().stream()
    live.push(X[0, :3])
    before = live.state
    assert live.push(X[0, :0]).shape == (0, 5)
    torch.testing.assert_close(live.state, before)


def test_gradients_are_never_kept():
    live = made().stream()
    assert not live.push(X[0]).requires_grad
    assert not live.state[0].h.requires_grad


@pytest.mark.parametrize(
    ("batch", "shape", "fact"),
    [
        (1, (2, 5, 4), r"must be \(I,\), \(T, I\) or \(1, T, I\) with B = 1, got \(2, 5, 4\)"),
        (3, (2, 5, 4), r"must be \(B, I\) or \(B, T, I\) with B = 3, got \(2, 5, 4\)"),
        (3, (4,), r"got \(4,\)"),
        (3, (2, 4), r"with B = 3, got \(2, 4\)"),
        (1, (5,), r"x must be \(B, I\) = \(B, 4\), got \(1, 5\)"),
    ],
)
def test_wrong_shapes(batch, shape, fact):
    with pytest.raises(ShapeError, match=fact):
        made().stream(batch).push(torch.zeros(shape))


@pytest.mark.parametrize("options", [{"bidirectional": True}, {"reverse": True}])
def test_no_stream_backwards(options):
    with pytest.raises(ConfigError, match="reads backwards"):
        made(**options).stream()


@pytest.mark.parametrize("learned", [False, True])
def test_reset(learned):
    layer = made(learned_initial_state=learned)
    if learned:
        for unit in layer.units:
            assert unit.initial is not None
            for value in unit.initial:
                torch.nn.init.normal_(value)
    live = layer.stream(3)
    first = live.push(X)
    live.reset(torch.tensor([True, False, True]))
    second = live.push(X)
    torch.testing.assert_close(second[[0, 2]], first[[0, 2]])
    assert not torch.allclose(second[1], first[1])
    live.reset()
    torch.testing.assert_close(live.push(X), first)


def add_in_place(parameter):
    with torch.no_grad():
        parameter.add_(0.5)


def assign_data(parameter):
    parameter.data = parameter.data + 0.5


def optimise(parameter):
    parameter.grad = torch.ones_like(parameter)
    torch.optim.SGD([parameter], lr=0.5).step()


@pytest.mark.parametrize("change", [add_in_place, assign_data, optimise])
@pytest.mark.parametrize("name", ["U.f", "W.i", "b.o"])
def test_the_step_sees_new_weights(change, name):
    layer = made()
    with torch.no_grad():
        old, state = layer.step(X[:, 0])
        layer.step(X[:, 0])
    change(layer.units[1].named()[name])
    with torch.no_grad():
        new, _ = layer.step(X[:, 1], state)
        want, _ = layer(X[:, 1:2], state)
    torch.testing.assert_close(new, want[:, 0])
    assert not torch.equal(new, old)


def test_the_step_sees_loaded_weights():
    layer, other = made(), Recurrent("lstm", 4, 5, 2)
    with torch.no_grad():
        layer.step(X[:, 0])
        layer.load_state_dict(other.state_dict())
        assert torch.equal(layer.step(X[:, 0])[0], other.step(X[:, 0])[0])
        assert torch.equal(layer.double().step(X[:, 0].double())[0], other.double().step(X[:, 0].double())[0])


def test_packed_weights_are_kept_while_nothing_changes():
    layer = made()
    unit = layer.units[0]
    with torch.no_grad():
        layer.step(X[:, 0])
        kept = unit._packed
        layer.step(X[:, 1])
    assert kept is not None
    assert unit._packed is kept
    with torch.no_grad():
        for _ in range(3):
            unit.named()["U.i"].data = unit.named()["U.i"].data.clone()
            layer.step(X[:, 0])
            assert unit._packed is not kept
            kept = unit._packed


def test_steps_have_gradients():
    layer = made()
    with torch.no_grad():
        layer.step(X[:, 0])
    state, outputs = None, []
    for t in range(7):
        y, state = layer.step(X[:, t], state)
        outputs.append(y)
    have = torch.autograd.grad(torch.stack(outputs, 1).square().sum(), list(layer.parameters()))
    want = torch.autograd.grad(layer(X)[0].square().sum(), list(layer.parameters()))
    torch.testing.assert_close(have, want, rtol=1e-4, atol=1e-6)


def test_eval_mode_of_every_option():
    layer = made("gru", dropout=0.5, recurrent_dropout=0.5, zoneout=0.2, weight_drop=0.5, residual=True).eval()
    live = layer.stream(3)
    torch.testing.assert_close(torch.cat([live.push(X[:, :2]), live.push(X[:, 2])[:, None]], 1), layer(X[:, :3])[0])
