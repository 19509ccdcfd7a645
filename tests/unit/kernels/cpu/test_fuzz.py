"""Shapes and options drawn at random: the native engine against the reference, outputs, states and every gradient."""

from __future__ import annotations

from unittest.mock import patch

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.tolerances import assert_close

from recurra.base.state import leaves
from recurra.cells import CELLS
from recurra.kernels.cpu import backend, passes
from recurra.kernels.cpu.compiler import compiler
from recurra.kernels.cpu.prebuild import HOISTS
from recurra.layers import Recurrent
from unit.kernels.odd_cells import ODD

pytestmark = pytest.mark.skipif(compiler() is None, reason="no C++ compiler")

# Each with options and number types of its own, and each of these compiled: few cells of each kind for every day.
FEW = [
    "lstm",
    "gru",
    "gru_v1",
    "layer_norm_lstm",
    "jordan",
    "a_run_of_terms",
    "heights_differ",
    "rows_and_choices",
    "scalars_added",
    "product_is_a_state_too",
    "states_change_places",
    # It writes a state before its first product, which reads that state.
    "state_free_next",
]
# Where one comparison decides, rounding in the last digit of eight may decide otherwise.
JUMP = {"rows_and_choices", "chosen_numbers"}
# With few units a norm may divide by next to nothing, and what it makes of rounding errors is no measure.
NORMS = {"layer_norm_lstm", "rows_and_choices", "names_of_the_program"}
# (groups, members): threads that share no row, and threads that share them all.
SPLITS = [(1, 1), (2, 1), (1, 2), (2, 2), (1, 3), (3, 1)]


@st.composite
def cases(draw, names):
    """A layer, what it is called with, and how its work is split."""
    name = draw(st.sampled_from(names))
    cell = ODD.get(name, name)
    spec = Recurrent(cell, 1, 1).cell.spec
    dtype = torch.float64 if name in JUMP else draw(st.sampled_from([torch.float64, torch.float32]))
    size = st.integers(9 if name in NORMS else 1, 40)
    layer = {
        "cell": cell,
        "input_size": draw(size),
        "hidden_size": draw(size),
        "num_layers": draw(st.integers(1, 2)),
        "bidirectional": draw(st.booleans()),
        "learned_initial_state": draw(st.booleans()),
        "recompute": draw(st.booleans()),
        "zoneout": draw(st.sampled_from([0.0, 0.0, 0.3])),
        "weight_drop": draw(st.sampled_from([0.0, 0.0, 0.3])) if spec.recurrent_params else 0.0,
        "recurrent_dropout": draw(st.sampled_from([0.0, 0.0, 0.3])) if spec.recurrent_params else 0.0,
    }
    if "O" in spec.axes:
        layer["output_size"] = draw(size)
    batch, steps = draw(st.integers(0, 9)), draw(st.integers(0, 12))
    lengths = st.lists(st.integers(0, steps), min_size=batch, max_size=batch)
    lengths = lengths.map(lambda given: torch.tensor(given, dtype=torch.int64))
    call = {
        "batch": batch,
        "steps": steps,
        "state": draw(st.booleans()),
        "lengths": draw(st.none() | lengths),
        "resets": draw(st.sampled_from([None, None, 0.02, 0.3, 1.0])),
        # What gets a gradient: everything, the inputs, the parameters, nothing.
        "train": draw(st.sampled_from(["all", "all", "all", "x", "parameters", "state", "nothing"])),
        "training": draw(st.booleans()),
        "split": draw(st.sampled_from(SPLITS)),
        "hoist": draw(st.sampled_from(HOISTS)),
        "seed": draw(st.integers(0, 1000)),
    }
    return name, dtype, layer, call


def build(dtype, options, seed):
    generator = torch.Generator().manual_seed(seed)
    layer = Recurrent(generator=generator, **options)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.2)
    return layer.to(dtype)


