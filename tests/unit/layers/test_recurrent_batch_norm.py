"""Batch norm in the recurrence: against the paper's equations with torch.nn.BatchNorm1d, one per step."""

from __future__ import annotations

import pytest
import torch
from tests.contract import battery
from torch import nn

from recurra.base.errors import ConfigError, ShapeError
from recurra.layers.recurrent_batch_norm import RecurrentBatchNorm

I, H, STEPS = 4, 6, 8  # noqa: E741


def close(have, want):
    torch.testing.assert_close(have, want, rtol=1e-10, atol=1e-11)


def draw(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def make(cell="layer_norm_lstm", max_steps=STEPS, **options):
    generator = torch.Generator().manual_seed(1)
    layer = RecurrentBatchNorm(cell, I, H, max_steps=max_steps, generator=generator, **options).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return layer


class Cooijmans(nn.Module):
    """BN-LSTM, eq. 6 to 8 of the paper, one torch.nn.BatchNorm1d per product, gate and step."""

    def __init__(self, layer: RecurrentBatchNorm, steps: int = STEPS) -> None:
        super().__init__()
        self.named = layer.layer.units[0].named()
        names = [f"{family}{gate}" for family in "WU" for gate in "ifgo"] + ["c"]
        self.norms = nn.ModuleDict(
            {f"{n}{t}": nn.BatchNorm1d(H, affine=False, dtype=torch.float64) for n in names for t in range(steps)}
        )

    def forward(self, x, lengths):
        w = self.named
        h = c = x.new_zeros(x.shape[0], H)
        outputs = []
        for t in range(x.shape[1]):
            live = torch.as_tensor(lengths) > t

            def norm(name, a, live=live, t=t):
                return torch.zeros_like(a).masked_scatter(live[:, None], self.norms[f"{name}{t}"](a[live]))

            pre = {
                g: w[f"t.{g}"] * norm(f"U{g}", h @ w[f"U.{g}"].t())
                + w[f"s.{g}"] * norm(f"W{g}", x[:, t] @ w[f"W.{g}"].t())
                + w[f"b.{g}"]
                for g in "ifgo"
            }
            c_new = torch.sigmoid(pre["f"]) * c + torch.sigmoid(pre["i"]) * torch.tanh(pre["g"])
            h_new = torch.sigmoid(pre["o"]) * torch.tanh(w["s.c"] * norm("c", c_new) + w["b.c"])
            h, c = torch.where(live[:, None], h_new, h), torch.where(live[:, None], c_new, c)
            outputs.append(h * live[:, None])
        return torch.stack(outputs, 1), h, c


@pytest.mark.parametrize("lengths", [[8, 8, 8, 8, 8], [8, 5, 0, 7, 2]])
def test_bn_lstm_is_the_papers(lengths):
    layer, full = make(), torch.tensor(lengths)
    peer = Cooijmans(layer)
    for seed in range(3):
        x = draw(5, STEPS, I, seed=seed).requires_grad_()
        poisoned = x.masked_fill(torch.arange(STEPS)[:, None] >= full[:, None, None], float("nan"))
        # The last step that one row alone reaches has no variance; torch's refuses it.
        if lengths[1] < 8:
            poisoned, full = poisoned[:, :7], full.clamp(max=7)
        y, state = layer(poisoned, lengths=full)
        want, h, c = peer(x[:, : y.shape[1]], full)
        close(y, want)
        close((state.h, state.c), (h, c))
        assert state.t.flatten().tolist() == full.tolist()
        weight = draw(*y.shape, seed=9)
        wanted = [x, *layer.parameters()]
        close(torch.autograd.grad((y * weight).sum(), wanted), torch.autograd.grad((want * weight).sum(), wanted))
    layer.eval()
    peer.eval()
    x = draw(5, y.shape[1], I, seed=7)
    close(layer(x, lengths=full)[0], peer(x, full)[0])


def test_gains_start_small():
    named = RecurrentBatchNorm("layer_norm_lstm", I, H).layer.units[0].named()
    assert all(bool((value == 0.1).all()) for name, value in named.items() if name[:2] in ("s.", "t."))
    named = RecurrentBatchNorm("gru", I, H, gain=0.3).layer.units[0].named()
    assert sum(name.startswith("gain_") for name in named) == 6
    assert all(bool((value == 0.3).all()) for name, value in named.items() if name.startswith("gain_"))


@pytest.mark.parametrize("backend", ["reference", "native"])
@pytest.mark.parametrize("cell", ["layer_norm_lstm", "gru", "slstm"])
def test_evaluation_in_chunks_steps_and_resets(cell, backend):
    if backend not in set(battery.backends("lstm")):
        pytest.skip("no native backend here")
    layer = make(cell, max_steps=5, backend=backend)
    for seed in range(3):
        layer(draw(4, 7, I, seed=seed))
    layer.eval()
    x = draw(3, 12, I, seed=5)
    whole, last = layer(x)
    for cuts in ([3, 9], [1, 4, 7], [12]):
        state, parts = None, []
        for chunk in x.split(cuts, 1):
            y, state = layer(chunk, state)
            parts.append(y)
        close(torch.cat(parts, 1), whole)
        close(state.h, last.h)
        assert torch.equal(state.t, last.t)
    state, outputs = None, []
    for t in range(12):
        y, state = layer.step(x[:, t], state)
        outputs.append(y)
    close(torch.stack(outputs, 1), whole)
    resets = torch.zeros(3, 12, dtype=torch.bool)
    resets[0, 4] = resets[1, 0] = resets[2, 7] = True
    y, state = layer(x, resets=resets, lengths=torch.tensor([12, 12, 9]))
    close(y[0, 4:], layer(x[:1, 4:])[0][0])
    close(y[0, :4], whole[0, :4])
    close(y[1], whole[1])
    close(y[2, 7:9], layer(x[2:, 7:9])[0][0])
    assert state.t.flatten().tolist() == [8, 12, 2]


def test_steps_never_seen_use_the_last_that_was():
    layer = make(max_steps=50)
    layer(draw(4, 3, I))
    assert int(layer.get_buffer("steps_seen")) == 3
    layer.eval()
    x = draw(2, 6, I, seed=1)
    found, _ = layer(x)
    with torch.no_grad():
        for name, value in layer.named_buffers():
            if name.startswith("running"):
                value[3:] = value[2]
        layer.get_buffer("steps_seen").fill_(50)
    close(layer(x)[0], found)


def test_training_in_chunks_keeps_the_step():
    one, two = make(), make()
    two.load_state_dict(one.state_dict())
    x = draw(4, 6, I)
    whole, last = one(x)
    first, state = two(x[:, :2])
    rest, end = two(x[:, 2:], state)
    close(torch.cat((first, rest), 1), whole)
    close(end.c, last.c)
    close(dict(two.named_buffers()), dict(one.named_buffers()))


def test_save_and_load():
    layer, again = make(), make()
    layer(draw(4, 5, I))
    again.load_state_dict(layer.state_dict())
    x = draw(2, 5, I, seed=3)
    assert torch.equal(layer.eval()(x)[0], again.eval()(x)[0])


def test_empty_batches_and_sequences():
    layer = make()
    for train in (True, False):
        layer.train(train)
        y, state = layer(draw(3, 0, I))
        assert y.shape == (3, 0, H)
        assert state.t.tolist() == [[0]] * 3
        assert layer(draw(0, 4, I))[0].shape == (0, 4, H)


def test_what_is_refused():
    layer = make()
    x = draw(2, 4, I)
    with pytest.raises(ShapeError, match="resets in training"):
        layer(x, resets=torch.ones(2, 4, dtype=torch.bool))
    _, state = layer(x, lengths=[4, 2])
    with pytest.raises(ShapeError, match="all rows must be at one step, they are at 2 to 4"):
        layer(x, state)
    with pytest.raises(ShapeError, match="state must be what an earlier call returned, got tuple"):
        layer(x, (torch.zeros(2, H),))
    with pytest.raises(ConfigError, match="needs the statistics of a batch"):
        layer.step(x[:, 0])
    with pytest.raises(ShapeError, match=r"x must be \(B, T, I\)"):
        layer(draw(2, 4, I + 1))
    with pytest.raises(ConfigError, match="max_steps must be a whole number from 1, got 0"):
        RecurrentBatchNorm("lstm", I, H, max_steps=0)
