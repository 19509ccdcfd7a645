"""Registry x backend x dtype: outputs, final state and all gradients; step, chunks, resets, padding, save and load."""

from __future__ import annotations

import io
from itertools import pairwise

import pytest
import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from tests.contract import battery
from tests.tolerances import TOLERANCE, assert_close

from recurra.base.state import leaves, stack, take, unstack
from recurra.cells import CELLS
from recurra.equations.cell import Cell
from recurra.equations.functions import sigmoid, softplus, tanh, where
from recurra.kernels.dispatch import BACKENDS
from recurra.layers import Recurrent


class Skeptic(Cell):
    """What a user might write: an own gate, two states of which one is not the output, a select, no reset.

    d = σ(W_d x + U_d h + k ⊙ m + b_d)
    m' = d ⊙ m + (1 - d) ⊙ softplus(W_m x + U_m (d ⊙ h))
    h' = where([0.5 < d], tanh(m'), 0.5 h)
    """

    states = "h", "m"

    def step(self, x, h, m, W, U, k, b):
        d = sigmoid(W.d @ x + U.d @ h + k * m + b.d)
        m_next = d * m + (1 - d) * softplus(W.m @ x + U.m @ (d * h))
        return where(d > 0.5, tanh(m_next), 0.5 * h), m_next


CASES = [
    pytest.param(cell, backend, id=f"{cell if isinstance(cell, str) else 'own'}-{backend}")
    for cell in (*CELLS, Skeptic)
    for backend in battery.backends(cell)
]
DTYPES = [pytest.param(torch.float64, id="f64"), pytest.param(torch.float32, id="f32")]


def test_every_backend_is_in_the_battery():
    assert {backend.name for backend in BACKENDS} == {param.values[1] for param in CASES}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("steps", battery.LENGTHS)
@pytest.mark.parametrize(("cell", "backend"), CASES)
def test_against_the_float64_definition(cell, backend, steps, dtype):
    layer = battery.make(cell, dtype, backend=backend)
    x, state = battery.draw(layer, 4, steps)
    exact = battery.make(cell, torch.float64)
    exact.load_state_dict(layer.state_dict())
    want = battery.everything(exact, x.double(), take_double(state), run=battery.by_hand)
    battery.compare(battery.everything(layer, x, state), want, f"{cell} on {backend}, T = {steps}")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("cell", "backend"), CASES)
def test_ragged_rows(cell, backend, dtype):
    layer = battery.make(cell, dtype, backend=backend)
    x, state = battery.draw(layer, 5, 9)
    lengths = torch.tensor([9, 0, 4, 1, 8])
    exact = battery.make(cell, torch.float64)
    exact.load_state_dict(layer.state_dict())
    want = battery.everything(exact, x.double(), take_double(state), run=battery.by_hand, lengths=lengths)
    have = battery.everything(layer, x, state, lengths=lengths)
    battery.compare(have, want, f"{cell} on {backend}")
    # Padding is inert: whatever stands there, even NaN, changes no number and gets no gradient.
    for filler in (1e6, float("nan")):
        padded = x.clone()
        for row, length in enumerate(lengths):
            padded[row, length:] = filler
        other = battery.everything(layer, padded, state, lengths=lengths)
        for name, value in have.items():
            assert torch.equal(other[name], value), f"{name} changed with padding {filler}"


@pytest.mark.parametrize(("cell", "backend"), CASES)
def test_gradcheck_and_second_derivatives(cell, backend):
    # Small: finite differences cost a pass per entry, and other tests compare gradients at awkward widths.
    layer = battery.make(cell, backend=backend, sizes=(3, 4))
    x, state = battery.draw(layer, 2, 3)
    inputs = [x.requires_grad_(), *(leaf.requires_grad_() for leaf in leaves(state)), *layer.parameters()]
    names = [name for name, _ in layer.named_parameters()]
    count = len(leaves(state))

    def run(x, *rest):
        parts = type(state[0])(*rest[:count])
        y, last = torch.func.functional_call(layer, dict(zip(names, rest[count:], strict=True)), (x, (parts,)))
        return (y, *leaves(last))

    assert torch.autograd.gradcheck(run, inputs)
    # All second derivatives at once would take minutes; random directions see every entry.
    assert torch.autograd.gradgradcheck(run, inputs, fast_mode=True)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("cell", "backend"), CASES)
