"""Chrono initialisation: the gates it finds are those that autograd sees keeping the state, and they keep it long."""

from __future__ import annotations

import pytest
import torch

from recurra.base.errors import ConfigError
from recurra.cells import CELLS
from recurra.layers import Recurrent
from recurra.layers.chrono import chrono, keepers

SET = [name for name in CELLS if keepers(CELLS[name]().spec)]
H, T = 400, 300


@pytest.mark.parametrize("cell", SET)
def test_what_is_kept_each_step_is_the_share_that_was_asked_for(cell: str):
    """With all other parameters 0 the state's Jacobian is diagonal; its entries are 1 - 1/U(2, T) as autograd finds."""
    layer = Recurrent(cell, 1, H, initializers=chrono(T), generator=torch.Generator().manual_seed(0)).double()
    unit = layer.units[0]
    set_here = {name for keeper in keepers(unit.spec) for name in (keeper.keep, keeper.take)}
    with torch.no_grad():
        for name, value in unit.named().items():
            if name not in set_here:
                value.zero_()
            if cell == "fast_grnn" and name not in set_here and value.numel() == 1:
                value.fill_(0.0)
    state = tuple(torch.zeros(1, size, dtype=torch.float64, requires_grad=True) for size in unit.state_sizes)
    _, after = unit.step(torch.zeros(1, 1, dtype=torch.float64), unit.state_type(*state))
    shares = []
    for index in [i for i, part in enumerate(after) if part.requires_grad]:
        (share,) = torch.autograd.grad(after[index].sum(), state[index], retain_graph=True, allow_unused=True)
        shares.append(share)
    # The state that a keeper belongs to; in an LSTM c, in a GRU h.
    lengths = [1 / (1 - share) for share in shares if share is not None and float(share.detach().max()) > 0.9]
    assert lengths, cell
    for length in lengths:
        # Memories are uniform in 2 .. T, except where a cell scales its gate.
        assert float(length.min()) >= 2 - 1e-5
        if cell != "lem":
            assert float(length.max()) <= T + 1e-3
            assert float(length.mean()) == pytest.approx((2 + T) / 2, rel=0.1)


def test_input_gates_mirror_forget_gates_in_every_layer():
    layer = Recurrent("peephole_lstm", 2, 5, num_layers=2, initializers=chrono(50, {"U": "identity", "b.o": 0.25}))
    first, second = (unit.named() for unit in layer.units)
    for named in (first, second):
        assert torch.equal(named["b.i"], -named["b.f"])
        assert float(named["b.f"].detach().min()) >= 0
        assert torch.equal(named["U.i"], torch.eye(5))
        assert named["b.o"].tolist() == [0.25] * 5
    assert not torch.equal(first["b.f"], second["b.f"])


def test_what_does_not_fit_is_refused():
    with pytest.raises(ConfigError, match="elman has no gate of the form"):
        Recurrent("elman", 2, 3, initializers=chrono(50))
    with pytest.raises(ConfigError, match="t_max must be above 2 steps, got 2"):
        chrono(2)
    with pytest.raises(ConfigError, match=r"has no parameter b\.q"):
        Recurrent("lstm", 2, 3, initializers=chrono(50, {"b.q": 1.0}))
    # What is named beats the rule.
    assert Recurrent("gru", 2, 3, initializers=chrono(50, {"b.z": 7.0})).units[0].named()["b.z"].tolist() == [7.0] * 3
