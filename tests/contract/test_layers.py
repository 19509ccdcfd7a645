"""The contract of every layer (B, T, I) -> (B, T, O): one battery, a new layer is one line in the table.

Chunks are the whole where the layer is causal, padding is nothing, save and load, empty batches and sequences, one
step, gradients by difference, a state that can be cut, and a reach that is the one it states.
"""

from __future__ import annotations

import copy
import math

import pytest
import torch
from tests.contract import battery
from tests.tolerances import assert_close
from torch import nn

from recurra.base.errors import RecurraError
from recurra.base.state import detach, leaves, stack, unstack
from recurra.layers import Recurrent
from recurra.layers.bidirectional import Bidirectional
from recurra.layers.deep import DeepRecurrent
from recurra.layers.facts import facts_of
from recurra.layers.feedback import OutputFeedback
from recurra.layers.narx import NARX, NARXCell
from recurra.layers.shapes import ManyToMany
from recurra.layers.tdnn import TDNN, TimeDelay
from recurra.layers.transition import deep_transition

B, T, F, H, OUT = 3, 11, 4, 5, 3
LENGTHS = torch.tensor([11, 1, 6])

LAYERS = {
    "recurrent": lambda: Recurrent("lstm", F, H, 2),
    "deep transition": lambda: Recurrent(deep_transition("gru", 2, shortcut=True), F, H),
    "deep": lambda: DeepRecurrent("lstm", F, H, 2, input_layers=(6,), output_layers=(4, 3), shortcut=True, skip=True),
    "reversed": lambda: Recurrent("gru", F, H, reverse=True),
    "joined directions": lambda: Recurrent("gru", F, H, 2, bidirectional=True, merge="mean"),
    "separate directions": lambda: Bidirectional("lstm", F, H, 2, output_size=OUT, backward_cell="gru"),
    "time delay": lambda: TimeDelay(F, H, (-3, -1, 0), padding="causal"),
    "tdnn": lambda: TDNN(F, [(6, 3), (OUT, (0, 4))], padding="causal", activation="sigmoid"),
    "narx": lambda: NARX(F, OUT, H, input_delays=2, output_delays=3, hidden_layers=2),
    "jordan": lambda: OutputFeedback("jordan", F, H, OUT),
    "narx cell": lambda: OutputFeedback(NARXCell(2), F, H, OUT),
    "aligned": lambda: ManyToMany(DeepRecurrent("elman", F, H, transition_depth=2), OUT),
}


def made(name, dtype=torch.float64) -> nn.Module:
    torch.manual_seed(3)
    layer = LAYERS[name]()
    generator = torch.Generator().manual_seed(8)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return layer.to(dtype).eval()


def draw(batch=B, steps=T, dtype=torch.float64):
    return torch.randn(batch, steps, F, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(dtype)


causal = pytest.mark.parametrize("name", [name for name, build in LAYERS.items() if facts_of(build()).causal])
every = pytest.mark.parametrize("name", LAYERS)


@causal
@pytest.mark.parametrize("cuts", [(1,) * T, (4, 7), (3, 0, 8), (T,)], ids=str)
def test_chunks_are_the_whole(name, cuts):
    layer = made(name)
    x = draw()
    whole, end = layer(x)
    state, outputs = None, []
    for piece in x.split(cuts, 1):
        y, state = layer(piece, state)
        outputs.append(y)
    assert_close(torch.cat(outputs, 1), whole, "value", "outputs")
    for have, want in zip(leaves(state), leaves(end), strict=True):
        assert_close(have, want, "value", "state")


@pytest.mark.parametrize("name", [name for name, build in LAYERS.items() if hasattr(build(), "step")])
def test_steps_are_the_whole(name):
    layer = made(name)
    if not facts_of(layer).causal:
        with pytest.raises(RecurraError):
            layer.step(draw()[:, 0])
        return
    x = draw()
    state, outputs = layer.initial_state(B), []
    for moment in x.unbind(1):
        y, state = layer.step(moment, state)
        outputs.append(y)
    assert_close(torch.stack(outputs, 1), layer(x)[0], "value", "steps")


@causal
def test_sessions_merge_and_split(name):
    layer = made(name)
    x = draw()
    _, state = layer(x[:, :4])
    together, _ = layer(x[:, 4:], state)
    alone = [layer(x[row : row + 1, 4:], part)[0] for row, part in enumerate(unstack(state))]
    assert_close(torch.cat(alone), together, "value", "split")
    again, _ = layer(x[:, 4:], stack(unstack(state)))
    assert_close(again, together, "value", "merged again")


@causal
def test_a_state_can_be_cut(name):
    layer = made(name)
    x = draw()
    _, state = layer(x[:, :4])
    first = x[:, :4].clone().requires_grad_()
    _, state = layer(first)
    layer(x[:, 4:], detach(state))[0].sum().backward()
    assert first.grad is None
    assert layer(x[:, 4:], state)[0].requires_grad


@every
def test_the_padding_is_nothing(name):
    layer = made(name)
    x = draw()
    for row, length in enumerate(LENGTHS):
        x[row, length:] = math.nan
    x.requires_grad_()
    y, state = layer(x, lengths=LENGTHS)
    for row, length in enumerate(LENGTHS):
        alone, end = layer(x[row : row + 1, :length])
        assert_close(y[row, :length], alone[0], "value", f"row {row}")
        assert not y[row, length:].any()
        for have, want in zip(leaves(state), leaves(end), strict=True):
            assert_close(have[row], want[0], "value", f"state of row {row}")
    y.sum().backward()
    assert x.grad.isfinite().all()
    for row, length in enumerate(LENGTHS):
        assert not x.grad[row, length:].any()
    for parameter, value in layer.named_parameters():
        assert value.grad.isfinite().all(), parameter


@every
def test_save_and_load(name, tmp_path):
    layer, other = made(name), LAYERS[name]().double().eval()
    x = draw()
    torch.save(layer.state_dict(), tmp_path / "weights.pt")
    other.load_state_dict(torch.load(tmp_path / "weights.pt"))
    torch.save(layer, tmp_path / "layer.pt")
    for twin in (other, copy.deepcopy(layer), torch.load(tmp_path / "layer.pt", weights_only=False)):
        assert torch.equal(twin(x)[0], layer(x)[0])


@every
@pytest.mark.parametrize("shape", [(0, T), (B, 0), (1, 1), (1, 2)], ids=str)
def test_odd_shapes(name, shape):
    layer = made(name)
    x = draw(*shape)
    y, state = layer(x)
    assert y.shape == (*shape, layer.output_width)
    assert all(leaf.shape[0] == shape[0] for leaf in leaves(state))
    want = leaves(layer.initial_state(shape[0])) if shape[1] == 0 else leaves(state)
    for have, other in zip(leaves(state), want, strict=True):
        assert torch.equal(have, other)


@every
def test_rows_of_no_length(name):
    layer = made(name)
    y, state = layer(draw(), lengths=[0, T, 0])
    assert not y[0].any()
    for have, want in zip(leaves(state), leaves(layer.initial_state(B)), strict=True):
        assert torch.equal(have[0], want[0])


@every
def test_gradients(name):
    layer = made(name)
    x = draw(2, 4).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: layer(x, lengths=[4, 2])[0], x)