def run(layer, name, dtype, call):
    """Outputs, final states and gradients by name."""
    for unit in layer.units:
        unit.backend = name
    layer.train(call["training"])
    draw = torch.Generator().manual_seed(call["seed"])
    batch, steps, train = call["batch"], call["steps"], call["train"]

    def random(*shape):
        return torch.randn(*shape, generator=draw, dtype=torch.float64).to(dtype)

    x = random(batch, steps, layer.input_size).requires_grad_(train in ("all", "x"))
    state = None
    if call["state"]:
        state = tuple(
            type(part)(*(random(*leaf.shape).requires_grad_(train in ("all", "state")) for leaf in part))
            for part in layer.zero_state(batch)
        )
    layer.requires_grad_(train in ("all", "parameters"))
    resets = None
    if call["resets"] is not None:
        resets = torch.rand(batch, steps, generator=draw) < call["resets"]
    # Masks of dropout and zoneout come from the global stream, in an order that no backend knows of.
    torch.manual_seed(call["seed"])
    y, last = layer(x, state, call["lengths"], resets)
    found = {"y": y, **{f"final {number}": leaf for number, leaf in enumerate(leaves(last))}}
    inputs = {"x": x, **dict(layer.named_parameters())}
    inputs |= {f"state {number}": leaf for number, leaf in enumerate(leaves(state) if state else ())}
    inputs = {name: value for name, value in inputs.items() if value.requires_grad}
    # A weight for each result, whether a backend says that a gradient could come from there or not.
    ends = [(value, random(*value.shape)) for value in found.values()]
    ends = [(value, weight) for value, weight in ends if value.requires_grad]
    if inputs and ends:
        values, weights = zip(*ends, strict=True)
        gradients = torch.autograd.grad(values, list(inputs.values()), weights, allow_unused=True)
        for (name, value), gradient in zip(inputs.items(), gradients, strict=True):
            found[f"gradient of {name}"] = torch.zeros_like(value) if gradient is None else gradient
    return found


def check(case):
    name, dtype, options, call = case
    layer = build(dtype, options, call["seed"])
    want = run(layer, "reference", dtype, call)
    # An empty batch is the reference's business.
    native = "native" if call["batch"] and call["steps"] else None
    with (
        patch.object(passes, "threads_for", lambda *_: call["split"]),
        patch.object(backend, "_hoist", lambda _: call["hoist"]),
    ):
        have = run(layer, native, dtype, call)
    assert have.keys() == want.keys()
    rounding = " rounding" if dtype == torch.float32 else ""
    for key, value in have.items():
        quantity = "gradient" + rounding if key.startswith("gradient") else rounding.strip() or "value"
        assert_close(value, want[key], quantity, f"{name}: {key}")


SLOW_TO_DRAW = [HealthCheck.too_slow, HealthCheck.data_too_large]


@settings(max_examples=60, suppress_health_check=SLOW_TO_DRAW)
@given(cases(FEW))
def test_against_the_reference(case):
    check(case)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@settings(max_examples=1000, suppress_health_check=SLOW_TO_DRAW)
@given(cases([*CELLS, *ODD]))
def test_against_the_reference_a_thousand_times(case):
    check(case)


@settings(max_examples=25, suppress_health_check=SLOW_TO_DRAW)
@given(
    st.sampled_from(FEW),
    st.integers(1, 40),
    st.integers(1, 40),
    st.lists(st.integers(1, 7), min_size=1, max_size=6),
    st.booleans(),
)
def test_steps_against_the_whole(name, inputs, hidden, chunks, zoneout):
    options = {"cell": ODD.get(name, name), "input_size": inputs, "hidden_size": hidden, "zoneout": 0.3 * zoneout}
    layer = build(torch.float64, options, 7).eval()
    x = torch.randn(1, sum(chunks), inputs, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for unit in layer.units:
        unit.backend = "reference"
    with torch.no_grad():
        want, final = layer(x)
        for unit in layer.units:
            unit.backend = "native"
        live = layer.stream()
        have = torch.cat([live.push(chunk) for chunk in x[0].split(chunks)])
    assert_close(have, want[0], "value", f"{name}: pushes of {chunks}")
    for a, b in zip(leaves(live.state), leaves(final), strict=True):
        assert_close(a, b, "value", f"{name}: state after pushes of {chunks}")