def test_steps_and_chunks_are_the_whole(cell, backend, dtype):
    layer = battery.make(cell, dtype, num_layers=2, backend=backend).eval()
    if layer.output_width != battery.HIDDEN:
        layer = battery.make(cell, dtype, backend=backend).eval()
    # In float32 a product of one row rounds otherwise than one of many, and each step amplifies it, most in two layers
    # of the normalised LSTM, on every backend. That it is rounding, float64 shows over 50 steps.
    steps = 50 if dtype == torch.float64 else 20
    x, _ = battery.draw(layer, 1, steps)
    quantity = "value" if dtype == torch.float64 else "rounding"
    with torch.no_grad():
        want, final = layer(x)
    for sizes in ([1] * steps, [steps], [1, 7, 2, steps - 16, 1, 5]):
        live = layer.stream()
        have = torch.cat([live.push(chunk) for chunk in x[0].split(sizes)])
        assert_close(have, want[0], quantity, f"pushes of {sizes[:3]}")
        for a, b in zip(leaves(live.state), leaves(final), strict=True):
            assert_close(a, b, quantity, "state of the stream")
    # The step itself, with gradients on.
    state, outputs = None, []
    for t in range(steps):
        y, state = layer.step(x[:, t], state)
        outputs.append(y)
    assert_close(torch.stack(outputs, 1), want, quantity, "steps")


@pytest.mark.parametrize(("cell", "backend"), CASES)
def test_a_reset_is_a_fresh_state(cell, backend):
    # torch's operators cannot restart inside a sequence, so there the next backend does.
    layer = battery.make(cell, learned_initial_state=True, backend=None if backend == "torchnn" else backend)
    x, state = battery.draw(layer, 3, 12)
    resets = torch.zeros(3, 12, dtype=torch.bool)
    resets[0, 5] = resets[1, 0] = resets[2, 3] = resets[2, 11] = True
    have, last = layer(x, state, resets=resets)
    for row in range(3):
        borders = [0, *resets[row].nonzero().flatten().tolist(), 12]
        now = take(state, slice(row, row + 1))
        for start, end in pairwise(borders):
            if resets[row, start]:
                now = None
            if end == start:
                continue
            y, now = layer(x[row : row + 1, start:end], now)
            assert_close(have[row : row + 1, start:end], y, "value", f"row {row} from {start}")
        for a, b in zip(leaves(take(last, slice(row, row + 1))), leaves(now), strict=True):
            assert_close(a, b, "value", f"final state of row {row}")


@pytest.mark.parametrize(("cell", "backend"), CASES)
def test_rows_do_not_see_each_other(cell, backend):
    layer = battery.make(cell, backend=backend)
    x, state = battery.draw(layer, 4, 6)
    y, last = layer(x, state)
    apart = [layer(x[row : row + 1], part) for row, part in enumerate(unstack(state))]
    assert_close(torch.cat([part[0] for part in apart]), y, "value", "rows alone")
    together = stack([part[1] for part in apart])
    for a, b in zip(leaves(together), leaves(last), strict=True):
        assert_close(a, b, "value", "states stacked")


@pytest.mark.parametrize(("cell", "backend"), CASES)
def test_empty_batches_and_sequences(cell, backend):
    layer = battery.make(cell)
    for batch, steps in ((0, 4), (3, 0)):
        x, state = battery.draw(layer, batch, steps)
        y, last = layer(x, state)
        assert y.shape == (batch, steps, layer.output_width)
        for a, b in zip(leaves(last), leaves(state), strict=True):
            assert a.shape == b.shape
            assert torch.equal(a, b)


