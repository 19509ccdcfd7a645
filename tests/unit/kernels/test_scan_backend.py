"""The scan backend against the reference, step by step: the cells of the registry, and cells made to be awkward."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch
from tests.tolerances import assert_close

from recurra.base.errors import NoBackend
from recurra.cells import CELLS
from recurra.equations.cell import Cell
from recurra.equations.functions import mean, relu, sigmoid, softmax, tanh, where
from recurra.equations.transform import with_zoneout
from recurra.kernels.reference.backend import Reference
from recurra.kernels.request import Request
from recurra.kernels.scan import program as program_module
from recurra.kernels.scan.backend import Scan
from recurra.kernels.scan.program import ScanProgram, scan_program
from recurra.layers import Recurrent
from unit.kernels.odd_cells import ODD

SIZES = {"I": 3, "H": 5, "O": 2}
H2, H3 = ("h", "c"), ("h", "c", "d")


def cell(states, **axes):
    """Make a cell's spec of the decorated step."""
    return lambda step: type(step.__name__, (Cell,), {"states": states, "step": step, "axes": axes})().spec


@cell(H2)
def rotation(self, x, h, c, W, k):
    """Two states that wait for each other."""
    return tanh(k.a) * h - tanh(k.b) * c + W.h @ x, tanh(k.b) * h + tanh(k.a) * c + W.c @ x


@cell(H3)
def chosen_circle(self, x, h, c, d, W):
    """Three that wait for each other; the input chooses which way, a number may stand where a vector could."""
    turn = where(W.t @ x < 0, 0.5 * c, h / 3)
    return turn + W.h @ x, where(mean(x) < 0, d, -0.3), 0.9 * h


@cell(H3)
def scan_of_a_scan(self, x, h, c, d, W, U, b):
    """A factor, a row op and a product of what was scanned before; the last value and the one before it."""
    d_next = sigmoid(W.d @ x) * d + W.n @ x
    c_next = sigmoid(U.f @ d + b.f) * c + softmax(U.c @ d_next)
    return 0.7 * h + relu(c_next) * (U.h @ c), c_next, d_next


@cell(("h", "p", "q"), p="I", q="I")
def chain_of_delays(self, x, h, p, q, W):
    """A window of three inputs and no memory beyond."""
    return tanh(W.a @ x + W.b @ p + W.c @ q), x, p


@cell(("h", "F", "s0"))
def names_of_the_program(self, x, h, F, s0, W, a0):
    """States and parameters called like what the written function uses."""
    return a0 * h + F, 0.5 * F + W @ x, -s0 + F


@cell(H2)
def numbers_and_parameters(self, x, h, c, W, k):
    """A number as the factor, a parameter as a state's next value."""
    return 0.5 * h + c + W @ x, k


@cell(H2)
def same_next_value(self, x, h, c, W):
    """Two states with one equation."""
    after = 0.5 * c + W @ x
    return after + 0 * h, after


SPECS = {name: CELLS[name]().spec for name in CELLS if CELLS[name]().spec.scan_order}
SPECS |= {f"{name}+zoneout": with_zoneout(spec, spec.states) for name, spec in SPECS.items()}
OWN = [
    rotation,
    chosen_circle,
    scan_of_a_scan,
    chain_of_delays,
    names_of_the_program,
    numbers_and_parameters,
    same_next_value,
]
SPECS |= {spec.name: spec for spec in OWN}
SPECS |= {name: kind().spec for name, kind in ODD.items() if kind().spec.scan_order}


