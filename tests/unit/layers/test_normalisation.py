"""Layer norm on the products of any cell, and batch norm of the input products, against torch.nn's."""

from __future__ import annotations

import pytest
import torch
from tests.contract import battery
from torch import nn
from torch.nn import functional

from recurra.base.errors import ConfigError, ShapeError
from recurra.equations.show import equations
from recurra.layers import Recurrent
from recurra.layers.normalisation import InputBatchNorm, Normalised

I, H = 5, 7  # noqa: E741


def close(have, want):
    torch.testing.assert_close(have, want, rtol=1e-10, atol=1e-11)


def draw(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_the_products_are_normalised_and_nothing_else():
    assert equations(Normalised("gru_v1").spec).splitlines() == [
        "r = σ(gain_W_r ⊙ LN(W_r x) + gain_U_r ⊙ LN(U_r h) + b_r)",
        "z = σ(gain_W_z ⊙ LN(W_z x) + gain_U_z ⊙ LN(U_z h) + b_z)",
        "n = tanh(gain_W_n ⊙ LN(W_n x) + gain_U_n ⊙ LN(U_n (r ⊙ h)) + b_n)",
        "h' = (1 - z) ⊙ h + z ⊙ n",
    ]


@pytest.mark.parametrize("backend", ["reference", "native"])
@pytest.mark.parametrize("cell", ["gru", "janet", "fast_grnn"])
def test_a_normalised_cell_runs_like_any_other(cell, backend):
    if backend not in set(battery.backends(cell)):
        pytest.skip("no native backend here")
    layer = battery.make(Normalised(cell), backend=backend)
    x, state = battery.draw(layer, 4, 9)
    want = battery.everything(layer, x, state, run=battery.by_hand)
    battery.compare(battery.everything(layer, x, state), want, f"normalised {cell}")


def test_gains_start_at_one_and_the_rest_as_the_cell_says():
    unit = Recurrent(Normalised("lstm"), I, H).units[0]
    named = unit.named()
    assert set(named) == {f"{f}.{g}" for f in ("W", "U", "b", "gain_W", "gain_U") for g in "ifgo"}
    assert all(bool((named[f"gain_{m}.{g}"] == 1).all()) for m in "WU" for g in "ifgo")
    assert bool((named["b.f"] == 1).all())


class ByHand(nn.Module):
    """An LSTM whose input products go through torch.nn.BatchNorm1d, one per gate."""

    def __init__(self, layer: InputBatchNorm) -> None:
        super().__init__()
        self.named = layer.layer.units[0].named()
        self.norms = nn.ModuleDict({g: nn.BatchNorm1d(H, dtype=torch.float64) for g in "ifgo"})
        for norm, gain in zip(self.norms.values(), layer.gain, strict=True):
            norm.weight = gain
            norm.bias.requires_grad_(False)

    def forward(self, x, lengths):
        valid = torch.arange(x.shape[1]) < lengths[:, None]
        pre = {}
        for g, norm in self.norms.items():
            product = functional.linear(x, self.named[f"W.{g}"])
            pre[g] = torch.zeros_like(product).masked_scatter(valid.unsqueeze(-1), norm(product[valid]))
        h = c = x.new_zeros(x.shape[0], H)
        outputs = []
        for t in range(x.shape[1]):
            z = {g: pre[g][:, t] + h @ self.named[f"U.{g}"].t() + self.named[f"b.{g}"] for g in "ifgo"}
            new = torch.sigmoid(z["f"]) * c + torch.sigmoid(z["i"]) * torch.tanh(z["g"])
            live = valid[:, t : t + 1]
            h, c = torch.where(live, torch.sigmoid(z["o"]) * torch.tanh(new), h), torch.where(live, new, c)
            outputs.append(h * live)
        return torch.stack(outputs, 1), h


@pytest.mark.parametrize("lengths", [None, [9, 4, 0, 6]])
def test_input_batch_norm_is_torchs(lengths):
    layer = InputBatchNorm("lstm", I, H, generator=torch.Generator().manual_seed(1)).double()
    with torch.no_grad():
        for gain in layer.gain:
            gain.copy_(1 + 0.2 * draw(H, seed=4))
    peer = ByHand(layer)
    wanted = list(layer.parameters())
    full = torch.tensor([9] * 4 if lengths is None else lengths)
    for seed in range(3):
        x = draw(4, 9, I, seed=seed).requires_grad_()
        poisoned = x.masked_fill(torch.arange(9)[:, None] >= full[:, None, None], float("nan"))
        y, state = layer(poisoned, lengths=lengths)
        want, last = peer(x, full)
        close(y, want)
        close(state.h, last)
        weight = draw(*y.shape, seed=9)
        mine = torch.autograd.grad((y * weight).sum(), [x, *wanted])
        theirs = torch.autograd.grad((want * weight).sum(), [x, *wanted])
        close(mine, theirs)
        assert bool(mine[0][torch.arange(9).expand(4, -1) >= full[:, None]].eq(0).all())
    for index, norm in enumerate(peer.norms.values()):
        close(layer.get_buffer(f"running_mean_{index}"), norm.running_mean)
        close(layer.get_buffer(f"running_var_{index}"), norm.running_var)
    layer.eval()
    peer.eval()
    x = draw(4, 9, I, seed=7)
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    close(layer(x, lengths=lengths)[0], peer(x, full)[0])
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())


def test_evaluation_in_chunks_steps_and_resets():
    layer = InputBatchNorm("mut1", I, H).double()
    layer(draw(4, 9, I))
    layer.eval()
    x = draw(3, 8, I, seed=2)
    whole, last = layer(x)
    first, middle = layer(x[:, :3])
    rest, end = layer(x[:, 3:], middle)
    close(torch.cat((first, rest), 1), whole)
    close(end.h, last.h)
    state, outputs = None, []
    for t in range(8):
        y, state = layer.step(x[:, t], state)
        outputs.append(y)
    close(torch.stack(outputs, 1), whole)
    resets = torch.zeros(3, 8, dtype=torch.bool)
    resets[:, 4] = True
    close(layer(x, resets=resets)[0][:, 4:], layer(x[:, 4:])[0])


def test_the_scale_of_the_input_does_not_matter():
    """What normalising is for: gates do not saturate however large x is."""
    layer = InputBatchNorm("lstm", I, H, eps=1e-12).double()
    x = draw(4, 9, I)
    close(layer(1e4 * x)[0], layer(x)[0])


def test_what_is_refused():
    layer = InputBatchNorm("lstm", I, H)
    with pytest.raises(ShapeError, match="at least two valid steps in a batch, got 1"):
        layer(torch.zeros(2, 4, I), lengths=[1, 0])
    with pytest.raises(ShapeError, match=r"x must be \(B, T, I\)"):
        layer(torch.zeros(2, 4, I + 1))
    with pytest.raises(ConfigError, match="needs the statistics of a batch"):
        layer.step(torch.zeros(2, I))
    with pytest.raises(ConfigError, match=r"momentum must lie in \(0, 1\], got 0"):
        InputBatchNorm("lstm", I, H, momentum=0)
    with pytest.raises(ConfigError, match="eps must be above 0, got 0"):
        InputBatchNorm("lstm", I, H, eps=0)
