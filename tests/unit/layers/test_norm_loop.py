"""The emitted step of a normalised cell against the equations node by node."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from recurra.cells import CELLS
from recurra.equations.normalise import norms, with_normalised_products
from recurra.kernels.reference.spelling import evaluate
from recurra.layers.norm_loop import apply, norm_loop

B, SIZES = 3, {"I": 4, "H": 5, "O": 2}
SPECS = {name: with_normalised_products(CELLS[name]().spec) for name in CELLS}


@pytest.mark.parametrize("name", SPECS)
def test_with_layer_norm_it_is_the_step(name):
    spec = SPECS[name]
    draw = torch.Generator().manual_seed(2)

    def random(*axes):
        shape = [SIZES[axis] for axis in axes]
        return torch.randn(*([B, *shape] if len(axes) == 1 else shape), generator=draw, dtype=torch.float64)

    values = {spec.symbol(p): random(*axes) if len(axes) == 2 else random(*axes)[0] for p, axes in spec.params.items()}
    values[spec.symbol("x")] = random("I")
    states = [random(spec.state_axes[state]).abs() + 0.5 for state in spec.states]
    want = evaluate(
        [spec.after[state] for state in spec.states],
        {**values, **{spec.symbol(s): value for s, value in zip(spec.states, states, strict=True)}},
    )
    loop = norm_loop(spec)
    for node in loop.early:
        values[node] = apply(node, values)

    def norm(group, a):
        parts = a.chunk(len(loop.groups[group]), -1)
        return torch.cat([functional.layer_norm(part, part.shape[-1:]) for part in parts], -1)

    have = loop.body(*(values[node] for node in loop.timed), *states, *loop.constants(values), norm)
    torch.testing.assert_close(list(have), want, rtol=1e-12, atol=1e-12)
    assert sorted(map(id, norms(spec))) == sorted(id(node) for group in loop.groups for node in group)


def test_the_gates_of_an_lstm_are_one_product_and_one_norm():
    loop = norm_loop(CELLS["layer_norm_lstm"]().spec)
    assert [len(group) for group in loop.groups] == [1, 1, 1, 1, 4, 1]
    assert loop.source.count("F.linear") == 1
    assert norm_loop(SPECS["gru_v1"]).source.count("F.linear") == 2
