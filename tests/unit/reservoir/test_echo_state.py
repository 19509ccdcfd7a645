"""Echo state networks: fits against scikit-learn on reservoirpy's states, streams, closed loops, saving, bad input."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
import torch
from reservoirpy.nodes import Reservoir as TheirReservoir
from sklearn.linear_model import Ridge as TheirRidge

from recurra.base.errors import CheckpointError, ConfigError, DataError, ShapeError, TrainingError
from recurra.data.sets.maps import henon
from recurra.data.sets.sines import sines
from recurra.reservoir.compose import DeepReservoir, ParallelReservoir
from recurra.reservoir.echo_state import EchoStateNetwork
from recurra.reservoir.reservoir import Reservoir

generator = np.random.default_rng(0)
X = generator.standard_normal((3, 200, 2))
Y = np.stack([X[..., 0] * np.roll(X[..., 1], 1, axis=1), np.roll(X[..., 0], 2, axis=1)], axis=2)
WAVE = sines(1200, 2)[None] / 2


def plain(**options):
    return EchoStateNetwork(Reservoir(40, 2, leak=0.8, bias=0.1, seed=1), 2, **options)


def fed(inputs=0, units=60):
    return EchoStateNetwork(Reservoir(units, inputs, feedback_size=1, bias=0.2, seed=1), 1)


def wave_net():
    net = EchoStateNetwork(Reservoir(100, 1, leak=0.7, bias=0.2, seed=1), 1)
    return net, net.fit(WAVE[:, :900], WAVE[:, 1:901], washout=100, ridge=1e-12)


def leaves(state):
    return (
        [state] if isinstance(state, np.ndarray | torch.Tensor) else [leaf for part in state for leaf in leaves(part)]
    )


def test_a_fit_is_ridge_regression_on_the_states():
    """States by reservoirpy, the regression by scikit-learn; rows end where they end, and their first steps go."""
    net, lengths = plain(), np.array([200, 150, 20])
    fit = net.fit(X, Y, lengths=lengths, washout=30, ridge=1e-2)
    ours = net.reservoir
    rows, aims = [], []
    for x, y, length in zip(X, Y, lengths, strict=True):
        node = TheirReservoir(
            W=scipy.sparse.csr_array(ours.recurrent_weights), Win=ours.input_weights, bias=ours.bias, lr=0.8
        )
        rows.append(np.concatenate([x, node.run(x)], axis=1)[30:length])
        aims.append(y[30:length])
    rows, aims = np.concatenate(rows), np.concatenate(aims)
    want = TheirRidge(alpha=1e-2, solver="svd").fit(rows, aims)
    np.testing.assert_allclose(net.readout.weights, want.coef_.T, rtol=0, atol=1e-10)
    np.testing.assert_allclose(net.readout.intercept, want.intercept_, rtol=0, atol=1e-10)
    np.testing.assert_allclose(fit.error, ((want.predict(rows) - aims) ** 2).mean(0), rtol=1e-9)
    np.testing.assert_allclose(net.predict(X)[0], want.predict(np.concatenate([X[0], ours(X)[0][0]], 1)), atol=1e-10)


@pytest.mark.parametrize("squares", ["none", "half", "all"])
def test_squares_are_what_they_say(squares):
    net = plain(squares=squares)
    net.fit(X, Y)
    h = net.reservoir(X)[0]
    half = np.where(np.arange(40) % 2 == 1, h**2, h)
    features = {"none": [X, h], "half": [X, half], "all": [X, h, h**2]}[squares]
    want = np.concatenate(features, 2) @ net.readout.weights + net.readout.intercept
    np.testing.assert_allclose(net.predict(X), want, rtol=0, atol=1e-12)


@pytest.mark.parametrize("choose", ["leave one out", "folds"])
def test_a_ridge_is_chosen_from_many(choose):
    candidates = np.logspace(-8, 4, 7)
    net = plain()
    fit = net.fit(X, Y, washout=10, ridge=candidates, choose=choose)
    assert fit.ridge == candidates[np.argmin(fit.selection.errors)]
    np.testing.assert_array_equal(fit.selection.ridges, candidates)
    alone = plain()
    alone.fit(X, Y, washout=10, ridge=fit.ridge)
    np.testing.assert_allclose(net.readout.weights, alone.readout.weights, atol=1e-9)


def test_many_small_chunks_fit_the_same(monkeypatch):
    want = plain()
    end = want.fit(X, Y, washout=13, ridge=1e-3, lengths=[200, 90, 0]).state
    monkeypatch.setattr("recurra.reservoir.echo_state.CHUNK", 21)
    have = plain()
    state = have.fit(X, Y, washout=13, ridge=1e-3, lengths=[200, 90, 0]).state
    np.testing.assert_allclose(have.readout.weights, want.readout.weights, atol=1e-10)
    for one, other in zip(leaves(state), leaves(end), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-13)


def test_states_kept_in_float32_fit_nearly_as_well():
    errors = []
    for store in (np.float64, np.float32):
        net = EchoStateNetwork(Reservoir(60, 1, seed=0), 1, store=store)
        errors.append(net.fit(WAVE[:, :-1], WAVE[:, 1:], washout=100, ridge=[1e-9, 1e-7]).error)
    assert errors[0] < 1e-6
    assert errors[1] < 3 * errors[0] + 1e-9


@pytest.mark.parametrize("kind", ["open", "taught", "free"])
def test_chunks_are_the_whole(kind):
    if kind == "open":
        net, x, y = plain(), X, Y
    else:
        net, x, y = fed(inputs=2), X, Y[..., :1]
    net.fit(x, y, ridge=1.0)
    taught = y if kind == "taught" else None
    want, last = net(x, teacher=taught)
    state, parts = None, []
    for a, b in [(0, 1), (1, 2), (2, 90), (90, 90), (90, 200)]:
        out, state = net(x[:, a:b], state, teacher=None if taught is None else taught[:, a:b])
        parts.append(out)
    np.testing.assert_allclose(np.concatenate(parts, 1), want, rtol=0, atol=1e-12)
    for one, other in zip(leaves(state), leaves(last), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", ["open", "taught", "free"])
def test_padding_is_inert(kind):
    net, y = (plain(), Y) if kind == "open" else (fed(inputs=2), Y[..., :1])
    net.fit(X, y, ridge=1.0)
    lengths = np.array([200, 0, 77])
    dirty, taught = X.copy(), (y.copy() if kind == "taught" else None)
    for row, length in enumerate(lengths):
        dirty[row, length:] = np.nan
        if taught is not None:
            taught[row, length:] = np.inf
    have, last = net(dirty, lengths=lengths, teacher=taught)
    for row, length in enumerate(lengths):
        one = slice(row, row + 1)
        want, end = net(X[one, :length], teacher=None if taught is None else taught[one, :length])
        np.testing.assert_allclose(have[row, :length], want[0], rtol=0, atol=1e-12)
        assert not have[row, length:].any()
        for a, b in zip(leaves(last), leaves(end), strict=True):
            np.testing.assert_allclose(a[row], b[0], rtol=0, atol=1e-12)


def test_a_forecast_by_hand_with_feedback():
    net = fed()
    fit = net.fit(None, WAVE[:, :900], washout=100, ridge=1e-10)
    have, end = net.forecast(30, fit.state)
    h, y, want = fit.state.reservoir.h[0], fit.state.y[0], []
    r = net.reservoir
    for _ in range(30):
        h = np.tanh(r.recurrent_weights @ h + r.feedback_weights @ y + r.bias)
        y = h @ net.readout.weights + net.readout.intercept
        want.append(y)
    np.testing.assert_allclose(have[0], want, rtol=0, atol=1e-10)
    np.testing.assert_allclose(end.y[0], y, atol=1e-10)


def test_a_forecast_by_hand_with_output_as_input():
    net, fit = wave_net()
    have, end = net.forecast(30, fit.state)
    state, y, want = fit.state, fit.state.y, []
    for _ in range(30):
        want.append(y[0])
        out, state = net(np.asarray(y)[:, None], state)
        y = out[:, 0]
    np.testing.assert_allclose(have[0], want, rtol=0, atol=1e-12)
    more, _ = net.forecast(10, end)
    np.testing.assert_allclose(more, net.forecast(40, fit.state)[0][:, 30:], atol=1e-12)


def test_mso_and_henon_are_learnt():
    net, fit = wave_net()
    # The state after x_899 has said x_900 already.
    _, state = net(WAVE[:, :900])
    np.testing.assert_allclose(net.forecast(200, state)[0], WAVE[:, 900:1100], atol=1e-2)
    assert float(fit.error[0]) < 1e-8
    points = henon(3000, discard=50)[None] * 0.5
    maps = EchoStateNetwork(Reservoir(200, 2, spectral_radius=0.2, bias=0.5, seed=0), 2)
    maps.fit(points[:, :2499], points[:, 1:2500], washout=50, ridge=1e-10)
    _, state = maps(points[:, :2500])
    np.testing.assert_allclose(maps.forecast(8, state)[0], points[:, 2500:2508], atol=0.01)


def test_learning_on_the_run_ends_at_the_ridge_solution():
    """Without forgetting, recursive least squares is ridge regression on [features, 1] after every step."""
    net = plain()
    half = 120
    said, state = net.partial_fit(X[:, :half], Y[:, :half], delta=1e-2)
    assert said.shape == (3, half, 2)
    net.partial_fit(X[:, half:], Y[:, half:], state)
    features = np.concatenate([X, net.reservoir(X)[0], np.ones((3, 200, 1))], 2).reshape(600, -1)
    want = TheirRidge(alpha=1e-2, fit_intercept=False, solver="svd").fit(features, Y.reshape(600, 2)).coef_.T
    np.testing.assert_allclose(net.readout.weights, want[:-1], atol=1e-8)
    np.testing.assert_allclose(net.readout.intercept, want[-1], atol=1e-8)


def test_what_is_said_while_learning_is_said_before():
    net = plain()
    said, _ = net.partial_fit(X, Y)
    assert not said[0, 0].any()
    late = plain()
    late.partial_fit(X[:, :150], Y[:, :150])
    step, _ = late.partial_fit(X[:1, 150:151], Y[:1, 150:151], late(X[:1, :150])[1])
    np.testing.assert_allclose(step, late_prediction(late, X), atol=1e-1)


def late_prediction(net, x):
    return net(x[:1, :151])[0][:, 150:]


def test_forgetting_follows_a_change():
    wanted = Y[:1, :, [1, 1]]
    changed = np.concatenate([wanted, -wanted], 1)
    twice = np.concatenate([X[:1], X[:1]], 1)
    errors = []
    for rate in (1.0, 0.97):
        net = plain()
        said, _ = net.partial_fit(twice, changed, forgetting=rate)
        errors.append(((said - changed)[:, 340:] ** 2).mean())
    assert errors[1] < 0.5 * errors[0]


def test_force_learns_while_its_own_output_runs():
    net = EchoStateNetwork(Reservoir(150, 0, feedback_size=1, spectral_radius=1.2, leak=0.3, seed=3), 1)
    wave = np.sin(np.arange(1500) / 8)[None, :, None]
    said, state = net.partial_fit(None, wave, delta=1.0, force=True)
    assert np.abs(said[:, :50] - wave[:, :50]).max() > 0.1
    assert np.abs(said[:, -200:] - wave[:, -200:]).max() < 0.02
    free, _ = net.forecast(40, state)
    np.testing.assert_allclose(free[0, :, 0], np.sin((1500 + np.arange(40)) / 8), atol=0.1)


@pytest.mark.parametrize("kind", ["noise", "loop_noise"])
def test_noise_is_seeded_and_only_in_fitting(kind):
    nets = [plain(**{kind: 0.05}, seed=seed) for seed in (0, 0, 1)]
    for net in nets:
        net.fit(X, Y)
    np.testing.assert_array_equal(nets[0].readout.weights, nets[1].readout.weights)
    assert not np.array_equal(nets[0].readout.weights, nets[2].readout.weights)
    np.testing.assert_array_equal(nets[0](X)[0], nets[0](X)[0])


def test_noise_in_the_loop_is_on_what_is_fed_back():
    """With one step per chunk and the noise drawn by hand, a fit by plain least squares on the states."""
    net = EchoStateNetwork(Reservoir(30, 0, feedback_size=1, bias=0.2, seed=1), 1, loop_noise=0.01, seed=5)
    net.fit(None, WAVE[:, :400], ridge=1e-3)
    late = np.concatenate([np.zeros((1, 1, 1)), WAVE[:, :399]], 1)
    late = late + np.random.default_rng(5).normal(0.0, 0.01, late.shape)
    h = net.reservoir(np.zeros((1, 400, 0)), feedback=late)[0][0]
    want = TheirRidge(alpha=1e-3, solver="svd").fit(h, WAVE[0, :400])
    np.testing.assert_allclose(net.readout.weights, want.coef_.reshape(-1, 1), atol=1e-8)


def test_tensors_give_tensors():
    net = plain()
    x, y = torch.from_numpy(X), torch.from_numpy(Y)
    fit = net.fit(x, y, ridge=1e-2)
    other = plain()
    other.fit(X, Y, ridge=1e-2)
    out, state = net(x, fit.state)
    assert all(isinstance(leaf, torch.Tensor) for leaf in [out, *leaves(state), *leaves(fit.state)])
    assert out.dtype == torch.float64
    np.testing.assert_allclose(out.numpy(), other(X, other.fit(X, Y, ridge=1e-2).state)[0], atol=1e-12)


@pytest.mark.parametrize(
    "reservoir",
    [
        Reservoir(30, 2, leak=np.linspace(0.2, 1, 30), bias=0.1, seed=0),
        Reservoir(30, 2, feedback_size=2, dtype=np.float32, activation="sigmoid", seed=0),
        ParallelReservoir([Reservoir(20, 2, seed=0), Reservoir(10, 2, leak=0.1, seed=1)]),
        DeepReservoir([Reservoir(20, 2, seed=0), Reservoir(10, 20, seed=1)]),
    ],
    ids=["plain", "feedback", "parallel", "deep"],
)
def test_saved_and_loaded_it_says_the_same(reservoir, tmp_path):
    net = EchoStateNetwork(reservoir, 2, squares="half", noise=1e-3, loop_noise=1e-4, seed=4)
    net.fit(X, Y, washout=5, ridge=1e-1)
    net.save(tmp_path / "net.safetensors")
    again = EchoStateNetwork.load(tmp_path / "net.safetensors")
    np.testing.assert_array_equal(again(X, teacher=Y)[0], net(X, teacher=Y)[0])
    assert repr(again.reservoir).split(" object")[0] == repr(reservoir).split(" object")[0]
    assert (again.noise, again.loop_noise, again.squares, again.seed) == (1e-3, 1e-4, "half", 4)


def test_a_file_that_is_none(tmp_path):
    (tmp_path / "x").write_bytes(b"no tensors")
    for name in ("x", "missing"):
        with pytest.raises(CheckpointError, match="cannot read"):
            EchoStateNetwork.load(tmp_path / name)
    from safetensors.numpy import save_file

    save_file({"a": np.ones(2)}, tmp_path / "other")
    with pytest.raises(CheckpointError, match="does not hold"):
        EchoStateNetwork.load(tmp_path / "other")


def test_as_many_rows_as_weights_warns():
    with pytest.warns(UserWarning, match="double descent"):
        plain().fit(X[:1, :45], Y[:1, :45], ridge=1e-14)


@pytest.mark.parametrize(
    ("call", "error", "part"),
    [
        (lambda: plain(noise=-1.0), ConfigError, "noise"),
        (lambda: plain(squares="some"), ConfigError, "some"),
        (lambda: EchoStateNetwork(Reservoir(5, 1, feedback_size=2), 1), ConfigError, "feedback_size"),
        (lambda: plain()(X), TrainingError, "call fit"),
        (lambda: plain().fit(X, Y[:, 1:]), ShapeError, "must be equal"),
        (lambda: plain().fit(X[0], Y), ShapeError, "batch axis"),
        (lambda: plain().fit(X, Y[..., :1]), ShapeError, r"\(B, T, 2\)"),
        (lambda: plain().fit(X, np.full_like(Y, np.nan)), DataError, "finite"),
        (lambda: plain().fit(X, Y, washout=200), DataError, "leaves no step"),
        (lambda: plain().fit(X, Y, lengths=[0, 0, 0]), DataError, "leaves no step"),
        (lambda: plain().fit(X, Y, washout=-1), DataError, "washout"),
        (lambda: plain().fit(X, Y, ridge=-1.0), DataError, "ridge"),
        (lambda: plain().fit(X, Y, ridge=[1.0, 2.0], choose="best"), ConfigError, "best"),
        (lambda: plain().partial_fit(X, Y, force=True), ConfigError, "feedback"),
        (lambda: plain().partial_fit(X, Y, forgetting=1.1), ConfigError, "forgetting"),
        (lambda: plain().partial_fit(X, Y, plain().initial(2)), ShapeError, "state.y"),
        (lambda: fitted().forecast(-1, fitted().initial()), DataError, "steps"),
        (lambda: fitted().forecast(3, fitted().initial(), X[:1, :3]), ConfigError, "x must be None"),
    ],
)
def test_what_cannot_be_is_an_error(call, error, part):
    with pytest.raises(error, match=part):
        call()


def fitted():
    net = plain()
    net.fit(X, Y, ridge=1.0)
    return net


def test_a_loop_that_runs_away_says_so():
    net = EchoStateNetwork(Reservoir(20, 1, activation="identity", spectral_radius=3.0, seed=0), 1)
    net.fit(np.ones((1, 8, 1)), np.ones((1, 8, 1)), ridge=1.0)
    with pytest.raises(DataError, match="left every bound"), np.errstate(all="ignore"):
        net.forecast(2000, net.initial()._replace(y=np.ones((1, 1))))
