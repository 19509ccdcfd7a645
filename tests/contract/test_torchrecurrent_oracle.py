"""torchrecurrent's cells as the outside word: weights copied, outputs, states and all gradients in float64."""

from __future__ import annotations

import pytest
import torch
import torchrecurrent
from tests.contract import battery
from tests.contract.torchrecurrent_peers import PEERS
from torch import Tensor

from recurra.layers import Recurrent

STEPS = 9


def theirs(name: str, layer: Recurrent, x: Tensor, state: tuple, **_: object) -> tuple[Tensor, list[Tensor]]:
    """Their cell over time, its parameters computed from ours, so that gradients arrive at ours."""
    peer = PEERS[name]
    cell = getattr(torchrecurrent, peer.cell)(battery.INPUT, battery.HIDDEN, dtype=torch.float64, **peer.options)
    named = layer.units[0].named()
    parameters = {key: make(named) for key, make in peer.weights.items()}
    assert {key: value.shape for key, value in cell.named_parameters()} == {
        key: value.shape for key, value in parameters.items()
    }
    # theirs: (h, c), or h alone; JANET's c is its h.
    now = tuple(state[0]) * (2 if name == "janet" else 1)
    if name == "lstm1997":
        now = (now[0], now[1] / 2)
    outputs = []
    for x_t in x.unbind(1):
        after = torch.func.functional_call(cell, parameters, (x_t, now if len(now) > 1 else now[0]))
        now = after if isinstance(after, tuple) else (after,)
        outputs.append(now[0])
    if name == "lstm1997":
        now = (now[0], now[1] * 2)
    return torch.stack(outputs, 1), list(now[: len(state[0])])


@pytest.mark.parametrize("name", PEERS)
def test_outputs_states_and_gradients(name):
    layer = battery.make(name)
    if name == "fast_grnn":
        # Scalars there, one per unit here: equal for all units.
        with torch.no_grad():
            for value in (layer.units[0].s.zeta, layer.units[0].s.nu):
                value.fill_(float(value[0]))
    x, state = battery.draw(layer, 4, STEPS)
    have = battery.everything(layer, x, state)
    want = battery.everything(layer, x, state, run=lambda *call: theirs(name, *call))
    for key, value in have.items():
        if name == "fast_grnn" and ".s." in key:
            # The gradient of the scalar is that of all units together.
            have[key], want[key] = value.sum(), want[key].sum()
    battery.compare(have, want, name)