def request_for(spec, batch=4, steps=70, dtype=torch.float64, ragged=False, resets=False):
    draw = torch.Generator().manual_seed(7)

    def random(*shape):
        return torch.randn(*shape, generator=draw, dtype=torch.float64).to(dtype).requires_grad_()

    sizes = [SIZES[spec.state_axes[name]] for name in spec.states]
    params = {name: random(*(SIZES[axis] for axis in axes)) for name, axes in spec.params.items()}
    state, initial = (tuple(random(batch, size) for size in sizes) for _ in range(2))
    x = random(batch, steps, SIZES["I"])
    extras = {e.name: (torch.rand(steps, batch, SIZES[e.axis], generator=draw) < 0.3).to(dtype) for e in spec.extras}
    lengths = torch.tensor([steps, 0, steps // 2, 1][:batch]) if ragged else None
    again = None
    if resets:
        again = torch.rand(batch, steps, generator=draw) < 0.1
    if lengths is not None:
        valid = torch.arange(steps) < lengths[:, None]
        x = (x * valid.unsqueeze(-1)).to(dtype)
        again = again & valid if again is not None else None
    return Request(spec, params, x, state, initial, lengths, again, extras)


def everything(backend, request):
    """Outputs, final states, and the gradients of a fixed projection of both."""
    y, final = backend.run(request)
    total = (y * torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view_as(y)).sum() + sum((s * s).sum() for s in final)
    inputs = [*request.params.values(), *request.state, *request.initial, request.x]
    gradients = torch.autograd.grad(total, inputs, allow_unused=True)
    return y, final, [torch.zeros_like(i) if g is None else g for i, g in zip(inputs, gradients, strict=True)]


@pytest.mark.parametrize("options", [{}, {"ragged": True}, {"resets": True}, {"ragged": True, "resets": True}], ids=str)
@pytest.mark.parametrize("name", SPECS)
def test_as_the_reference(name, options):
    request = request_for(SPECS[name], **options)
    assert Scan().refuses(request) is None
    y, final, gradients = everything(Scan(), request)
    want_y, want_final, want_gradients = everything(Reference(), request)
    assert_close(y, want_y, "value", "outputs")
    for state, have, want in zip(request.spec.states, final, want_final, strict=True):
        assert_close(have, want, "value", f"final {state}")
    for have, want in zip(gradients, want_gradients, strict=True):
        assert_close(have, want, "gradient", f"gradient, {tuple(want.shape)}")


@pytest.mark.parametrize("steps", [1, 2])
@pytest.mark.parametrize("name", SPECS)
def test_short_sequences(name, steps):
    request = request_for(SPECS[name], steps=steps, resets=True)
    have, want = everything(Scan(), request), everything(Reference(), request)
    assert_close(have[0], want[0], "value", "outputs")
    for part, other in zip((*have[1], *have[2]), (*want[1], *want[2]), strict=True):
        assert_close(part, other, "gradient", "states and gradients")


@pytest.mark.parametrize("name", ["rotation", "scan_of_a_scan", "qrnn+zoneout"])
def test_all_derivatives(name):
    request = request_for(SPECS[name], batch=2, steps=60, resets=True)

    def run(state, initial, x, *params):
        named = dict(zip(request.params, params, strict=True))
        states = (state, *request.state[1:])
        moved = Request(
            request.spec, named, x, states, (initial, *request.initial[1:]), None, request.resets, request.extras
        )
        y, final = Scan().run(moved)
        return y[:, ::9], *final

    inputs = [request.state[0], request.initial[0], request.x, *request.params.values()]
    assert torch.autograd.gradcheck(run, inputs, fast_mode=True)
    assert torch.autograd.gradgradcheck(run, inputs, fast_mode=True)


@pytest.mark.parametrize("name", ["min_gru", "min_lstm", "sru", "qrnn", "rglru"])
def test_a_long_sequence_in_float32(name):
    layer = Recurrent(name, 3, 9, generator=torch.Generator().manual_seed(0), backend="scan")
    x = torch.randn(2, 4096, 3, generator=torch.Generator().manual_seed(1))
    have, last = layer(x)
    want, exact = layer.double()(x.double())
    assert_close(have, want, "rounding", "outputs")
    assert_close(last[0][0], exact[0][0], "rounding", "final state")


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_types_stay(name, dtype):
    y, state = Scan().run(request_for(SPECS[name], dtype=dtype))
    assert {y.dtype, *(part.dtype for part in state)} == {dtype}


@pytest.mark.parametrize("shape", [(0, 3), (2, 0)])
@pytest.mark.parametrize("name", SPECS)
def test_nothing_to_do(name, shape):
    request = request_for(SPECS[name], *shape)
    y, state = Scan().run(request)
    assert y.shape == (*shape, SIZES[request.spec.output_axis])
    assert [part.shape for part in state] == [part.shape for part in request.state]


def test_what_it_refuses():
    with pytest.raises(NoBackend, match="scan: gru is not affine and elementwise in what it carries"):
        Recurrent("gru", 3, 4, backend="scan")(torch.zeros(1, 2, 3))
    with pytest.raises(ValueError, match="gru is not affine"):
        ScanProgram(CELLS["gru"]().spec)


def test_the_source_of_the_docstring():
    documented = (program_module.__doc__ or "").split("it is\n\n")[1].replace("\n    ", "\n").strip()
    assert ScanProgram(CELLS["min_gru"]().spec).source.strip() == documented


def test_source_is_shown(monkeypatch, capsys):
    monkeypatch.setenv("RECURRA_SHOW", "source")
    spec = CELLS["sru"]().spec
    assert scan_program(spec) is scan_program(spec)
    shown = capsys.readouterr().err
    assert shown.startswith("# sru\ndef sequence(run, x, p):")
    assert shown.count("def sequence") == 1


def test_no_product_is_done_twice():
    source = ScanProgram(CELLS["qrnn"]().spec).source
    assert source.count("F.linear") == 6
    # What the scan gave is read again, not computed again.
    assert ScanProgram(CELLS["sru"]().spec).source.count("next_c") == 3


def test_a_program_goes_with_its_spec():
    spec = CELLS["sru"]().spec
    scan_program(spec)
    there = weakref.ref(spec)
    del spec
    gc.collect()
    assert there() is None
