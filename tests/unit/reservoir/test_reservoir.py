"""Reservoir states against reservoirpy's with copied weights, streams, padding and bad input."""

from __future__ import annotations

import numpy as np
import pytest
import reservoirpy
import scipy.sparse
import torch
from reservoirpy.nodes import Reservoir as TheirReservoir

from recurra.base.errors import ConfigError, DataError, ShapeError
from recurra.reservoir.compose import DeepReservoir, ParallelReservoir
from recurra.reservoir.reservoir import Reservoir, ReservoirState

generator = np.random.default_rng(0)
X = generator.standard_normal((5, 60, 2))


def theirs(ours, x):
    node = TheirReservoir(
        W=scipy.sparse.csr_array(ours.recurrent_weights),
        Win=np.concatenate([ours.input_weights, ours.feedback_weights], axis=1),
        bias=ours.bias,
        lr=ours.leak,
        activation=ours.activation,
    )
    node.initialize(x)
    return node.run(x)


@pytest.mark.parametrize("units", [30, 200])
@pytest.mark.parametrize("leak", [1.0, 0.3, "each its own"])
@pytest.mark.parametrize("activation", ["tanh", "sigmoid"])
def test_states_equal_reservoirpys(units, leak, activation):
    leak = np.random.default_rng(1).uniform(0.1, 1, units) if isinstance(leak, str) else leak
    ours = Reservoir(units, 2, leak=leak, bias=0.2, input_scaling=[0.5, 2.0], activation=activation, seed=4)
    together = ours(X)[0]
    for row, have in zip(X, together, strict=True):
        want = theirs(ours, row)
        np.testing.assert_allclose(have, want, rtol=0, atol=1e-12)
        np.testing.assert_allclose(ours(row[None])[0][0], want, rtol=0, atol=1e-12)


def test_taught_feedback_equals_reservoirpys():
    """Teacher forcing: their node reads [x_t, y_{t-1}] as its input."""
    ours = Reservoir(100, 2, feedback_size=3, leak=0.4, feedback_scaling=0.7, seed=2)
    fed = np.random.default_rng(3).standard_normal((1, 60, 3))
    have = ours(X[:1], feedback=fed)[0][0]
    np.testing.assert_allclose(have, theirs(ours, np.concatenate([X[0], fed[0]], 1)), rtol=0, atol=1e-12)


def test_free_running_feedback_equals_reservoirpys():
    from recurra.reservoir.echo_state import EchoStateNetwork
    from recurra.reservoir.ridge import Readout

    ours = Reservoir(60, 2, feedback_size=1, leak=0.4, seed=2)
    weights = np.random.default_rng(0).standard_normal((60, 1)) / 20
    net = EchoStateNetwork(ours, 1, input_to_readout=False)
    net.readout = Readout(weights, np.array([0.1]))
    fed, parts = np.zeros(1), []
    node = TheirReservoir(
        W=scipy.sparse.csr_array(ours.recurrent_weights),
        Win=np.concatenate([ours.input_weights, ours.feedback_weights], axis=1),
        bias=ours.bias,
        lr=0.4,
    )
    for row in X[0]:
        fed = node.step(np.concatenate([row, fed])) @ weights + 0.1
        parts.append(fed)
    np.testing.assert_allclose(net(X[:1])[0][0], parts, rtol=0, atol=1e-12)


def test_gain_and_leak_apart_are_the_equation():
    ours = Reservoir(20, 2, leak=0.396, gain=0.44, bias=0.2, seed=0)
    h, want = np.zeros(20), []
    for x in X[0]:
        h = (1 - 0.396) * h + 0.44 * np.tanh(ours.recurrent_weights @ h + ours.input_weights @ x + ours.bias)
        want.append(h)
    np.testing.assert_allclose(ours(X[:1])[0][0], want, rtol=0, atol=1e-13)


KINDS = {
    "plain": lambda: Reservoir(40, 2, leak=0.5, bias=0.1, seed=1),
    "parallel": lambda: ParallelReservoir([Reservoir(20, 2, seed=1), Reservoir(30, 2, leak=0.2, seed=2)]),
    "deep": lambda: DeepReservoir([Reservoir(20, 2, seed=1), Reservoir(30, 20, leak=0.2, seed=2)]),
}


@pytest.mark.parametrize("kind", KINDS)
def test_chunks_are_the_whole(kind):
    reservoir = KINDS[kind]()
    want, last = reservoir(X)
    state, parts = None, []
    for part in np.split(X, [1, 2, 20, 21, 55], axis=1):
        states, state = reservoir(part, state)
        parts.append(states)
    np.testing.assert_allclose(np.concatenate(parts, 1), want, rtol=0, atol=1e-14)
    leaves = [state] if kind == "plain" else state
    for have, wanted in zip(leaves, [last] if kind == "plain" else last, strict=True):
        np.testing.assert_allclose(have.h, wanted.h, rtol=0, atol=1e-14)


@pytest.mark.parametrize("kind", KINDS)
def test_padding_is_inert(kind):
    reservoir = KINDS[kind]()
    lengths = np.array([60, 0, 1, 33, 59])
    padded = X.copy()
    for row, length in enumerate(lengths):
        padded[row, length:] = np.nan
    states, last = reservoir(padded, lengths=lengths)
    for row, length in enumerate(lengths):
        want, end = reservoir(X[row : row + 1, :length])
        np.testing.assert_allclose(states[row, :length], want[0], rtol=0, atol=1e-14)
        assert not states[row, length:].any()
        for have, wanted in zip(last, end, strict=True):
            have, wanted = (s if isinstance(s, np.ndarray) else s.h for s in (have, wanted))
            np.testing.assert_allclose(have[row], wanted[0], rtol=0, atol=1e-14)


