"""e-prop on the LSTM is the truncated rule of 1997; UORO is right on average. Float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from recurra.data.batch import Batch
from recurra.layers import Recurrent
from recurra.training.bptt import bptt
from recurra.training.online import online

X, H = 3, 4


def sigma(a: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-a))


class Net(nn.Module):
    def __init__(self, cell: str) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(1)
        self.layer = Recurrent(cell, X, H).double()
        self.head = nn.Linear(H, 2).double()
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=draw, dtype=torch.float64) * 0.6)

    def forward(self, x: Tensor, state: Any = None, lengths: Any = None, resets: Any = None) -> tuple[Tensor, Any]:
        y, state = self.layer(x, state, lengths=lengths, resets=resets)
        return self.head(y), state


def squared(outputs: Tensor, batch: Batch) -> tuple[Tensor, int]:
    return 0.5 * (outputs - batch.y).square().sum(), batch.count()


def a_batch(rows: int, steps: int) -> Batch:
    draw = torch.Generator().manual_seed(2)
    x = torch.randn(rows, steps, X, generator=draw, dtype=torch.float64)
    return Batch(x, torch.randn(rows, steps, 2, generator=draw, dtype=torch.float64))


@pytest.mark.parametrize("cell", ["lstm1997", "lstm"])
def test_eprop_is_the_truncated_rule_of_1997(cell: str):
    """The appendix of Hochreiter and Schmidhuber 1997, read into NumPy, per cell v and source m.

        ds_v/dw_in,m  = [f] ds_v/dw_in,m  + g(net_c) in'(net_in) y_m
        ds_v/dw_c,m   = [f] ds_v/dw_c,m   + y_in g'(net_c) y_m
        ds_v/dw_phi,m = [f] ds_v/dw_phi,m + s_v phi'(net_phi) y_m       Gers et al. 2000
        e_v = y_out h'(s_v) sum_k w_kv e_k,   dE/dw_in,c,phi = e_v ds_v/dw,   dE/dw_out,m = out'(net) h(s_v) sum w e y_m

    with [f] = 1 in 1997. Errors that leave a block through a gate or a cell's input are dropped.
    """
    model, batch = Net(cell), a_batch(1, 30)
    weights = {name: value.detach().numpy() for name, value in model.layer.units[0].named().items()}
    V, c = model.head.weight.detach().numpy(), model.head.bias.detach().numpy()
    modern = cell == "lstm"
    g, dg = (np.tanh, lambda a: 1 - np.tanh(a) ** 2) if modern else (lambda a: 4 * sigma(a) - 2, _slope(4))
    h, dh = (np.tanh, lambda a: 1 - np.tanh(a) ** 2) if modern else (lambda a: 2 * sigma(a) - 1, _slope(2))
    gates = ("i", "f", "g") if modern else ("i", "g")
    traces = {gate: np.zeros((H, X + H + 1)) for gate in gates}
    total = {gate: np.zeros((H, X + H + 1)) for gate in (*gates, "o")}
    s, y = np.zeros(H), np.zeros(H)
    for x, target in zip(batch.x[0].numpy(), batch.y[0].numpy(), strict=True):
        sources = np.concatenate([x, y, [1.0]])
        net = {
            gate: np.hstack([weights[f"W.{gate}"], weights[f"U.{gate}"], weights[f"b.{gate}"][:, None]]) @ sources
            for gate in total
        }
        y_in, y_out = sigma(net["i"]), sigma(net["o"])
        keep = sigma(net["f"]) if modern else np.ones(H)
        local = {"i": g(net["g"]) * y_in * (1 - y_in), "g": y_in * dg(net["g"]), "f": s * keep * (1 - keep)}
        for gate in gates:
            traces[gate] = keep[:, None] * traces[gate] + np.outer(local[gate], sources)
        s = keep * s + y_in * g(net["g"])
        y = y_out * h(s)
        error = V.T @ (V @ y + c - target)
        for gate in gates:
            total[gate] += (error * y_out * dh(s))[:, None] * traces[gate]
        total["o"] += np.outer(error * h(s) * y_out * (1 - y_out), sources)
    (due,) = online("eprop", None)(model, squared, batch, None)
    assert due.count == 30
    got = {name: value.grad.numpy() for name, value in model.layer.units[0].named().items() if value.grad is not None}
    for gate, expected in total.items():
        found = np.hstack([got[f"W.{gate}"], got[f"U.{gate}"], got[f"b.{gate}"][:, None]])
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)
    # The rule is a truncation: the whole gradient is another.
    model.zero_grad()
    next(bptt(model, squared, batch, None))
    whole = model.layer.units[0].named()["U.g"].grad
    assert whole is not None
    assert np.abs(whole.numpy() - total["g"][:, X : X + H]).max() > 1e-2


def _slope(height: float) -> Any:
    return lambda a: height * sigma(a) * (1 - sigma(a))


@pytest.mark.parametrize("cell", ["elman", "gru_v1"])
def test_uoro_is_unbiased(cell: str):
    """Rows of a batch are independent draws: the mean of 4,000 lies within a few standard errors of BPTT."""
    draws, rounds, steps = 400, 10, 6
    model, one = Net(cell), a_batch(1, steps)
    next(bptt(model, squared, one, None))
    names = [name for name, value in model.named_parameters() if value.grad is not None]
    exact = torch.cat([value.grad.flatten() for value in model.parameters() if value.grad is not None])
    many = Batch(one.x.expand(draws, -1, -1), one.y.expand(draws, -1, -1))
    method = online("uoro", None, torch.Generator().manual_seed(3))
    sums = []
    for _ in range(rounds):
        model.zero_grad()
        next(method(model, squared, many, None))
        sums.append(torch.cat([value.grad.flatten() for value in model.parameters() if value.grad is not None]) / draws)
    found = torch.stack(sums)
    learned = sum(value.numel() for name, value in model.named_parameters() if "layer" in name)
    assert len(names) == len([*model.parameters()])
    mean = found.mean(0)
    z = ((mean - exact) / (found.std(0) / rounds**0.5 + 1e-14))[:learned]
    # Student's t with 9 degrees of freedom: |t| is 0.86 on average, 6 comes once in 5,000.
    assert 0.5 < float(z.abs().mean()) < 1.3
    assert float(z.abs().max()) < 8
    assert float(torch.cosine_similarity(mean, exact, dim=0)) > 0.98
    # The head's gradient needs no memory and is exact.
    torch.testing.assert_close(mean[learned:], exact[learned:], rtol=1e-10, atol=1e-12)


def test_one_draw_of_uoro_is_not_the_gradient():
    model, batch = Net("elman"), a_batch(1, 20)
    gradients = []
    for seed in (0, 1):
        model.zero_grad()
        next(online("uoro", None, torch.Generator().manual_seed(seed))(model, squared, batch, None))
        gradients.append(torch.cat([p.grad.flatten() for p in model.layer.parameters() if p.grad is not None]))
    assert not torch.allclose(*gradients)
