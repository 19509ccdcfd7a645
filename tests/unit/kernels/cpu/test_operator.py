"""The loop as a torch operator: torch's own checks, first and second derivatives, dense, ragged and restarted."""

from __future__ import annotations

from unittest.mock import patch

import pytest
import torch
from tests.tolerances import assert_close
from torch import Tensor

from recurra.base.state import leaves
from recurra.cells import CELLS
from recurra.equations.transform import with_zoneout
from recurra.kernels.cpu import backend, operator
from recurra.kernels.cpu.compiler import compiler
from recurra.kernels.cpu.operator import loop_of
from recurra.layers import Recurrent
from unit.kernels.odd_cells import ODD

pytestmark = pytest.mark.skipif(compiler() is None, reason="no C++ compiler")

RESETS = torch.tensor([[0, 0, 1, 0], [1, 0, 0, 1], [0, 1, 1, 1]]).bool()
LENGTHS = torch.tensor([3, 0, 4])
CALLS = {
    "dense": {},
    "ragged": {"lengths": LENGTHS},
    "restarted": {"resets": RESETS},
    "both": {"lengths": LENGTHS, "resets": RESETS},
}
CELLS_HERE = {name: name for name in ("lstm", "gru_v1", "layer_norm_lstm", "jordan")}
CELLS_HERE |= {name: ODD[name] for name in ("product_is_a_state_too", "parameter_as_state")}


def make(cell: str, **options: object) -> Recurrent:
    generator = torch.Generator().manual_seed(2)
    layer = Recurrent(CELLS_HERE[cell], 3, 5, generator=generator, backend="native", **options).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return layer


