"""Noise in training: what it is, where it goes, that it is drawn from its stream, and that evaluation knows none."""

from __future__ import annotations

import copy

import pytest
import torch
from tests.contract import battery
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from recurra.base.errors import ConfigError, ShapeError
from recurra.base.rng import stream
from recurra.layers import Recurrent
from recurra.layers.noise import Noisy, VariationalDropout

I, H = 5, 7  # noqa: E741
EVERYTHING = {
    "input_dropout": 0.3,
    "between_dropout": 0.3,
    "output_dropout": 0.3,
    "input_noise": 0.1,
    "activation_noise": 0.1,
    "weight_noise": 0.05,
}
KINDS = [{name: value} for name, value in EVERYTHING.items()]
each = pytest.mark.parametrize("noise", [*KINDS, EVERYTHING], ids="-".join)


def made(cell="lstm", seed=0, num_layers=2, inner=None, **noise):
    generator = torch.Generator().manual_seed(4)
    layer = Recurrent(cell, I, H, num_layers=num_layers, generator=generator, **(inner or {})).double()
    return Noisy(layer, generator=stream(seed, "noise"), **noise)


def draw(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@each
def test_training_is_noisy_and_its_stream_decides(noise):
    x = draw(4, 9, I)
    first, _ = made(**noise)(x)
    torch.rand(3)
    again, _ = made(**noise)(x)
    other, _ = made(seed=1, **noise)(x)
    plain, _ = made()(x)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first, plain)
    layer = made(**noise)
    assert not torch.equal(layer(x)[0], layer(x)[0])


