"""torch.nn.LSTM, GRU and RNN as the outside word: outputs, final states and every gradient, dense, ragged, stacked."""

from __future__ import annotations

import pytest
import torch
from tests.tolerances import assert_close
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from recurra.base.state import leaves
from recurra.layers import Recurrent

MODULES = {
    "lstm": lambda *sizes, **options: nn.LSTM(*sizes, batch_first=True, **options),
    "gru": lambda *sizes, **options: nn.GRU(*sizes, batch_first=True, **options),
    "elman": lambda *sizes, **options: nn.RNN(*sizes, batch_first=True, **options),
    "relu_rnn": lambda *sizes, **options: nn.RNN(*sizes, batch_first=True, nonlinearity="relu", **options),
}
SHAPES = [(1, 1, 3, 5), (4, 2, 5, 17), (3, 63, 8, 33), (2, 500, 3, 20)]


def pair(cell, dtype, backend, input_size, hidden_size, **options):
    torch.manual_seed(0)
    module = MODULES[cell](input_size, hidden_size, **options).to(dtype)
    layer = Recurrent.from_torch(module)
    for unit in layer.units:
        unit.backend = backend
    return module, layer


def gates(layer, module):
    """(name, our gradient, torch's gradient) for every parameter, torch's stacked rows cut into gates."""
    from recurra.cells.interop import TORCH

    layout = TORCH[layer.cell.name]
    for index, unit in enumerate(layer.units):
        suffix = f"l{index // layer.directions}" + ("_reverse" if index % layer.directions else "")
        for family, kind in (("W", "weight_ih"), ("U", "weight_hh"), ("b", "bias_ih")):
            parts = getattr(module, f"{kind}_{suffix}").grad.chunk(len(layout.gates))
            for gate, part in zip(layout.gates, parts, strict=True):
                name = f"{family}.{gate}" if gate else family
                yield f"unit {index} {name}", unit.named()[name].grad, part
        inner = getattr(module, f"bias_hh_{suffix}").grad.chunk(len(layout.gates))
        for gate, part in zip(layout.gates, inner, strict=True):
            if layout.inner(gate) is not None:
                yield f"unit {index} {layout.inner(gate)}", unit.named()[layout.inner(gate)].grad, part


def run_both(module, layer, x, given, lengths=None):
    """Both on the same input, with gradients of a fixed random projection; yields what must agree."""
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    if lengths is None:
        y, last = layer(ours, given)
        want, final = module(theirs, as_torch(given))
    else:
        y, last = layer(ours, given, lengths=lengths)
        packed = pack_padded_sequence(theirs, lengths, batch_first=True, enforce_sorted=False)
        want, final = module(packed, as_torch(given))
        want, _ = pad_packed_sequence(want, batch_first=True, total_length=x.shape[1])
    final = final if isinstance(final, tuple) else (final,)
    yield "y", y, want
    for index, part in enumerate(last):
        for name, leaf, other in zip(part._fields, part, final, strict=True):
            yield f"final {name} of unit {index}", leaf, other[index]
    weight = torch.randn(y.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(y.dtype)
    ((y * weight).sum() + sum((leaf * leaf).sum() for leaf in leaves(last))).backward()
    ((want * weight).sum() + sum((part * part).sum() for part in final)).backward()
    yield "gradient of x", ours.grad, theirs.grad
    for name, have, other in gates(layer, module):
        yield f"gradient of {name}", have, other


def as_torch(state):
    parts = [torch.stack(parts) for parts in zip(*state, strict=True)]
    return tuple(parts) if len(parts) > 1 else parts[0]


def draw(layer, batch, steps, dtype):
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(batch, steps, layer.input_size, generator=generator).to(dtype)
    state = layer.zero_state(batch)
    return x, tuple(type(s)(*(torch.randn(v.shape, generator=generator).to(dtype) for v in s)) for s in state)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["f32", "f64"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("backend", ["reference", "torchnn"])
@pytest.mark.parametrize("cell", MODULES)
def test_equal_to_torch(cell, backend, shape, dtype):
    batch, steps, input_size, hidden_size = shape
    module, layer = pair(cell, dtype, backend, input_size, hidden_size)
    x, state = draw(layer, batch, steps, dtype)
    for name, have, want in run_both(module, layer, x, state):
        assert_close(have, want, "gradient" if "gradient" in name else "value", f"{cell} {name}")


@pytest.mark.parametrize("backend", ["reference", "torchnn"])
@pytest.mark.parametrize("cell", MODULES)
def test_ragged_two_layers_both_directions(cell, backend):
    module, layer = pair(cell, torch.float32, backend, 6, 19, num_layers=2, bidirectional=True)
    lengths = torch.tensor([11, 1, 7, 12, 4])
    x, state = draw(layer, 5, 12, torch.float32)
    for name, have, want in run_both(module, layer, x, state, lengths):
        assert_close(have, want, "gradient" if "gradient" in name else "value", f"{cell} {name}")


def test_projection():
    module, layer = pair("lstm", torch.float64, "reference", 6, 19, num_layers=2, proj_size=4)
    x, _ = draw(layer, 3, 9, torch.float64)
    y, last = layer(x)
    want, (h, c) = module(x)
    assert_close(y, want, "value", "y")
    assert_close(last[1].h, h[1], "value", "h")
    assert_close(last[1].c, c[1], "value", "c")
    assert_close(layer.to_torch()(x)[0], want, "value", "there and back")


@pytest.mark.parametrize("cell", MODULES)
def test_to_torch_and_back(cell):
    layer = Recurrent(cell, 4, 9, 2, bidirectional=True)
    module = layer.to_torch()
    x = torch.randn(3, 8, 4)
    assert_close(module(x)[0], layer(x)[0], "value", "to_torch")
    again = Recurrent.from_torch(module)
    for (name, a), b in zip(layer.named_parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b), name
