"""The native backend on odd inputs: sizes, strides, NaN, modes."""

from __future__ import annotations

import pytest
import torch
import torch.utils.checkpoint
from tests.tolerances import assert_close

from recurra.base.errors import ShapeError
from recurra.base.state import leaves
from recurra.kernels.cpu.compiler import compiler
from unit.kernels.cpu.backend_layers import CELLS, agree, draw, make, results

pytestmark = pytest.mark.skipif(compiler() is None, reason="no C++ compiler")


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(
    ("batch", "steps", "inputs", "hidden"),
    [(1, 1, 1, 1), (3, 1, 5, 7), (1, 9, 1, 16), (2, 3, 17, 1), (33, 2, 3, 31), (5, 4, 64, 33)],
)
def test_sizes(cell, batch, steps, inputs, hidden):
    if cell == "layer_norm_lstm" and hidden == 1:
        pytest.skip("a norm of one number is 0 whatever the number")
    agree(make(cell, inputs, hidden), draw(batch, steps, inputs))


def test_a_huge_layer():
    layer = make("gru", 3, 2000).float()
    for backend in ("native", "reference"):
        for unit in layer.units:
            unit.backend = backend
        x = draw(2, 2, 3).float().requires_grad_()
        y, _ = layer(x)
        found = [y.detach(), *torch.autograd.grad(y.sum(), [x, layer.get_parameter("units.0.U.n")])]
        if backend == "native":
            have = found
    for a, b in zip(have, found, strict=True):
        assert_close(a, b, "rounding", "H = 2000")


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(("batch", "steps"), [(0, 4), (3, 0), (0, 0)])
def test_nothing_to_do(cell, batch, steps):
    layer = make(cell, backend=None)
    x = draw(batch, steps, 5).requires_grad_()
    state = tuple(type(part)(*(leaf + 1 for leaf in part)) for part in layer.zero_state(batch))
    y, last = layer(x, state)
    assert y.shape == (batch, steps, 7)
    for a, b in zip(leaves(last), leaves(state), strict=True):
        assert torch.equal(a, b)
    # No step, no gradient of the outputs; but the final state is the first one.
    total = y.sum() + 0 * x.sum()
    gradients = torch.autograd.grad(total, [x, *layer.parameters()], allow_unused=True, materialize_grads=True)
    assert not any(part.any() for part in gradients)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("lengths", [[0, 0, 0], [6, 6, 6], [0, 6, 0], [1, 0, 0], [2, 5, 3], [6, 6, 5]])
@pytest.mark.parametrize("kind", [torch.int64, torch.int32])
def test_lengths(cell, lengths, kind):
    have = agree(make(cell), draw(3, 6, 5), lengths=torch.tensor(lengths, dtype=kind))
    for row, length in enumerate(lengths):
        assert not have[0][row, length:].any()


@pytest.mark.parametrize("lengths", [[0, 0, 0], [6, 0, 1], [5, 6, 3], None])
@pytest.mark.parametrize("cell", ["gru_v1", "lstm"])
def test_lengths_with_little_memory(cell, lengths):
    agree(make(cell, recompute=True), draw(3, 6, 5), lengths=lengths)


def test_one_row_with_a_length():
    for length in (0, 1, 6):
        agree(make("gru_v1"), draw(1, 6, 5), lengths=[length])


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("lengths", [None, [4, 0, 3]])
def test_restarts_everywhere(cell, lengths):
    layer = make(cell, learned_initial_state=True)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(0.1)
    agree(layer, draw(3, 4, 5), resets=torch.ones(3, 4, dtype=torch.bool), lengths=lengths)


STRIDES = {
    "time first": lambda x: x.transpose(0, 1).contiguous().transpose(0, 1),
    "features first": lambda x: x.permute(2, 0, 1).contiguous().permute(1, 2, 0),
    "every second": lambda x: x.repeat_interleave(2, 1)[:, ::2],
    "a window": lambda x: torch.cat((x, x, x), 2)[..., 5:10],
    "backwards in memory": lambda x: x.flip(1).contiguous().flip(1),
    "one row for all": lambda x: x[:1].expand(3, -1, -1),
    "one step for all": lambda x: x[:, :1].expand(-1, 6, -1),
}


@pytest.mark.parametrize("layout", STRIDES)
@pytest.mark.parametrize("lengths", [None, [6, 2, 4]])
def test_x_in_any_layout(layout, lengths):
    layer, x = make("gru_v1"), STRIDES[layout](draw(3, 6, 5))
    have = agree(layer, x, lengths=lengths)
    for a, b in zip(have, results(layer, "native", x.contiguous(), lengths=lengths), strict=True):
        assert torch.equal(a, b)