@each
def test_evaluation_is_the_layer(noise):
    layer = made(**noise).eval()
    x = draw(3, 8, I)
    before = layer.generator.get_state()
    want, last = layer.layer(x)
    y, state = layer(x)
    assert torch.equal(y, want)
    assert torch.equal(state[1].c, last[1].c)
    assert torch.equal(layer.generator.get_state(), before)
    live = made(**noise).stream()
    pushed = torch.cat([live.push(chunk) for chunk in x[0].split([1, 4, 3])])
    torch.testing.assert_close(pushed, want[0], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(layer.step(x[:, 0])[0], want[:, 0], rtol=1e-12, atol=1e-12)


@each
@pytest.mark.parametrize("bidirectional", [False, True])
def test_padding_is_inert(noise, bidirectional):
    lengths = torch.tensor([9, 0, 4, 1])
    x = draw(4, 9, I)
    gone = torch.arange(9).expand(4, -1) >= lengths[:, None]
    found = []
    for filler in (0.0, 1e6, float("nan")):
        layer = made(inner={"bidirectional": bidirectional}, **noise)
        padded = x.masked_fill(gone.unsqueeze(-1), filler).requires_grad_()
        y, state = layer(padded, lengths=lengths)
        assert bool(y[gone].eq(0).all())
        y.sum().backward()
        assert bool(padded.grad[gone].eq(0).all())
        found.append((y, state[-1].c, padded.grad, *(p.grad for p in layer.parameters())))
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            assert torch.equal(a, b)


@each
def test_the_global_stream_stays_where_it_was(noise):
    layer = made(inner={"recurrent_dropout": 0.2, "weight_drop": 0.2, "zoneout": 0.1, "dropout": 0.2}, **noise)
    torch.manual_seed(7)
    before = torch.get_rng_state()
    y, _ = layer(draw(3, 6, I))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(8)
    again = made(inner={"recurrent_dropout": 0.2, "weight_drop": 0.2, "zoneout": 0.1, "dropout": 0.2}, **noise)
    assert torch.equal(again(draw(3, 6, I))[0], y)


def test_variational_dropout_against_the_masks_written_out():
    """The LSTM of Gal and Ghahramani, its masks read off: one per layer and row, the same at every step."""
    layer = made(num_layers=1, input_dropout=0.4, output_dropout=0.4)
    x = draw(4, 9, I)
    y, _ = layer(x)
    again = stream(0, "noise")
    torch.randint(2**62, (), generator=again)
    mask = (torch.rand(4, 1, I, generator=again) >= 0.4).double() / 0.6
    out = (torch.rand(4, 1, H, generator=again) >= 0.4).double() / 0.6
    torch.testing.assert_close(y, layer.layer(x * mask)[0] * out, rtol=0, atol=0)
    assert {0.0, 1 / 0.6} == set(mask.unique().tolist()) == set(out.unique().tolist())


def test_weight_noise_is_one_draw_a_call_on_the_cells_parameters():
    layer = made(num_layers=1, weight_noise=0.1, inner={"learned_initial_state": True})
    x = draw(2, 6, I)
    y, _ = layer(x)
    again, copied = stream(0, "noise"), copy.deepcopy(layer.layer)
    torch.randint(2**62, (), generator=again)
    with torch.no_grad():
        for value in copied.units[0].named().values():
            value += 0.1 * torch.randn(value.shape, generator=again).double()
    torch.testing.assert_close(y, copied(x)[0], rtol=1e-12, atol=1e-12)
    # The gradient is that at the noisy weights, and arrives at the clean ones.
    copied(x)[0].sum().backward()
    y.sum().backward()
    for (name, a), b in zip(layer.layer.named_parameters(), copied.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-11, atol=1e-12, msg=name)


@pytest.mark.parametrize("name", ["input_noise", "activation_noise"])
def test_the_noise_has_the_spread_that_was_asked_for(name):
    layer = made(num_layers=1, **{name: 0.5})
    x = torch.zeros(40, 50, I, dtype=torch.float64)
    seen = []
    layer.layer.units[0].register_forward_hook(lambda _, given, __: seen.append(given[0]))
    noise = layer(x)[0] - layer.layer(x)[0] if name == "activation_noise" else (layer(x), seen[0])[1]
    # Three standard errors of a mean and of a standard deviation.
    assert abs(float(noise.detach().mean())) < 3 * 0.5 / noise.numel() ** 0.5
    assert abs(float(noise.detach().std()) - 0.5) < 3 * 0.5 / (2 * noise.numel()) ** 0.5
    steps = noise.detach()[:, 1:] - noise.detach()[:, :-1]
    assert float(steps.std()) == pytest.approx(0.5 * 2**0.5, rel=0.05)


def test_directions_share_the_mask_of_their_input():
    layer = made(num_layers=1, inner={"bidirectional": True}, input_dropout=0.5)
    seen = []
    for unit in layer.layer.units:
        unit.register_forward_hook(lambda _, given, __: seen.append(given[0]))
    layer(torch.ones(3, 4, I, dtype=torch.float64))
    assert torch.equal(seen[0], seen[1].flip(1))
    assert bool((seen[0] == 0).any())


@pytest.mark.parametrize("backend", ["reference", "native"])
def test_every_backend_learns_under_it(backend):
    if backend not in set(battery.backends("lstm")):
        pytest.skip("no native backend here")
    layer = made(inner={"backend": backend, "recurrent_dropout": 0.1, "weight_drop": 0.1}, **EVERYTHING)
    x = draw(3, 7, I).requires_grad_()
    y, state = layer(x)
    (y.sum() + state[0].c.sum()).backward()
    assert all(bool(p.grad.isfinite().all()) and bool(p.grad.any()) for p in (x, *layer.parameters()))
    # Nothing stays behind on the layer.
    assert not any(unit._forward_hooks or unit._forward_pre_hooks for unit in layer.layer.units)


def test_a_packed_sequence_comes_back_packed():
    x, lengths = draw(3, 6, I), torch.tensor([2, 6, 4])
    want, _ = made(**EVERYTHING)(x, lengths=lengths)
    packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    y, _ = made(**EVERYTHING)(packed)
    torch.testing.assert_close(pad_packed_sequence(y, batch_first=True)[0], want, rtol=1e-12, atol=1e-12)


def test_save_and_load():
    layer, again = made(**EVERYTHING), made(seed=5, **EVERYTHING)
    assert all(name.startswith("layer.") for name in layer.state_dict())
    again.load_state_dict(layer.state_dict())
    assert "weight_noise=0.05" in repr(copy.deepcopy(layer))


def test_locked_dropout_alone():
    drop = VariationalDropout(0.25, generator=stream(0, "noise"))
    x = draw(200, 3, 50)
    y = drop(x)
    kept = y != 0
    assert torch.equal(kept, kept[:, :1].expand_as(kept))
    # Three standard errors of a share.
    assert abs(float(kept[:, 0].double().mean()) - 0.75) < 3 * (0.25 * 0.75 / 10_000) ** 0.5
    torch.testing.assert_close(y[kept], x[kept] / 0.75)
    assert drop.eval()(x) is x


def test_what_is_refused():
    layer = Recurrent("lstm", I, H)
    with pytest.raises(ConfigError, match=r"(?s)input_dropout must lie .*got 1\n.*weight_noise must be a number"):
        Noisy(layer, input_dropout=1, weight_noise=-0.1)
    with pytest.raises(ConfigError, match="activation_noise must be a number from 0, got nan"):
        Noisy(layer, activation_noise=float("nan"))
    with pytest.raises(ConfigError, match="layer must be a Recurrent, got LSTM"):
        Noisy(torch.nn.LSTM(I, H))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="noise is drawn for a whole sequence"):
        Noisy(layer, input_noise=0.1).step(torch.zeros(2, I))
    with pytest.raises(ShapeError, match=r"x must be \(B, T, F\), got \(2, 3\)"):
        VariationalDropout(0.1)(torch.zeros(2, 3))
    with pytest.raises(ConfigError, match="rate must lie in"):
        VariationalDropout(1.0)
    with pytest.raises(ShapeError, match=r"x must be \(B, T, I\)"):
        Noisy(layer, input_noise=0.1)(torch.zeros(2, 3))