def draw(*shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(*shape, generator=generator, dtype=torch.float64, requires_grad=True)


def recorded(module: object, name: str, work) -> tuple:
    """What an operator was called with, its tensors as leaves."""
    calls = []
    real = getattr(module, name)
    with patch.object(module, name, lambda *given: calls.append(given) or real(*given)):
        work()
    (given,) = calls

    def leaf(value):
        if isinstance(value, Tensor):
            return value.detach().requires_grad_(value.requires_grad)
        return [leaf(part) for part in value] if isinstance(value, (list, tuple)) else value

    return tuple(leaf(value) for value in given)


CHECKS = ("test_schema", "test_autograd_registration", "test_faketensor")


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("cell", CELLS_HERE)
def test_torch_checks_the_forward_operator(cell, call):
    layer, x = make(cell, learned_initial_state=True), draw(3, 4, 3)
    given = recorded(backend, "run", lambda: layer(x, **CALLS[call]))
    found = torch.library.opcheck(torch.ops.recurra.cpu_loop.default, given, test_utils=CHECKS)
    assert found == dict.fromkeys(CHECKS, "SUCCESS")


@pytest.mark.parametrize(("cell", "call"), [("gru_v1", "dense"), ("lstm", "both")])
def test_torch_traces_the_operator_with_its_gradient(cell, call):
    layer, x = make(cell, learned_initial_state=True), draw(3, 4, 3)
    given = recorded(backend, "run", lambda: layer(x, **CALLS[call]))
    torch.library.opcheck(torch.ops.recurra.cpu_loop.default, given, test_utils="test_aot_dispatch_dynamic")


@pytest.mark.parametrize("call", CALLS)
def test_torch_checks_the_forward_operator_without_gradients(call):
    layer, x = make("lstm"), draw(3, 4, 3)
    with torch.no_grad():
        given = recorded(backend, "run", lambda: layer(x, **CALLS[call]))
    assert given[-1] == "nothing"
    with torch.no_grad():
        torch.library.opcheck(torch.ops.recurra.cpu_loop.default, given, test_utils=("test_schema", "test_faketensor"))


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("cell", CELLS_HERE)
def test_torch_checks_the_backward_operator(cell, call):
    layer, x = make(cell), draw(3, 4, 3)
    given = recorded(operator, "_run_backward", lambda: layer(x, **CALLS[call])[0].sum().backward())
    with torch.no_grad():
        torch.library.opcheck(
            torch.ops.recurra.cpu_loop_backward.default, given, test_utils=("test_schema", "test_faketensor")
        )


def function(layer: Recurrent, call: str):
    """x, states and parameters -> outputs and final states, and the inputs at which to try it."""
    parts = tuple(type(part)(*(draw(*leaf.shape) for leaf in part)) for part in layer.zero_state(3))
    names = [name for name, _ in layer.named_parameters()]
    inputs = [draw(3, 4, 3), *leaves(parts), *layer.parameters()]
    count = len(leaves(parts))

    def run(x, *rest):
        state = (type(parts[0])(*rest[:count]),)
        given = dict(zip(names, rest[count:], strict=True))
        y, last = torch.func.functional_call(layer, given, (x, state), CALLS[call])
        return (y, *leaves(last))

    return run, inputs


# Dense batches are in the contract battery, cell by cell.
@pytest.mark.parametrize(
    ("cell", "call"), [*((cell, "both") for cell in CELLS_HERE), ("gru_v1", "ragged"), ("gru_v1", "restarted")]
)
def test_first_and_second_derivatives(cell, call):
    run, inputs = function(make(cell, learned_initial_state=True), call)
    assert torch.autograd.gradcheck(run, inputs, fast_mode=True)
    assert torch.autograd.gradgradcheck(run, inputs, fast_mode=True)


@pytest.mark.parametrize("call", ["both", "restarted"])
def test_every_entry_of_the_gradient(call):
    run, inputs = function(make("gru_v1", learned_initial_state=True), call)
    assert torch.autograd.gradcheck(run, inputs)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("cell", CELLS_HERE)
def test_a_gradient_of_a_gradient_is_that_of_the_reference(cell, call):
    layer, found = make(cell), {}
    for name in ("reference", "native"):
        for unit in layer.units:
            unit.backend = name
        x = draw(3, 4, 3)
        y, last = layer(x, **CALLS[call])
        wanted = [x, *layer.parameters()]
        total = y.square().sum() + sum(leaf.sum() for leaf in leaves(last))
        first = torch.autograd.grad(total, wanted, create_graph=True, allow_unused=True, materialize_grads=True)
        penalty = sum(part.square().sum() for part in first)
        second = torch.autograd.grad(penalty, wanted, allow_unused=True, materialize_grads=True)
        found[name] = [*first, *second]
    for number, (have, want) in enumerate(zip(found["native"], found["reference"], strict=True)):
        assert_close(have, want, "gradient", f"gradient {number}")


def test_specs_that_say_the_same_share_a_loop():
    first, second = (with_zoneout(CELLS["lstm"]().spec, ("h",)) for _ in range(2))
    plain = CELLS["lstm"]().spec
    key, loop = loop_of(first, "products")
    assert loop_of(second, "products") == (key, loop)
    # Other equations, and the same ones with other work inside the loop.
    assert len({key, loop_of(plain, "products")[0], loop_of(plain, "none")[0]}) == 3
    assert loop_of(plain, "none")[0].startswith("lstm_")


def test_rows_of_a_ragged_batch():
    # Longest first: 4, 2, 2, 0.
    resets = torch.zeros(8, dtype=torch.bool)
    resets[4] = True
    rows = operator._rows(4, 4, torch.tensor([4, 2, 2, 0]), resets)
    assert rows.active is not None
    assert rows.any_reset is not None
    assert rows.active.tolist() == [3, 3, 1, 1]
    assert rows.offset.tolist() == [0, 3, 6, 7]
    assert rows.any_reset.tolist() == [0, 1, 0, 0]
    assert not rows.plain


def test_rows_of_a_dense_batch():
    rows = operator._rows(3, 4, None, None)
    assert rows.offset.tolist() == [0, 4, 8]
    assert rows.plain
    assert (rows.active, rows.resets, rows.any_reset) == (None, None, None)
    rows = operator._rows(3, 2, None, torch.tensor([0, 0, 0, 1, 0, 0]).bool())
    assert rows.any_reset is not None
    assert rows.any_reset.tolist() == [0, 1, 0]
    assert not rows.plain


@pytest.mark.parametrize("call", CALLS)
def test_the_short_way_of_eager_mode_is_the_operator(call, monkeypatch):
    layer, x = make("gru_v1", learned_initial_state=True), draw(3, 4, 3)

    def results():
        layer.zero_grad()
        y, state = layer(x, **CALLS[call])
        loss = (y * torch.arange(y.numel()).view(y.shape)).sum() + state[0].h.square().sum()
        return [y, *torch.autograd.grad(loss, [x, *layer.parameters()])]

    short = results()
    monkeypatch.setattr(operator, "_plain", lambda: False)
    for have, want in zip(short, results(), strict=True):
        assert torch.equal(have, want)


def test_what_counts_or_traces_sees_the_operator():
    layer, x = make("lstm"), draw(3, 4, 3)
    with torch.utils.flop_counter.FlopCounterMode(display=False):
        assert not operator._plain()
    assert operator._plain()
    with torch.profiler.profile() as profile:
        layer(x)
    assert not any("cpu_loop" in event.name for event in profile.events())
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x)[0], layer(x)[0])
