"""Watching changes nothing; gradients by time and gates against cutting the sequence open by hand."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from recurra.cells import CELLS
from recurra.diagnostics.flow import felt_by_distance, gradient_by_distance, gradient_by_time
from recurra.diagnostics.gates import gate_nodes, gate_values, saturation
from recurra.diagnostics.observe import observe, watching
from recurra.diagnostics.subject import Subject
from recurra.layers import Recurrent
from recurra.layers.decoder import Decoder

LENGTHS = torch.tensor([7, 3, 5])


def squares(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs - targets).pow(2).sum(-1)


def subject(cell: str = "lstm", lengths: Tensor | None = None, **options: Any) -> Subject:
    generator = torch.Generator().manual_seed(1)
    layer = Recurrent(cell, 2, 4, generator=generator, **options).double()
    inputs = torch.randn(3, 7, 2, generator=generator).double()
    targets = torch.randn(3, 7, layer.output_width, generator=generator).double()
    if lengths is not None:
        valid = torch.arange(7) < lengths[:, None]
        targets = targets * valid.unsqueeze(-1)
    return Subject(name="s", model=layer, inputs=inputs, targets=targets, losses=squares, lengths=lengths)


@pytest.mark.parametrize("cell", list(CELLS))
def test_a_watched_layer_computes_the_same(cell: str) -> None:
    one = subject(cell, LENGTHS, num_layers=2)
    wanted = one.outputs(one.x).detach()
    seen = observe(one)
    torch.testing.assert_close(seen.outputs, wanted, rtol=1e-12, atol=1e-12)
    assert list(seen.tracks) == ["layer 0", "layer 1"]
    track = seen.tracks["layer 1"]
    output = track.states()[track.unit.spec.output]
    torch.testing.assert_close(output[0], wanted[0], rtol=1e-12, atol=1e-12)
    assert torch.equal(track.before[3][0], track.after[2][0])
    assert track.valid().sum(1).tolist() == LENGTHS.tolist()
    # And afterwards it is as it was.
    torch.testing.assert_close(one.outputs(one.x).detach(), wanted, rtol=0, atol=0)
    assert not {"forward", "step", "advance"} & set(vars(track.unit))


def test_a_layer_that_fails_is_left_as_it_was() -> None:
    one = subject()
    with pytest.raises(RuntimeError, match="on purpose"), watching(one.layers):
        raise RuntimeError("on purpose")
    assert "forward" not in vars(one.layers[""].units[0])


@pytest.mark.parametrize("lengths", [None, LENGTHS])
def test_gradient_by_time_is_the_total_derivative(lengths: Tensor | None) -> None:
    one = subject("lstm", lengths, num_layers=2)
    found = gradient_by_time(one)
    assert list(found) == ["layer 0 h", "layer 0 c", "layer 1 h", "layer 1 c"]
    bottom, top = one.layers[""].units
    for row in range(3):
        size = 7 if lengths is None else int(lengths[row])
        assert np.isnan(found["layer 0 h"][row, size:]).all()
        for t in range(size):
            wanted = cut_open(bottom, top, one.inputs[row : row + 1, :size], one.targets[row : row + 1, :size], t)
            for name, value in wanted.items():
                assert found[name][row, t] == pytest.approx(value, rel=1e-10), (name, row, t)


def cut_open(bottom: Any, top: Any, x: Tensor, target: Tensor, t: int) -> dict[str, float]:
    """The same derivatives where a small change is added to one state after step t, by hand."""
    found = {}
    for name in ("layer 0 h", "layer 0 c", "layer 1 h", "layer 1 c"):
        added = torch.zeros(1, 4).double().requires_grad_()
        states = [unit.zero_state(1) for unit in (bottom, top)]
        loss = torch.zeros(()).double()
        for step in range(x.shape[1]):
            read = x[:, step]
            for place, unit in enumerate((bottom, top)):
                _, after = unit.step(read, states[place])
                if step == t and name == f"layer {place} h":
                    after = type(after)(after.h + added, after.c)
                if step == t and name == f"layer {place} c":
                    # h = o tanh(c), so a change of c is one of h.
                    c = after.c + added
                    after = type(after)(after.h / torch.tanh(after.c) * torch.tanh(c), c)
                states[place], read = after, after.h
            loss = loss + (read - target[:, step]).pow(2).sum()
        (gradient,) = torch.autograd.grad(loss, added)
        found[name] = float(gradient.norm())
    return found


def test_a_backward_reader_stands_in_the_order_of_time() -> None:
    one = subject("gru", LENGTHS, bidirectional=True)
    found = gradient_by_time(one)
    assert list(found) == ["layer 0 h", "layer 0 backwards h"]
    # The same layer alone, on rows turned around by hand.
    backwards = Recurrent("gru", 2, 4).double()
    backwards.units[0].load_state_dict(one.layers[""].units[1].state_dict())
    for row, size in enumerate(LENGTHS.tolist()):
        turned = one.inputs[row : row + 1, :size].flip(1)
        target = one.targets[row : row + 1, :size, 4:].flip(1)
        alone = Subject(name="b", model=backwards, inputs=turned, targets=target, losses=squares)
        np.testing.assert_allclose(
            found["layer 0 backwards h"][row, :size], gradient_by_time(alone)["layer 0 h"][0, ::-1], rtol=1e-10
        )


def test_gates_are_what_the_equations_say() -> None:
    one = subject("lstm")
    track = observe(one).tracks["layer 0"]
    found = gate_values(track)
    assert list(found) == ["i", "f", "o"]
    weights = {name: value.detach() for name, value in track.unit.named().items()}
    before = track.states("before")["h"]
    for gate in "ifo":
        wanted = torch.sigmoid(
            one.inputs @ weights[f"W.{gate}"].T + before @ weights[f"U.{gate}"].T + weights[f"b.{gate}"]
        )
        np.testing.assert_allclose(found[gate], wanted.numpy(), rtol=1e-12)


@pytest.mark.parametrize("cell", list(CELLS))
def test_every_gate_lies_between_nought_and_one(cell: str) -> None:
    track = observe(subject(cell)).tracks["layer 0"]
    found = gate_values(track)
    assert set(found) == set(gate_nodes(track.unit.spec))
    for values in found.values():
        assert values.shape[:2] == (3, 7)
        assert ((values >= 0) & (values <= 1)).all()


def test_saturation_counts_valid_steps_only() -> None:
    one = subject("lstm", LENGTHS)
    with torch.no_grad():
        one.layers[""].units[0].named()["b.f"].copy_(torch.tensor([50.0, -50.0, 0.0, 0.0]))
    track = observe(one).tracks["layer 0"]
    found = saturation(track)
    assert found["f"].open[:2].tolist() == [1.0, 0.0]
    assert found["f"].shut[:2].tolist() == [0.0, 1.0]
    values = gate_values(track)["i"]
    by_hand = [values[row, t, 2] > 0.9 for row, size in enumerate(LENGTHS.tolist()) for t in range(size)]
    assert found["i"].open[2] == pytest.approx(np.mean(by_hand))


def test_a_decoder_that_goes_step_by_step_is_watched_too() -> None:
    torch.manual_seed(0)
    decoder = Decoder("gru", 6, 4, memory_size=3, form="bahdanau", attention="additive").double()
    memory = torch.randn(2, 5, 3).double()
    tokens = torch.randint(6, (2, 4))
    one = Subject(
        name="d",
        model=decoder,
        inputs=tokens,
        targets=tokens,
        losses=lambda y, t: torch.nn.functional.cross_entropy(y.transpose(1, 2), t, reduction="none"),
        answer=lambda model, x, _: model(x, model.begin(None, memory))[0],
    )
    seen = observe(one)
    [track] = seen.tracks.values()
    assert track.length == 4
    torch.testing.assert_close(seen.outputs, one.outputs(one.x).detach(), rtol=1e-12, atol=1e-12)


def test_felt_by_distance_is_gradient_by_distance_of_the_same_model() -> None:
    one = subject("lstm", num_layers=2)
    layer = one.layers[""]

    def step(x: Tensor, state: Any) -> tuple[Tensor, Any]:
        return layer.step(x, state)

    wanted = gradient_by_distance(step, one.inputs, one.targets, squares, distance=4, losses=3)
    found = felt_by_distance(one, distance=4, losses=3)
    assert list(found) == list(wanted)
    for name, curve in wanted.items():
        np.testing.assert_allclose(found[name], curve, rtol=1e-10)
    assert len(felt_by_distance(one, distance=99)["layer 0 h"]) == 7


def test_one_answer_a_row_is_looked_back_from_each_row_s_end() -> None:
    one = subject("gru", LENGTHS)

    def last(model: Any, x: Tensor, lengths: Tensor | None) -> Tensor:
        y = model(x, lengths=lengths)[0]
        return y[torch.arange(3), LENGTHS - 1]

    whole = dataclasses.replace(one, answer=last, losses=lambda y, _: y.pow(2).sum(-1, keepdim=True))
    found = felt_by_distance(whole)["layer 0 h"]
    assert len(found) == 3, "as far as the shortest row goes"
    every = gradient_by_time(whole)["layer 0 h"]
    wanted = [np.mean([every[row, size - 1 - k] for row, size in enumerate(LENGTHS.tolist())]) for k in range(3)]
    np.testing.assert_allclose(found, wanted, rtol=1e-10)
