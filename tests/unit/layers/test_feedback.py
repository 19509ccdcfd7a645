"""Teacher forcing without a time loop against the time loop, and the ways between teacher and free running."""

from __future__ import annotations

import math
import time
from typing import ClassVar

import pytest
import torch
from tests.tolerances import assert_close

from recurra.base.errors import ConfigError, ShapeError
from recurra.cells import CELLS
from recurra.equations.cell import Cell
from recurra.equations.functions import tanh
from recurra.layers import Recurrent
from recurra.layers.feedback import OutputFeedback, output_lags, teacher_forced
from recurra.layers.narx import NARXCell

B, T, F, H, OUT = 3, 9, 4, 6, 2
LENGTHS = torch.tensor([9, 1, 4])


class SecondOrder(Cell):
    """Remembers its last two outputs, and squashes them."""

    states = "y", "old"
    axes: ClassVar = {"y": "O", "old": "O"}

    def step(self, x, y, old, W, U, R, V):
        return tanh(V.y @ tanh(W @ x + U @ y + R @ old)), y


CELLS_HERE = {"jordan": "jordan", "narx": NARXCell(3, 2), "own": SecondOrder}


def made(cell="jordan", **options):
    net = OutputFeedback(CELLS_HERE[cell], F, H, OUT, generator=torch.Generator().manual_seed(2), **options).double()
    generator = torch.Generator().manual_seed(6)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return net


def draw():
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(B, T, F, generator=generator, dtype=torch.float64)
    return x, torch.randn(B, T, OUT, generator=generator, dtype=torch.float64)


def in_a_loop(net, x, targets, state=None):
    """One step after the other, the true output put in by hand."""
    layer = net.recurrent
    state = layer.initial_state(x.shape[0]) if state is None else state
    outputs = []
    for t in range(x.shape[1]):
        y, after = layer.step(x[:, t], state)
        outputs.append(y)
        parts = list(after[0])
        parts[0] = targets[:, t]
        state = (layer.units[0].state_type(*parts),)
    return torch.stack(outputs, 1), state


@pytest.mark.parametrize("cell", CELLS_HERE)
def test_a_teacher_needs_no_time_loop(cell):
    net = made(cell)
    x, targets = draw()
    for given in (None, in_a_loop(net, x, targets)[1]):
        y, state = net(x, given, targets=targets)
        want, end = in_a_loop(net, x, targets, given)
        assert_close(y, want, "value", "y")
        for have, other in zip(state[0], end[0], strict=True):
            assert torch.equal(have, other)
    (y * targets).sum().backward()
    parallel = [parameter.grad.clone() for parameter in net.parameters()]
    net.zero_grad()
    (want * targets).sum().backward()
    for (name, parameter), have in zip(net.named_parameters(), parallel, strict=True):
        assert_close(have, parameter.grad, "gradient", name)


@pytest.mark.parametrize("cell", CELLS_HERE)
def test_rows_of_different_lengths(cell):
    net = made(cell)
    x, targets = draw()
    for row, length in enumerate(LENGTHS):
        x[row, length:] = targets[row, length:] = math.nan
    y, state = net(x, None, LENGTHS, targets=targets)
    for row, length in enumerate(LENGTHS):
        alone, end = net(x[row : row + 1, :length], targets=targets[row : row + 1, :length])
        assert_close(y[row, :length], alone[0], "value", f"row {row}")
        assert not y[row, length:].any()
        for have, want in zip(state[0], end[0], strict=True):
            assert_close(have[row], want[0], "value", "state")


@pytest.mark.parametrize("cell", CELLS_HERE)
def test_chunks_with_and_without_a_teacher(cell):
    net = made(cell)
    x, targets = draw()
    for told in ({"targets": targets}, {}):
        y, _ = net(x, **told)
        first, middle = net(x[:, :4], **{k: v[:, :4] for k, v in told.items()})
        second, _ = net(x[:, 4:], middle, **{k: v[:, 4:] for k, v in told.items()})
        assert_close(torch.cat((first, second), 1), y, "value", "chunks")


