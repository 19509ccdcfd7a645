"""Two-dimensional nets: the diagonal walk against four loops in NumPy, sizes, blocks, errors."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recurra.base.errors import ConfigError, ShapeError, UnknownName
from recurra.cells.lstm import LSTM
from recurra.layers.grid import DIRECTIONS, Recurrent2d, blocks, diagonals
from recurra.layers.grid_cells import GRID_CELLS

LIMIT = 1e-12


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def mdrnn(p, x, left, up):
    h = np.tanh(p["W"] @ x + p["U"] @ left[0] + p["V"] @ up[0] + p["b"])
    return (h,)


def pre(p, gate, x, left, up):
    return p[f"W.{gate}"] @ x + p[f"U.{gate}"] @ left[0] + p[f"V.{gate}"] @ up[0] + p[f"b.{gate}"]


def mdlstm(p, x, left, up):
    i = sigmoid(pre(p, "i", x, left, up) + p["p.i"] * left[1] + p["q.i"] * up[1])
    f_left = sigmoid(pre(p, "f", x, left, up) + p["p.f"] * left[1])
    f_up = sigmoid(pre(p, "k", x, left, up) + p["q.k"] * up[1])
    c = i * np.tanh(pre(p, "g", x, left, up)) + f_left * left[1] + f_up * up[1]
    return sigmoid(pre(p, "o", x, left, up) + p["p.o"] * c) * np.tanh(c), c


def stable(p, x, left, up):
    i, f, share, o = (sigmoid(pre(p, gate, x, left, up)) for gate in "iflo")
    c = f * (share * left[1] + (1 - share) * up[1]) + i * np.tanh(pre(p, "g", x, left, up))
    return o * np.tanh(c), c


def leaky(p, x, left, up):
    f, share, o, r = (sigmoid(pre(p, gate, x, left, up)) for gate in "flor")
    mean = share * left[1] + (1 - share) * up[1]
    c = f * mean + (1 - f) * np.tanh(pre(p, "g", x, left, up))
    return np.tanh(o * c + r * mean), c


STEPS = {"mdrnn": mdrnn, "mdlstm": mdlstm, "stable_mdlstm": stable, "leaky_lp": leaky}


def four_loops(layer, image):
    """Outputs (H, W, directions, units) and last corners of one image, pixel by pixel."""
    height, width, _ = image.shape
    y, corners = np.zeros((height, width, len(layer.directions), layer.hidden_size)), []
    for index, (direction, unit) in enumerate(zip(layer.directions, layer.units, strict=True)):
        p = {name: value.detach().numpy() for name, value in unit.named().items()}
        down, right = direction.startswith("down"), direction.endswith("right")
        rows = range(height) if down else range(height - 1, -1, -1)
        columns = range(width) if right else range(width - 1, -1, -1)
        outside = (np.zeros(layer.hidden_size),) * 2
        done = {}
        for row in rows:
            for column in columns:
                left = done.get((row, column - (1 if right else -1)), outside)
                up = done.get((row - (1 if down else -1), column), outside)
                done[row, column] = STEPS[layer.cell.name](p, image[row, column], left, up)
                y[row, column, index] = done[row, column][0]
        corners.append(done[rows[-1], columns[-1]])
    return y, corners


def built(cell, **options):
    layer = Recurrent2d(cell, 2, 3, generator=torch.Generator().manual_seed(0), **options).double()
    with torch.no_grad():
        for index, value in enumerate(layer.parameters()):
            value.add_(torch.randn(value.shape, generator=torch.Generator().manual_seed(index)) * 0.3)
    return layer


def test_every_cell_is_here():
    assert set(STEPS) == set(GRID_CELLS)


@pytest.mark.parametrize("cell", STEPS)
@pytest.mark.parametrize("shape", [(5, 7), (7, 5), (4, 4), (1, 6), (6, 1), (1, 1), (2, 3)])
def test_the_diagonal_walk_is_four_loops(cell, shape):
    layer = built(cell)
    x = torch.randn(2, *shape, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    y, corners = layer(x)
    for row in range(2):
        want, ends = four_loops(layer, x[row].numpy())
        assert np.abs(y[row].detach().numpy() - want.reshape(*shape, -1)).max() < LIMIT
        for corner, end in zip(corners, ends, strict=True):
            for part, number in zip(corner, end, strict=True):
                assert np.abs(part[row].detach().numpy() - number).max() < LIMIT


@pytest.mark.parametrize("cell", [pytest.param(cell, marks=[pytest.mark.slow] * (cell != "mdlstm")) for cell in STEPS])
def test_gradients(cell):
    layer = built(cell, directions=("down_right", "up_left"))
    x = torch.randn(2, 2, 3, 2, dtype=torch.float64, requires_grad=True)
    sizes = torch.tensor([[2, 3], [2, 2]])
    assert torch.autograd.gradcheck(lambda x, *_: layer(x, sizes)[0], (x, *layer.parameters()))


@pytest.mark.parametrize("cell", ["mdlstm", "mdrnn"])
@pytest.mark.parametrize("block", [(1, 1), (2, 3)])
def test_padding_is_inert(cell, block):
    layer = built(cell, block=block)
    x = torch.randn(4, 6, 7, 2, dtype=torch.float64)
    sizes = torch.tensor([[6, 7], [3, 5], [1, 1], [6, 2]])
    padded = x.clone()
    for row, (high, wide) in enumerate(sizes.tolist()):
        padded[row, high:], padded[row, :, wide:] = float("nan"), float("inf")
    y, corners = layer(padded, sizes)
    for row, (high, wide) in enumerate(sizes.tolist()):
        alone, ends = layer(x[row : row + 1, :high, :wide])
        assert (y[row, : alone.shape[1], : alone.shape[2]] - alone[0]).abs().max() < LIMIT
        assert not y[row, alone.shape[1] :].any()
        assert not y[row, :, alone.shape[2] :].any()
        for corner, end in zip(corners, ends, strict=True):
            assert (corner.h[row] - end.h[0]).abs().max() < LIMIT
    y.sum().backward()
    assert all(bool(torch.isfinite(p.grad).all()) for p in layer.parameters())


def test_blocks_are_windows():
    x = torch.arange(24.0).view(1, 4, 6, 1)
    cut, sizes = blocks(x, (2, 3), torch.tensor([[3, 4]]))
    assert cut[0, 1, 1].tolist() == [15, 16, 17, 21, 22, 23]
    assert sizes.tolist() == [[2, 2]]
    ragged, _ = blocks(x[:, :3, :4], (2, 3))
    assert ragged.shape == (1, 2, 2, 6)
    assert ragged[0, 1, 1].tolist() == [15, 0, 0, 0, 0, 0]
    assert blocks(x, (1, 1))[0] is x


def test_directions_and_merges():
    x = torch.randn(2, 4, 5, 2, dtype=torch.float64)
    whole = built("mdlstm")
    y = whole(x)[0].unflatten(-1, (4, 3))
    for merge, want in (("sum", y.sum(-2)), ("mean", y.mean(-2))):
        merged = built("mdlstm", merge=merge)
        merged.load_state_dict(whole.state_dict())
        assert (merged(x)[0] - want).abs().max() < LIMIT
    one = built("mdlstm", directions=("up_left",))
    one.units[0].load_state_dict(whole.units[DIRECTIONS.index("up_left")].state_dict())
    assert (one(x)[0] - y[..., 3, :]).abs().max() < LIMIT


def test_a_walk_only_knows_what_is_behind_it():
    layer = built("mdlstm", directions=("down_right",))
    x = torch.randn(1, 4, 5, 2, dtype=torch.float64)
    before = layer(x)[0]
    changed = x.clone()
    changed[0, 2, 3] += 1
    same = (layer(changed)[0] - before).abs().amax(-1)[0] < LIMIT
    assert (same == ~((torch.arange(4) >= 2).unsqueeze(1) & (torch.arange(5) >= 3))).all()


def test_the_stable_cells_do_not_grow():
    # The plain cell adds both neighbours' memories: on a large image they double along each diagonal.
    x = torch.ones(1, 60, 60, 2, dtype=torch.float64)
    reach = {}
    for cell in ("mdlstm", "stable_mdlstm", "leaky_lp"):
        layer = Recurrent2d(cell, 2, 3, directions=("down_right",)).double()
        with torch.no_grad():
            for name, value in layer.units[0].named().items():
                value.fill_(5.0 if name in ("b.f", "b.k", "b.i", "b.g") else 0.0)
        reach[cell] = float(layer(x)[1][0].c.abs().max().detach())
    assert reach["mdlstm"] > 1e20
    assert reach["stable_mdlstm"] < 200
    assert reach["leaky_lp"] < 1


def test_diagonals_cover_the_image():
    for height, width in ((3, 5), (5, 3), (1, 4)):
        steps, order = diagonals(height, width)
        assert sorted(order.tolist()) == list(range(height * width))
        assert sum(step.pixels for step in steps) == height * width
        assert len(steps) == height + width - 1


def test_errors():
    with pytest.raises(UnknownName, match="no grid cell is called 'mdlsm'"):
        Recurrent2d("mdlsm", 1, 2)
    with pytest.raises(ConfigError, match=r"and then the same with _up, got \(h, c\)"):
        Recurrent2d(LSTM, 1, 2)
    with pytest.raises(ConfigError) as caught:
        Recurrent2d("mdrnn", 0, -1, directions=("down",), merge="max", block=(0, 1))
    assert all(word in str(caught.value) for word in ("input_size", "hidden_size", "directions", "merge", "block"))
    layer = built("mdrnn")
    x = torch.zeros(2, 3, 4, 2, dtype=torch.float64)
    for bad, fact in (
        ((x[0],), r"x must be \(B, H, W, C\) with C = 2"),
        ((x[:, :0],), "no empty side"),
        ((x.float(),), r"x is torch.float32"),
        ((x, torch.tensor([[3, 4]])), r"sizes must be \(B, 2\) = \(2, 2\) integers"),
        ((x, torch.tensor([[3, 4], [0, 4]])), r"heights must lie in 1..3, got 0..3"),
        ((x, torch.tensor([[3, 4], [1, 5]])), r"widths must lie in 1..4, got 4..5"),
    ):
        with pytest.raises(ShapeError, match=fact):
            layer(*bad)