@every
def test_single_precision_is_the_same_to_rounding(name):
    wide, narrow = made(name), made(name, torch.float32)
    assert_close(narrow(draw(dtype=torch.float32))[0], wide(draw())[0], "rounding", name)


@every
def test_it_sees_as_far_as_it_says(name):
    layer = made(name)
    facts = facts_of(layer)
    x = draw(1, 30).requires_grad_()
    (gradient,) = torch.autograd.grad(layer(x)[0][0, 15].sum(), x)
    seen = gradient[0].abs().sum(-1).nonzero().flatten()
    assert seen.min() == max(0, 15 - facts.past)
    assert seen.max() == min(29, 15 + facts.future)


@every
@pytest.mark.parametrize(
    "call",
    [
        lambda layer: layer(draw()[0]),
        lambda layer: layer(draw()[:, :, 1:]),
        lambda layer: layer(draw().float()),
        lambda layer: layer(draw(), lengths=[1, 2]),
        lambda layer: layer(draw(), lengths=[1, 2, T + 1]),
        lambda layer: layer(draw(), lengths=[1, -2, 3]),
        lambda layer: layer(draw(), lengths=[1.0, 2.0, 3.0]),
        lambda layer: layer(draw(), layer(draw(2))[1]),
    ],
    ids=["2-D", "width", "dtype", "rows of lengths", "too long", "negative", "fractions", "state of others"],
)
def test_bad_input(name, call):
    with pytest.raises(RecurraError):
        call(made(name))


GENERATED = {
    "deep lstm": lambda: deep_transition("lstm", 3, shortcut=True),
    "deep gru": lambda: deep_transition("gru_v1", 2, inputs="all"),
    "deep jordan": lambda: deep_transition("jordan", 2),
    "narx": lambda: NARXCell(3, 2),
}


@pytest.mark.parametrize("steps", [1, 2, 33])
@pytest.mark.parametrize("name", GENERATED)
def test_generated_cells_on_every_backend(name, steps):
    cell = GENERATED[name]()
    slow = battery.make(cell, backend="reference")
    x, state = battery.draw(slow, 3, steps)
    lengths = torch.tensor([steps, 1, steps])
    y, finals = battery.by_hand(slow, x, state, lengths)
    want = battery.everything(slow, x, state, lengths=lengths)
    assert_close(want["y"], y, "value", "by hand")
    for index, leaf in enumerate(finals):
        assert_close(want[f"final {index}"], leaf, "value", "final by hand")
    for backend in battery.backends(cell):
        layer = battery.make(cell, torch.float32, backend=backend)
        narrow_x, narrow_state = battery.draw(layer, 3, steps)
        have = battery.everything(layer, narrow_x, narrow_state, lengths=lengths)
        battery.compare(have, want, f"{name} on {backend}")
