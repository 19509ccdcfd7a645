"""Spiking neurons against their differential equation and closed forms; connections, streams, padding; a small task."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from recurra.base.errors import ConfigError, DataError, ShapeError
from recurra.reservoir.encoding import integrate_and_fire, poisson, send_on_delta
from recurra.reservoir.liquid import Liquid, Neuron, traces
from recurra.reservoir.ridge import Ridge

generator = np.random.default_rng(0)
X = (generator.random((4, 120, 6)) < 0.05).astype(float)


def alone(**options):
    """One excitatory neuron that every input reaches."""
    return Liquid(1, column=(1, 1, 1), inhibitory=0.0, input_density=1.0, **options)


@pytest.mark.parametrize("dt", [0.1, 0.5, 1.0, 2.0])
def test_potentials_are_those_of_the_differential_equation_at_any_step(dt):
    """tau v' = -v + R (I + I_b), I' = -I / tau_s with a jump at each spike: DOP853 between the spikes."""
    neuron = Neuron(threshold=1e3, reset=2.0, background=3.0)
    liquid = alone(neuron=neuron, dt_ms=dt, input_weight=(7.0, 7.0))
    steps = round(40 / dt)
    x = np.zeros((1, steps, 1))
    x[0, [round(4 / dt) - 1, round(10 / dt) - 1]] = [[1.0], [2.0]]
    state, have = liquid.initial(), []
    start = float(state.v[0, 0])
    for t in range(steps):
        _, state = liquid(x[:, t : t + 1], state)
        have.append(float(state.v[0, 0]))

    def field(_, s):
        return [(-s[0] + s[1] + 3.0) / 30.0, -s[1] / 3.0]

    v, current, at = start, 0.0, 0.0
    for until, jump in ((4.0, 7.0), (10.0, 14.0), (40.0, 0.0)):
        end = solve_ivp(field, (at, until), [v, current], rtol=1e-12, atol=1e-12, method="DOP853").y[:, -1]
        v, current, at = end[0], end[1] + jump, until
        assert have[round(until / dt) - 1] == pytest.approx(v, abs=1e-9)


def test_a_constant_current_fires_at_the_rate_of_theory():
    """From reset to threshold: tau ln((R I - reset) / (R I - threshold)), rounded up to the grid, after the pause."""
    dt, drive = 0.01, 20.0
    liquid = alone(neuron=Neuron(background=drive), dt_ms=dt)
    spikes, _ = liquid(np.zeros((1, 4000, 1)))
    times = np.flatnonzero(spikes[0, :, 0])
    rise = 30.0 * np.log((drive - 13.5) / (drive - 15.0))
    want = np.ceil(rise / dt) + round(3.0 / dt)
    assert len(times) >= 3
    np.testing.assert_allclose(np.diff(times), want, atol=1)


def test_no_neuron_fires_in_its_refractory_time():
    liquid = Liquid(6, column=(3, 3, 3), input_weight=(500.0, 500.0), seed=1)
    spikes, _ = liquid(np.ones((1, 60, 6)))
    reached = np.flatnonzero(liquid.input_weights.sum(1))
    for unit in reached:
        gaps = np.diff(np.flatnonzero(spikes[0, :, unit]))
        assert gaps.min() == (3 if liquid.is_inhibitory[unit] else 4)


def test_a_spike_arrives_after_its_delay():
    liquid = Liquid(0, column=(1, 1, 2), inhibitory=0.0, connections={"EE": (1e9, 10.0, 3.0)}, seed=0)
    weights = liquid.recurrent_weights.toarray()
    assert weights[0, 1] > 0
    quiet = Neuron(background=0.0)
    liquid.neuron = quiet
    state = liquid.initial()
    state = state._replace(v=np.array([[20.0, 0.0]]))
    currents = []
    for _ in range(6):
        _, state = liquid(np.zeros((1, 1, 0)), state)
        currents.append(float(state.excitatory[0, 1]))
    # Fired at step 0; three steps later the other neuron's current jumps by the weight.
    assert currents[:3] == [0.0, 0.0, 0.0]
    assert currents[3] == pytest.approx(weights[1, 0])
    assert currents[4] == pytest.approx(weights[1, 0] * np.exp(-1 / 3))


def test_connections_follow_distance_and_kind():
    liquid = Liquid(1, column=(6, 6, 15), seed=3)
    exists = liquid.recurrent_weights.toarray() != 0
    gaps = ((liquid.places[:, None] - liquid.places[None]) ** 2).sum(-1)
    inhibitory = liquid.is_inhibitory
    assert inhibitory.sum() == round(0.2 * 540)
    assert not exists.diagonal().any()
    for share, to, source in ((0.3, False, False), (0.4, False, True), (0.2, True, False)):
        pairs = np.outer(inhibitory == to, inhibitory == source)
        for squared in (1.0, 4.0, 5.0):
            chosen = pairs & (gaps == squared)
            want = share * np.exp(-squared / 4)
            assert exists[chosen].mean() == pytest.approx(want, abs=4 * np.sqrt(want / chosen.sum()))
    weights = liquid.recurrent_weights.toarray()
    assert (weights[:, inhibitory] <= 0).all()
    assert (weights[:, ~inhibitory] >= 0).all()
    excited = weights[np.ix_(~inhibitory, ~inhibitory)]
    assert excited[excited > 0].mean() == pytest.approx(30.0, rel=0.05)


def test_chunks_are_the_whole():
    liquid = Liquid(6, seed=2)
    want, last = liquid(X)
    state, parts = None, []
    for part in np.split(X, [1, 2, 50, 51], axis=1):
        spikes, state = liquid(part, state)
        parts.append(spikes)
    np.testing.assert_array_equal(np.concatenate(parts, 1), want)
    assert 0 < want.mean() < 0.5
    for one, other in zip(state, last, strict=True):
        np.testing.assert_array_equal(one, other)


def test_padding_is_inert():
    liquid = Liquid(6, seed=2)
    lengths = np.array([120, 0, 37, 1])
    dirty = X.copy()
    for row, length in enumerate(lengths):
        dirty[row, length:] = np.nan
    spikes, last = liquid(dirty, lengths=lengths)
    for row, length in enumerate(lengths):
        want, end = liquid(X[row : row + 1, :length])
        np.testing.assert_array_equal(spikes[row, :length], want[0])
        assert not spikes[row, length:].any()
        for one, other in zip(last, end, strict=True):
            np.testing.assert_array_equal(one[row], other[0])


def test_tensors_give_tensors():
    liquid = Liquid(6, seed=2)
    spikes, state = liquid(torch.from_numpy(X))
    assert isinstance(spikes, torch.Tensor)
    assert isinstance(state.v, torch.Tensor)
    np.testing.assert_array_equal(spikes.numpy(), liquid(X)[0])
    assert isinstance(traces(spikes), torch.Tensor)


def test_traces_are_sums_of_exponentials():
    spikes = (generator.random((2, 50, 3)) < 0.1).astype(float)
    have = traces(spikes, dt_ms=2.0, tau_ms=20.0)
    ages = np.arange(50)[:, None] - np.arange(50)[None]
    kernel = np.where(ages >= 0, np.exp(-ages * 0.1), 0.0)
    np.testing.assert_allclose(have, np.einsum("ts,bsn->btn", kernel, spikes), atol=1e-12)
    again = traces(spikes[:, 20:], dt_ms=2.0, tau_ms=20.0, start=have[:, 19])
    np.testing.assert_allclose(again, have[:, 20:], atol=1e-12)


def test_rates_are_kept():
    rates = generator.uniform(0, 300, (3, 4000, 2))
    drawn = poisson(rates, seed=1)
    total = rates.sum(1) / 1000
    assert np.all(np.abs(drawn.sum(1) - total) < 5 * np.sqrt(total))
    even = integrate_and_fire(rates)
    assert np.all(np.abs(np.cumsum(even, 1) - np.cumsum(rates, 1) / 1000) <= 1 + 1e-6)


def test_changes_are_followed_to_within_a_step():
    x = np.cumsum(generator.standard_normal((2, 300, 3)), axis=1)
    spikes = send_on_delta(x, step=0.5)
    rises, falls = spikes[..., :3], spikes[..., 3:]
    followed = x[:, :1] + 0.5 * np.cumsum(rises - falls, axis=1)
    assert np.abs(followed - x).max() < 0.5 + 1e-9
    assert not (rises * falls).any()


def test_what_came_earlier_is_read_from_the_liquid_now():
    """Two spike templates, jittered, then silence-like noise common to both: which one it was is read 15 ms later."""
    liquid = Liquid(8, column=(3, 3, 12), weight_scale=0.2, seed=0)
    templates = generator.random((2, 100, 8)) < 0.03
    labels = generator.integers(0, 2, 240)
    x = np.zeros((240, 115, 8))
    for row, label in enumerate(labels):
        for t, channel in np.argwhere(templates[label]):
            x[row, np.clip(t + round(generator.normal(0, 2)), 0, 99), channel] = 1
    x[:, 100:] = generator.random((240, 15, 8)) < 0.03
    features = traces(liquid(x)[0], tau_ms=30.0)[:, -1]
    readout = Ridge(features[:160], np.eye(2)[labels[:160]]).readout(30.0)
    accuracy = (readout(features[160:]).argmax(1) == labels[160:]).mean()
    # The last 15 ms of input alone say nothing.
    late = x[:, 100:].sum(1)
    blind = (Ridge(late[:160], np.eye(2)[labels[:160]]).readout(30.0)(late[160:]).argmax(1) == labels[160:]).mean()
    assert accuracy > 0.85
    assert blind < 0.7


@pytest.mark.parametrize(
    ("call", "error", "part"),
    [
        (lambda: Liquid(1, column=(0, 3, 3)), ConfigError, "column"),
        (lambda: Liquid(1, inhibitory=1.5), ConfigError, "shares"),
        (lambda: Liquid(1, dt_ms=0.0), ConfigError, "dt_ms"),
        (lambda: Liquid(1, neuron=Neuron(membrane_ms=3.0)), ConfigError, "as slow as the membrane"),
        (lambda: Liquid(1, neuron=Neuron(membrane_ms=0.0)), ConfigError, "above 0"),
        (lambda: Liquid(3)(X), ShapeError, r"\(B, T, 3\)"),
        (lambda: Liquid(6)(X, Liquid(6).initial(2)), ShapeError, "state.v"),
        (lambda: Liquid(6)(np.where(X > 0, np.nan, X)), DataError, "finite"),
        (lambda: traces(X[0]), ShapeError, "spikes"),
        (lambda: traces(X, tau_ms=0.0), ConfigError, "tau_ms"),
        (lambda: poisson(-np.ones((1, 2, 1))), DataError, "rates_hz"),
        (lambda: integrate_and_fire(np.ones((1, 2, 1)), dt_ms=0.0), ConfigError, "dt_ms"),
        (lambda: send_on_delta(np.full((1, 2, 1), np.nan), step=1.0), DataError, "finite"),
        (lambda: send_on_delta(np.ones((1, 2, 1)), step=0.0), ConfigError, "step"),
    ],
)
def test_what_cannot_be_is_an_error(call, error, part):
    with pytest.raises(error, match=part):
        call()
