"""The emitted program computes what the equations say, node by node, for the cells and for odd ones."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch

from recurra.cells import CELLS
from recurra.equations.expr import make
from recurra.equations.transform import with_recurrent_dropout, with_zoneout
from recurra.kernels.plan import Plan
from recurra.kernels.reference import program as program_module
from recurra.kernels.reference.backend import Reference
from recurra.kernels.reference.program import Program, program
from recurra.kernels.reference.spelling import evaluate
from recurra.kernels.request import Request
from unit.kernels.odd_cells import ODD

SIZES = {"I": 3, "H": 5, "O": 2}
SPECS = {name: CELLS[name]().spec for name in CELLS} | {name: cell().spec for name, cell in ODD.items()}
SPECS |= {f"{name}+options": with_zoneout(with_recurrent_dropout(SPECS[name]), ("h",)) for name in ("lstm", "gru_v1")}


def request_for(spec, batch=4, steps=3, dtype=torch.float64):
    draw = torch.Generator().manual_seed(7)

    def random(*shape):
        return torch.randn(*shape, generator=draw, dtype=torch.float64).to(dtype)

    state = tuple(random(batch, SIZES[spec.state_axes[name]]) for name in spec.states)
    params = {name: random(*(SIZES[axis] for axis in axes)).requires_grad_() for name, axes in spec.params.items()}
    extras = {extra.name: random(batch, SIZES[extra.axis]) for extra in spec.extras}
    return Request(spec, params, random(batch, steps, SIZES["I"]), state, state, extras=extras)


def by_hand(request):
    """The loop of the reference with every node evaluated as written."""
    spec, state, outputs = request.spec, request.state, []
    leaves = {spec.symbol(name): value for name, value in {**request.params, **request.extras}.items()}
    for t in range(request.x.shape[1]):
        now = {spec.symbol("x"): request.x[:, t], **dict(zip(map(spec.symbol, spec.states), state, strict=True))}
        after = evaluate([spec.after[name] for name in spec.states], {**leaves, **now})
        state = tuple(value.expand_as(old) for value, old in zip(after, state, strict=True))
        outputs.append(state[0])
    return torch.stack(outputs, 1), state


def loss(y, state):
    weights = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view_as(y)
    return (y * weights).sum() + sum((part * part).sum() for part in state)


@pytest.mark.parametrize("name", SPECS)
def test_program_is_the_equations(name):
    request = request_for(SPECS[name])
    y, state = Reference().run(request)
    want_y, want_state = by_hand(request)
    torch.testing.assert_close(y, want_y, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(state, want_state, rtol=1e-12, atol=1e-12)
    params = list(request.params.values())
    have = torch.autograd.grad(loss(y, state), params, allow_unused=True)
    want = torch.autograd.grad(loss(want_y, want_state), params, allow_unused=True)
    torch.testing.assert_close(list(have), list(want), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_types_stay(name, dtype):
    y, state = Reference().run(request_for(SPECS[name], dtype=dtype))
    assert {y.dtype, *(part.dtype for part in state)} == {dtype}
    assert [tuple(part.shape) for part in state] == [(4, SIZES[SPECS[name].state_axes[s]]) for s in SPECS[name].states]


@pytest.mark.parametrize("name", SPECS)
def test_one_step_is_the_sequence_of_one(name):
    request = request_for(SPECS[name], steps=1)
    work = program(request.spec)
    with torch.no_grad():
        packed = work.pack(request.params)
        after = work.step(*work.before(request.x[:, 0], packed), *request.state, *request.extras.values(), *packed)
        y, state = Reference().run(request)
    torch.testing.assert_close(tuple(after), tuple(state), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(after[0], y[:, 0], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shape", [(0, 3), (2, 0)])
def test_nothing_to_do(shape):
    request = request_for(SPECS["lstm"], *shape)
    y, state = Reference().run(request)
    assert y.shape == (*shape, 5)
    assert [part.shape for part in state] == [(shape[0], 5)] * 2
    if shape[1] == 0:
        assert state == request.state


def test_source_of_the_lstm_is_one_product_a_step():
    source = Program(SPECS["lstm"]).source
    before, step = source.split("def before")[1].split("def step")
    assert before.count("F.linear") == 1
    assert step.count("torch.addmm") == 1
    assert "chunk(4, -1)" in step
    assert "@" not in step


@pytest.mark.parametrize("name", SPECS)
def test_no_product_is_done_twice(name):
    plan, work = Plan(SPECS[name]), Program(SPECS[name])
    before, step = work.source.split("def before")[1].split("def step")
    assert before.count("F.linear") == len(plan.input_stacks)
    assert step.count("torch.addmm") + step.count(" @ ") == len(plan.stacks)
    assert "F.linear" not in step


def test_source_is_shown(monkeypatch, capsys):
    monkeypatch.setenv("RECURRA_SHOW", "source")
    spec = CELLS["elman"]().spec
    assert program(spec) is program(spec)
    shown = capsys.readouterr().err
    assert shown.startswith("# elman\ndef pack(params):")
    assert shown.count("def step(") == 1


def test_a_program_goes_with_its_spec():
    spec = CELLS["elman"]().spec
    program(spec)
    kept, there = len(program_module._PROGRAMS), weakref.ref(spec)
    del spec
    gc.collect()
    assert there() is None
    assert len(program_module._PROGRAMS) < kept


@pytest.mark.parametrize("value", [-2000.0, -50.0, -1.0, 0.0, 1.0, 19.0, 25.0, 39.0, 41.0, 100.0, 2000.0])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_softplus_is_exact_and_finite(value, dtype):
    leaf = make("extra", value="a")
    at = torch.tensor([[value]], dtype=dtype, requires_grad=True)
    (found,) = evaluate([make("softplus", leaf)], {leaf: at})
    exact = max(value, 0.0) + torch.log1p(torch.exp(-torch.tensor(abs(value), dtype=torch.float64)))
    tolerance = 4 * torch.finfo(dtype).eps
    torch.testing.assert_close(found.detach().double(), exact.view(1, 1), rtol=tolerance, atol=0)
    (slope,) = torch.autograd.grad(found.sum(), [at])
    torch.testing.assert_close(slope.double(), torch.sigmoid(at.detach().double()), rtol=tolerance, atol=1e-30)
