"""NARX nets against a plain loop over the paper's formula in NumPy, open and closed, and as a model of a system."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.tolerances import assert_close

from recurra.base.errors import ConfigError, ShapeError
from recurra.kernels.cpu.compiler import compiler
from recurra.layers.narx import NARX, NARXCell, NARXState

B, T, IN, OUT, H = 2, 12, 3, 2, 5
DELAYS = [(0, 1), (2, 1), (1, 3), (4, 4)]


def made(delays=(1, 3), layers=2, **options):
    net = NARX(
        IN,
        OUT,
        H,
        input_delays=delays[0],
        output_delays=delays[1],
        hidden_layers=layers,
        generator=torch.Generator().manual_seed(2),
        **options,
    ).double()
    generator = torch.Generator().manual_seed(6)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return net


def draw():
    generator = torch.Generator().manual_seed(1)
    u = torch.randn(B, T, IN, generator=generator, dtype=torch.float64)
    return u, torch.randn(B, T, OUT, generator=generator, dtype=torch.float64)


def by_hand(net, u, told=None):
    """The formula of Lin et al., one step after the other; `told` are the true outputs, or its own come back."""
    value = {name: tensor.detach().numpy() for name, tensor in net.recurrent.units[0].named().items()}
    past_u = [np.zeros((B, IN))] * net.input_delays
    past_y = [np.zeros((B, OUT))] * net.output_delays
    outputs = []
    for t in range(T):
        now = u[:, t].numpy()
        x = np.concatenate([now, *past_u], -1)
        total = x @ value["W"].T + value["b.h"]
        for lag, y in enumerate(past_y, 1):
            total = total + y @ value[f"U{lag}"].T
        h = np.tanh(total)
        for layer in range(2, net.recurrent.cell.hidden_layers + 1):
            h = np.tanh(h @ value[f"V{layer}"].T + value[f"b.h{layer}"])
        y = h @ value["V"].T + value["b.y"]
        outputs.append(y)
        past_u = [now, *past_u][: net.input_delays]
        past_y = [y if told is None else told[:, t].numpy(), *past_y][: net.output_delays]
    return torch.from_numpy(np.stack(outputs, 1)), past_u, past_y


@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("delays", DELAYS)
def test_closed_and_open_loop_as_the_paper_writes_them(delays, layers):
    net = made(delays, layers)
    u, targets = draw()
    for told in (None, targets):
        want, past_u, past_y = by_hand(net, u, told)
        y, state = net(u) if told is None else net.open_loop(u, told)
        assert_close(y, want, "value", "y")
        # The state keeps the newest last.
        assert_close(state.outputs, torch.from_numpy(np.stack(past_y[::-1], 1)), "value", "outputs")
        if past_u:
            assert_close(state.inputs, torch.from_numpy(np.stack(past_u[::-1], 1)), "value", "inputs")


@pytest.mark.parametrize("delays", DELAYS)
def test_in_pieces_it_is_the_whole(delays):
    net = made(delays)
    u, targets = draw()
    whole, told = net(u)[0], net.open_loop(u, targets)[0]
    for cuts in [(1,) * T, (5, 7), (3, 0, 9)]:
        for want, run in ((whole, lambda u, _, s: net(u, s)), (told, net.open_loop)):
            state, outputs = None, []
            for piece, target in zip(u.split(cuts, 1), targets.split(cuts, 1), strict=True):
                y, state = run(piece, target, state)
                outputs.append(y)
            assert_close(torch.cat(outputs, 1), want, "value", f"pieces of {cuts}")
    state, outputs = None, []
    for moment in u.unbind(1):
        y, state = net.step(moment, state)
        outputs.append(y)
    assert_close(torch.stack(outputs, 1), whole, "value", "steps")


def test_rows_of_different_lengths():
    net = made()
    u, targets = draw()
    lengths = torch.tensor([12, 5])
    y, state = net(u, None, lengths)
    told, _ = net.open_loop(u, targets, None, lengths)
    alone, end = net(u[1:, :5])
    assert_close(y[1, :5], alone[0], "value", "closed")
    assert not y[1, 5:].any()
    assert not told[1, 5:].any()
    assert_close(state.inputs[1], end.inputs[0], "value", "inputs")
    assert_close(state.outputs[1], end.outputs[0], "value", "outputs")
    assert_close(told[1, :5], net.open_loop(u[1:, :5], targets[1:, :5])[0][0], "value", "open")


def test_gradients():
    net = made()
    u, targets = draw()
    u, targets = u[:1, :4].requires_grad_(), targets[:1, :4].requires_grad_()
    assert torch.autograd.gradcheck(lambda u: net(u)[0], u)
    assert torch.autograd.gradcheck(lambda u, t: net.open_loop(u, t)[0], (u, targets))


@pytest.mark.skipif(not compiler(), reason="no compiler")
def test_the_native_engine_runs_the_closed_loop():
    net, slow = made(backend="native").float(), made(backend="reference")
    u, _ = draw()
    y, want = net(u.float())[0], slow(u)[0]
    assert_close(y, want, "rounding", "y")
    y.sum().backward()
    want.sum().backward()
    for (name, have), other in zip(net.named_parameters(), slow.parameters(), strict=True):
        assert_close(have.grad, other.grad, "gradient rounding", name)


def test_it_learns_a_system_and_runs_free():
    # Narendra and Parthasarathy 1990, doi:10.1109/72.80202, example 3: y' = y / (1 + y^2) + u^3.
    generator = torch.Generator().manual_seed(0)
    u = 2 * torch.rand(8, 250, 1, generator=generator, dtype=torch.float64) - 1
    y = torch.zeros(8, 250, 1, dtype=torch.float64)
    for t in range(249):
        y[:, t + 1] = y[:, t] / (1 + y[:, t] ** 2) + u[:, t] ** 3
    net = NARX(1, 1, 10, input_delays=1, output_delays=2, generator=generator).double()
    optimiser = torch.optim.LBFGS(net.parameters(), max_iter=200, line_search_fn="strong_wolfe")

    def loss():
        optimiser.zero_grad()
        told, _ = net.open_loop(u[:7, 2:], y[:7, 2:], NARXState(u[:7, 1:2], y[:7, :2]))
        error = ((told - y[:7, 2:]) ** 2).mean()
        error.backward()
        return error

    optimiser.step(loss)
    with torch.no_grad():
        # A series it never saw: 50 steps on its own outputs after 200 true ones.
        _, state = net.open_loop(u[7:, 2:200], y[7:, 2:200], NARXState(u[7:, 1:2], y[7:, :2]))
        ahead, _ = net(u[7:, 200:], state)
    error = ((ahead - y[7:, 200:]) ** 2).mean().sqrt() / y[7:].std()
    assert error < 0.1, f"{error:.3f}"


@pytest.mark.parametrize(
    ("build", "error", "said"),
    [
        (lambda: NARXCell(0), ConfigError, "whole numbers from 1, got 0"),
        (lambda: NARXCell(1, 0), ConfigError, "whole numbers from 1"),
        (lambda: NARXCell(1, 1, "gelu"), ConfigError, "activation must be one of"),
        (lambda: NARX(0, 1, 3), ConfigError, "input_size from 1"),
        (lambda: NARX(1, 1, 3, input_delays=-1), ConfigError, "input_delays must be from 0"),
        (lambda: made()(draw()[1]), ShapeError, r"u must be \(B, T, I\)"),
        (lambda: made()(draw()[0].float()), ShapeError, "u is torch.float32"),
        (lambda: made()(draw()[0], NARXState(*draw())), ShapeError, "NARXState"),
        (lambda: made().open_loop(draw()[0], draw()[1][:1]), ShapeError, "targets must be"),
    ],
)
def test_bad_input(build, error, said):
    with pytest.raises(error, match=said):
        build()