def test_states_in_any_layout():
    layer = make("lstm")
    state = layer.zero_state(3)[0]
    wide = draw(7, 3)
    for h, c in ((wide.t(), draw(1, 7).expand(3, 7)), (draw(3, 14)[:, ::2], draw(3, 1).expand(3, 7))):
        agree(layer, draw(3, 4, 5), (type(state)(h, c),))


def test_a_gradient_goes_through_an_expanded_state():
    layer, found = make("lstm"), {}
    for backend in ("native", "reference"):
        layer.units[0].backend = backend
        start = draw(1, 7).requires_grad_()
        state = (layer.units[0].state_type(start.expand(3, 7), start.expand(3, 7)),)
        found[backend] = torch.autograd.grad(layer(draw(3, 4, 5), state)[0].sum(), start)[0]
    assert_close(found["native"], found["reference"], "gradient", "start")


def test_parameters_in_any_layout():
    layer = make("gru_v1")
    want = results(layer, "native", draw(3, 4, 5))
    for parameter in layer.parameters():
        if parameter.dim() == 2:
            parameter.data = parameter.data.t().contiguous().t()
            assert not parameter.is_contiguous()
    for a, b in zip(agree(layer, draw(3, 4, 5)), want, strict=True):
        assert_close(a, b, "gradient", "transposed weights")


def test_gradients_of_the_outputs_in_any_layout():
    layer, found = make("lstm"), {}
    for backend in ("native", "reference"):
        layer.units[0].backend = backend
        y, last = layer(draw(3, 4, 5))
        arriving = [draw(1, 1, 1).expand(3, 4, 7), draw(7, 3).t(), draw(1, 7).expand(3, 7)]
        found[backend] = torch.autograd.grad([y, *leaves(last)], list(layer.parameters()), arriving)
    for a, b in zip(found["native"], found["reference"], strict=True):
        assert_close(a, b, "gradient", "parameter")