def test_deep_and_parallel_are_their_parts():
    one, two = Reservoir(20, 2, seed=1), Reservoir(30, 20, seed=2)
    low = one(X)[0]
    np.testing.assert_array_equal(DeepReservoir([one, two])(X)[0], np.concatenate([low, two(low)[0]], 2))
    other = Reservoir(10, 2, seed=3)
    np.testing.assert_array_equal(ParallelReservoir([one, other])(X)[0], np.concatenate([low, other(X)[0]], 2))


def test_tensors_give_tensors():
    reservoir = KINDS["plain"]()
    x = torch.from_numpy(X).requires_grad_()
    states, state = reservoir(x)
    assert isinstance(states, torch.Tensor)
    assert isinstance(state.h, torch.Tensor)
    assert not states.requires_grad
    np.testing.assert_array_equal(states.numpy(), reservoir(X)[0])
    again, _ = reservoir(x, state, lengths=torch.tensor([60, 1, 2, 3, 4]))
    want = reservoir(X[:1], ReservoirState(state.h[:1].numpy()))[0][0]
    np.testing.assert_allclose(again[0].numpy(), want, rtol=0, atol=1e-14)


def test_given_weights_come_back():
    made = Reservoir(25, 2, feedback_size=1, bias=0.3, leak=0.4, gain=0.5, seed=0)
    again = Reservoir.from_weights(
        made.recurrent_weights.toarray(),
        made.input_weights,
        W_fb=made.feedback_weights,
        bias=made.bias,
        leak=0.4,
        gain=0.5,
    )
    np.testing.assert_array_equal(again(X)[0], made(X)[0])
    assert repr(again) == repr(made)


def test_the_seed_decides():
    np.testing.assert_array_equal(Reservoir(20, 1, seed=3).bias, Reservoir(20, 1, seed=3).bias)
    same, other = (Reservoir(20, 1, seed=s).recurrent_weights.toarray() for s in (3, 4))
    assert not np.array_equal(same, other)
    # Another input size leaves the recurrent weights as they were.
    np.testing.assert_array_equal(Reservoir(20, 5, seed=3).recurrent_weights.toarray(), same)


def test_the_peer_is_there():
    assert reservoirpy.__version__


@pytest.mark.parametrize(
    ("call", "error", "part"),
    [
        (lambda: Reservoir(0, 1), ConfigError, "units"),
        (lambda: Reservoir(5, 1, leak=0.0), ConfigError, "leak"),
        (lambda: Reservoir(5, 1, leak=[0.1, 0.2]), ShapeError, "leak"),
        (lambda: Reservoir(5, 1, dtype=np.int64), ConfigError, "int64"),
        (lambda: Reservoir(5, 1, activation="sin"), ConfigError, "sin"),
        (lambda: Reservoir(5, 2, input_scaling=[1.0]), ConfigError, "input_scaling"),
        (lambda: Reservoir.from_weights(np.ones((3, 2)), np.ones((3, 1))), ShapeError, r"W \(3, 2\)"),
        (lambda: Reservoir.from_weights(np.full((2, 2), np.nan), np.ones((2, 1))), DataError, "NaN"),
        (lambda: Reservoir(5, 2)(X[0]), ShapeError, r"add the batch axis"),
        (lambda: Reservoir(5, 3)(X), ShapeError, r"\(B, T, 3\)"),
        (lambda: Reservoir(5, 2)(np.where(X > 2, np.nan, X)), DataError, "finite"),
        (lambda: Reservoir(5, 2)(X.astype(complex)), DataError, "complex"),
        (lambda: Reservoir(5, 2)(X[:0]), ShapeError, "at least 1"),
        (lambda: Reservoir(5, 2)(X, Reservoir(5, 2).initial(2)), ShapeError, r"\(5, 5\), got \(2, 5\)"),
        (lambda: Reservoir(5, 2)(X, lengths=[1, 2]), ShapeError, "lengths"),
        (lambda: Reservoir(5, 2)(X, lengths=[1, 2, 3, 4, 61]), DataError, "60"),
        (lambda: Reservoir(5, 2)(X, feedback=X), ShapeError, "feedback_size is 0"),
        (lambda: Reservoir(5, 2, feedback_size=2)(X, feedback=X[:, 1:]), ShapeError, "must be equal"),
        (lambda: Reservoir(5, 2)(X, noise=np.zeros(3)), ShapeError, "noise"),
        (lambda: DeepReservoir([Reservoir(5, 2), Reservoir(5, 2)]), ConfigError, "layer 1 reads 2"),
        (lambda: ParallelReservoir([Reservoir(5, 2), Reservoir(5, 1)]), ConfigError, "same x"),
        (lambda: ParallelReservoir([]), ConfigError, "at least one"),
        (lambda: KINDS["deep"]()(X, ()), ShapeError, "2 parts"),
    ],
)
def test_what_cannot_be_is_an_error(call, error, part):
    with pytest.raises(error, match=part):
        call()