@pytest.mark.parametrize("cell", CELLS_HERE)
def test_free_running_tells_itself(cell):
    net = made(cell)
    x, _ = draw()
    y, _ = net(x)
    assert_close(net(x, targets=y.detach())[0], y, "value", "told what it says anyway")
    now, outputs = net.initial_state(B), []
    for moment in x.unbind(1):
        out, now = net.step(moment, now)
        outputs.append(out)
    assert_close(torch.stack(outputs, 1), y, "value", "steps")


@pytest.mark.parametrize("cell", CELLS_HERE)
def test_a_mix(cell):
    net = made(cell)
    x, targets = draw()
    almost_all = 1 - 1e-12
    assert_close(net(x, targets=targets, teacher=almost_all)[0], net(x, targets=targets)[0], "value", "all truth")
    assert_close(net(x, targets=targets, teacher=1e-12)[0], net(x)[0], "value", "no truth")
    half = [net(x, targets=targets, teacher=0.5, generator=torch.Generator().manual_seed(k))[0] for k in (1, 1, 2)]
    assert torch.equal(half[0], half[1])
    assert not torch.equal(half[0], half[2])
    assert_close(half[0][:, 0], net(x)[0][:, 0], "value", "the first step is told nothing")


def test_gradients():
    net = made("own")
    x, targets = draw()
    x, targets = x[:2, :3].requires_grad_(), targets[:2, :3].requires_grad_()
    assert torch.autograd.gradcheck(lambda x, t: net(x, targets=t, lengths=[3, 1])[0], (x, targets))


def test_which_cells_remember_outputs_only():
    assert output_lags(CELLS["jordan"]().spec) == {"y": 1}
    assert output_lags(NARXCell(3).spec) == {"y": 1, "y2": 2, "y3": 3}
    assert output_lags(SecondOrder().spec) == {"y": 1, "old": 2}
    assert output_lags(CELLS["lstm"]().spec) is None


def test_it_is_faster_than_the_loop():
    net = OutputFeedback("jordan", 16, 32, 8)
    x, targets = torch.randn(8, 200, 16), torch.randn(8, 200, 8)

    def fastest(run):
        taken = []
        for _ in range(5):
            begin = time.perf_counter()
            run()[0].sum().backward()
            taken.append(time.perf_counter() - begin)
        return min(taken)

    ratio = fastest(lambda: in_a_loop(net, x, targets)) / fastest(lambda: net(x, targets=targets))
    # Measured 20 and more; a loaded machine must not turn the test red.
    assert ratio > 4, f"{ratio:.1f}"


def test_empty():
    net = made()
    x, targets = draw()
    assert net(x[:, :0], targets=targets[:, :0])[0].shape == (B, 0, OUT)
    assert net(x[:0], targets=targets[:0])[0].shape == (0, T, OUT)
    assert net(x[:, :0], targets=targets[:, :0], teacher=0.5)[0].shape == (B, 0, OUT)


@pytest.mark.parametrize(
    ("build", "error", "said"),
    [
        (lambda: OutputFeedback("lstm", 3, 4, 2), ConfigError, "no output layer inside"),
        (lambda: teacher_forced(Recurrent("lstm", F, OUT).double(), *draw()), ConfigError, "more than its outputs"),
        (lambda: teacher_forced(Recurrent("jordan", F, OUT, 2).double(), *draw()), ConfigError, "one layer"),
        (lambda: made()(draw()[0], targets=draw()[1][:, 1:]), ShapeError, r"targets must be \(B, T, O\) = \(3, 9, 2\)"),
        (lambda: made()(draw()[0], targets=draw()[0]), ShapeError, r"targets must be \(B, T, O\)"),
        (lambda: made()(*draw()[::-1], targets=draw()[1]), ShapeError, r"x must be \(B, T, I\)"),
        (lambda: made()(draw()[0], targets=draw()[1], teacher=1.5), ConfigError, "teacher must lie in"),
        (lambda: made()(draw()[0], None, [1, 2, 3], targets=draw()[1], teacher=0.5), ConfigError, "takes no lengths"),
    ],
)
def test_bad_input(build, error, said):
    with pytest.raises(error, match=said):
        build()