@pytest.mark.parametrize("poison", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("batch", [3, 40])
def test_a_poisoned_row_stays_alone(cell, poison, batch):
    layer, x = make(cell), draw(batch, 6, 5)
    bad = x.clone()
    bad[1, 3, 2] = poison
    with torch.no_grad():
        y, last = layer(x)
        have, end = layer(bad)
        layer.units[0].backend = "reference"
        want, _ = layer(bad)
    others = torch.arange(batch) != 1
    assert torch.equal(have[others], y[others])
    assert torch.equal(have[1, :3], y[1, :3])
    for a, b in zip(leaves(end), leaves(last), strict=True):
        assert torch.equal(a[others], b[others])
    # Where the reference has numbers, there are numbers: a saturated gate is one.
    assert torch.equal(have.isfinite(), want.isfinite())
    assert_close(have[have.isfinite()], want[want.isfinite()], "value", "poisoned row")
    if poison != poison:
        assert have[1, 3:].isnan().all()


def test_a_poisoned_row_poisons_only_its_own_gradient():
    layer, x = make("gru_v1"), draw(3, 6, 5)
    clean = results(layer, "native", x)[2]
    x[1, 3] = float("nan")
    gradient = results(layer, "native", x)[2]
    assert torch.equal(gradient[[0, 2]], clean[[0, 2]])
    assert gradient[1].isnan().any()


def test_large_numbers_saturate_rather_than_overflow():
    for cell in ("lstm", "gru"):
        layer = make(cell).float()
        for size in (1e4, 1e30, 3e38):
            with torch.no_grad():
                y, _ = layer(torch.full((2, 3, 5), size))
            assert y.isfinite().all()
            assert y.abs().max() <= 1


@pytest.mark.parametrize("wrong", ["x", "state"])
def test_mixed_types_are_told(wrong):
    layer = make("gru_v1")
    x, state = draw(2, 3, 5), layer.zero_state(2)
    if wrong == "x":
        with pytest.raises(ShapeError, match=r"x is torch.float32, the weights are torch.float64"):
            layer(x.float(), state)
    else:
        state = tuple(type(part)(*(leaf.float() for leaf in part)) for part in state)
        with pytest.raises(ShapeError, match=r"float32"):
            layer(x, state)


@pytest.mark.parametrize("wanted", ["x", "state", "one matrix", "one bias"])
@pytest.mark.parametrize("call", [{}, {"lengths": [4, 0, 2]}], ids=["dense", "ragged"])
def test_only_some_want_a_gradient(wanted, call):
    layer, found = make("gru"), {}
    for backend in ("native", "reference"):
        layer.units[0].backend = backend
        layer.requires_grad_(False)
        x, state = draw(3, 4, 5), layer.units[0].state_type(draw(3, 7))
        leaf = {
            "x": x,
            "state": state[0],
            "one matrix": layer.get_parameter("units.0.U.n"),
            "one bias": layer.get_parameter("units.0.b.z"),
        }[wanted]
        leaf.requires_grad_()
        y, last = layer(x, (state,), **call)
        found[backend] = torch.autograd.grad(y.sum() + last[0][0].square().sum(), leaf)[0]
    assert_close(found["native"], found["reference"], "gradient", wanted)


def test_a_graph_may_be_walked_twice():
    layer, x = make("gru_v1"), draw(3, 4, 5).requires_grad_()
    y, _ = layer(x)
    first = torch.autograd.grad(y.sum(), [x, *layer.parameters()], retain_graph=True)
    second = torch.autograd.grad(y.sum(), [x, *layer.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    with pytest.raises(RuntimeError, match="second time"):
        torch.autograd.grad(y.sum(), [x])


WRITERS = {
    "outputs": lambda y, last: y.mul_(0.0).add_(y),
    "outputs, unseen": lambda y, last: y.detach().zero_(),
    "final h": lambda y, last: last[0].h.detach().zero_(),
    "final c": lambda y, last: last[0].c.detach().zero_(),
}


@pytest.mark.parametrize("backend", ["native", "reference"])
@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("call", [{}, {"lengths": [4, 0, 2]}], ids=["dense", "ragged"])
def test_writing_on_results_is_harmless_or_told(writer, call, backend):
    layer, x = make("lstm", backend=backend), draw(3, 4, 5).requires_grad_()
    inputs = [x, *layer.parameters()]
    y, _ = layer(x, **call)
    weight = torch.zeros(()) if writer == "outputs" else torch.ones(())
    want = torch.autograd.grad((y * weight).sum(), inputs)
    have, told = [], ""
    y, last = layer(x, **call)
    total = None if writer == "outputs" else y.sum()
    try:
        WRITERS[writer](y, last)
        have = torch.autograd.grad(y.sum() if total is None else total, inputs)
    except RuntimeError as error:
        told = str(error)
    assert "inplace" in told or all(torch.equal(a, b) for a, b in zip(have, want, strict=True))


def test_what_is_kept_may_be_moved():
    # As gradient checkpoints on disk or on another device do.
    layer, x = make("lstm"), draw(3, 4, 5).requires_grad_()
    want = torch.autograd.grad(layer(x)[0].sum(), [x, *layer.parameters()])
    with torch.autograd.graph.saved_tensors_hooks(lambda kept: kept.clone(), lambda kept: kept.clone()):
        y, _ = layer(x)
    have = torch.autograd.grad(y.sum(), [x, *layer.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(have, want, strict=True))
    y = torch.utils.checkpoint.checkpoint(lambda x: layer(x)[0], x, use_reentrant=False)
    have = torch.autograd.grad(y.sum(), [x, *layer.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(have, want, strict=True))


def test_what_was_handed_in_is_left_alone():
    layer = make("lstm")
    x, state = draw(3, 4, 5), tuple(type(part)(draw(3, 7), draw(3, 7)) for part in layer.zero_state(3))
    resets = torch.rand(3, 4, generator=torch.Generator().manual_seed(0)) < 0.5
    lengths = torch.tensor([2, 4, 3])
    before = [part.clone() for part in (x, *leaves(state), resets, lengths, *layer.parameters())]
    results(layer, "native", x, state, resets=resets, lengths=lengths)
    for a, b in zip(before, (x, *leaves(state), resets, lengths, *layer.parameters()), strict=True):
        assert torch.equal(a, b)


def test_without_gradients():
    layer, x = make("layer_norm_lstm"), draw(3, 4, 5)
    want, _ = layer(x)
    assert want.requires_grad
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            y, last = layer(x, layer.zero_state(3))
        assert_close(y, want, "value", mode.__name__)
        assert not y.requires_grad
        assert not any(leaf.requires_grad for leaf in leaves(last))
    with torch.inference_mode():
        inner = layer.units[0]
        assert torch.equal(inner(x)[0], y)


def test_results_of_inference_mode_go_into_training():
    layer, x = make("gru"), draw(3, 4, 5)
    with torch.inference_mode():
        _, state = layer(x)
    state = tuple(type(part)(*(leaf.clone() for leaf in part)) for part in state)
    layer(x, state)[0].sum().backward()
    assert all(parameter.grad is not None for parameter in layer.parameters())