@pytest.mark.parametrize(("cell", "backend"), CASES)
def test_save_and_load(cell, backend):
    layer = battery.make(cell, torch.float32, backend=backend, num_layers=1, bidirectional=True)
    again = battery.make(cell, torch.float32, backend=backend, bidirectional=True)
    with torch.no_grad():
        for parameter in again.parameters():
            parameter.zero_()
    again.load_state_dict(load_tensors(save_tensors(layer.state_dict())))
    x, state = battery.draw(layer, 2, 5)
    assert torch.equal(layer(x, state)[0], again(x, state)[0])
    buffer = io.BytesIO()
    torch.save(layer.state_dict(), buffer)
    buffer.seek(0)
    again.load_state_dict(torch.load(buffer, weights_only=True))
    assert torch.equal(layer(x, state)[0], again(x, state)[0])


# Not the user's cell: its `where` jumps, and in eight bits it jumps elsewhere.
@pytest.mark.parametrize("cell", CELLS)
def test_bfloat16_stays_near(cell):
    layer = battery.make(cell, torch.bfloat16, backend="reference")
    x, state = battery.draw(layer, 4, 20)
    exact = battery.make(cell, torch.float64)
    exact.load_state_dict(layer.state_dict())
    want, _ = exact(x.double(), take_double(state))
    have, last = layer(x, state)
    assert have.dtype == torch.bfloat16
    assert all(leaf.dtype == torch.bfloat16 for leaf in leaves(last))
    assert_close(have, want, "value", "outputs")


ALL = {"recurrent_dropout": 0.3, "zoneout": 0.2, "learned_initial_state": True}
# Each set of options is a native program of its own, to be compiled: one at a time for a few kinds of cell, and slow.
OPTIONS = [
    pytest.param(
        cell,
        options,
        marks=() if options == ALL or cell in ("elman", "jordan", "lstm", "gru", Skeptic) else pytest.mark.slow,
        id=f"{cell if isinstance(cell, str) else 'own'}-{'-'.join(options)}",
    )
    for cell in (*CELLS, Skeptic)
    for options in ({"recurrent_dropout": 0.3}, {"zoneout": 0.2}, ALL)
]


@pytest.mark.parametrize(("cell", "options"), OPTIONS)
def test_options_keep_the_contract(cell, options):
    layer = battery.make(cell, **options)
    x, state = battery.draw(layer, 3, 8)
    lengths = torch.tensor([8, 3, 0])
    torch.manual_seed(1)
    have = battery.everything(layer, x, state, lengths=lengths)
    torch.manual_seed(1)
    padded = x.clone()
    padded[1, 3:] = float("nan")
    again = battery.everything(layer, padded, state, lengths=lengths)
    for name, value in have.items():
        assert torch.equal(again[name], value), name
    layer.eval()
    whole, last = layer(x)
    first, middle = layer(x[:, :3])
    rest, end = layer(x[:, 3:], middle)
    assert_close(torch.cat((first, rest), 1), whole, "value", "chunks")
    for a, b in zip(leaves(end), leaves(last), strict=True):
        assert_close(a, b, "value", "final state")


def take_double(state: tuple) -> tuple:
    return tuple(type(part)(*(leaf.double() for leaf in part)) for part in state)


def test_tolerances_stand():
    assert TOLERANCE[torch.float32, "value"] == TOLERANCE[torch.float32, "gradient"] == 1e-6
    assert max(limit for (dtype, _), limit in TOLERANCE.items() if dtype == torch.float64) == 1e-11


def test_own_cell_prints_what_it_says():
    spec = Recurrent(Skeptic, 2, 3).cell.spec
    assert spec.parameter_formula == "2HI + 2HH + 2H"
    assert spec.dependent_products == 2
