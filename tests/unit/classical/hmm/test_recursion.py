"""Forward-backward and Viterbi against every path, against NumPy, and where numbers leave the range of doubles."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from recurra.base.errors import ShapeError
from recurra.classical.hmm import log_likelihood, recursion
from recurra.classical.hmm.recursion import best_paths, filtered, log, smoothed

LIMIT = 1e-12


@pytest.fixture(params=["native", "numpy"])
def path(request, monkeypatch):
    if request.param == "numpy":
        monkeypatch.setattr(recursion, "library", lambda: None)
    elif recursion.library() is None:
        pytest.skip("no compiler")


def chain(states: int, seed: int, zeros: bool = False) -> tuple[np.ndarray, np.ndarray]:
    chance = np.random.default_rng(seed)
    move = chance.dirichlet(np.ones(states), size=states)
    if zeros:
        move = np.triu(move) / np.triu(move).sum(axis=1, keepdims=True)
    return chance.dirichlet(np.ones(states)), move


@pytest.mark.parametrize("states", [1, 2, 3])
@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize("domain", ["scaled", "log"])
def test_every_path_is_summed(path, states, zeros, domain):
    T = 6
    start, move = chain(states, states, zeros)
    density = np.random.default_rng(9).normal(size=(T, states)) * 3
    paths = list(itertools.product(range(states), repeat=T))
    weights = np.array(
        [
            start[p[0]] * math.prod(move[a, b] for a, b in itertools.pairwise(p)) * math.exp(density[range(T), p].sum())
            for p in paths
        ]
    )
    total = weights.sum()
    gamma, xi = np.zeros((T, states)), np.zeros((states, states))
    for p, weight in zip(paths, weights / total, strict=True):
        gamma[range(T), p] += weight
        for a, b in itertools.pairwise(p):
            xi[a, b] += weight
    offsets = np.array([0, T])
    found = smoothed(density, offsets, start, move, domain=domain)
    assert abs(found.log_likelihoods[0] - np.log(total)) < LIMIT
    assert np.abs(found.posteriors - gamma).max() < LIMIT
    assert np.abs(found.transitions - xi).max() < LIMIT
    assert np.abs(found.starts - gamma[0]).max() < LIMIT
    best, score = best_paths(density, offsets, start, move)
    assert tuple(best) == paths[int(weights.argmax())]
    assert abs(score[0] - np.log(weights.max())) < LIMIT
    now = filtered(density, offsets, start, move)
    assert np.abs(now.posteriors[-1] - gamma[-1]).max() < LIMIT
    assert abs(now.log_likelihoods[0] - np.log(total)) < LIMIT


@pytest.mark.parametrize("states", [1, 3, 8, 13, 33])
@pytest.mark.parametrize("zeros", [False, True])
def test_native_is_numpy(states, zeros, monkeypatch):
    if recursion.library() is None:
        pytest.skip("no compiler")
    start, move = chain(states, 1, zeros)
    chance = np.random.default_rng(2)
    lengths = [1, 2, 63, 150]
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    density = chance.normal(size=(offsets[-1], states)) * 8 - 500
    ours = [smoothed(density, offsets, start, move, domain=domain) for domain in ("scaled", "log")]
    fast = [*best_paths(density, offsets, start, move), *filtered(density, offsets, start, move)]
    monkeypatch.setattr(recursion, "library", lambda: None)
    want = smoothed(density, offsets, start, move)
    for found in ours:
        for have, should in zip(found, want, strict=True):
            assert np.abs(have - should).max() <= 1e-10 * max(1, np.abs(should).max())
    slow = [*best_paths(density, offsets, start, move), *filtered(density, offsets, start, move)]
    for have, should in zip(fast, slow, strict=True):
        assert np.abs(have - should).max() <= 1e-10 * max(1, np.abs(should).max())


# What state 1 loses while state 0 explains the data is needed once everything has to have passed through it.
BAD = {
    "one step below the smallest double": [(0, -800), (0, 0), (-2000, 0)],
    "a loss that comes back in small steps": [(0, -1500)] + [(0, 0)] * 5 + [(-300, 0)] * 12,
    "the first state is lost, and no way leads back to it": [(-1500, 0)] + [(0, 0)] * 5 + [(0, -190)] * 20,
    "lost slowly": [(0, -90)] * 15 + [(-100, 0)] * 30,
    "a step that nothing explains": [(-1e6, -2e6), (-3e6, -1e6)],
    "impossible for one state": [(0, -math.inf), (0, -5), (-math.inf, 0)],
    "one state far away for long": [(0, -700)] * 400,
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize(
    "move", [[[0.6, 0.4], [0.0, 1.0]], [[0.9, 0.1], [0.3, 0.7]], [[1 - 1e-12, 1e-12], [1e-9, 1 - 1e-9]]]
)
def test_scaling_never_loses_what_matters(name, move):
    density = np.array(BAD[name], dtype=float)
    start, move = np.array([0.5, 0.5]), np.array(move)
    offsets = np.array([0, len(density)])
    gamma, total, xi = recursion._smooth(density, log(start), log(move))
    for found in (smoothed(density, offsets, start, move), smoothed(density, offsets, start, move, domain="log")):
        assert abs(found.log_likelihoods[0] - total) <= 1e-12 * abs(total) + 1e-12
        assert np.abs(found.posteriors - gamma).max() < 1e-9
        assert np.abs(found.transitions - xi).max() < 1e-7
    now = filtered(density, offsets, start, move)
    assert abs(now.log_likelihoods[0] - total) <= 1e-12 * abs(total) + 1e-12


def test_the_fast_way_is_taken_where_it_may_be(monkeypatch):
    native = recursion.library()
    if native is None:
        pytest.skip("no compiler")
    density = np.array(BAD["one state far away for long"], dtype=float)
    status, likelihood, out = np.empty(1, np.int64), np.empty(1), np.empty((400, 2))
    for move, needs in (([[0.9, 0.1], [0.3, 0.7]], 0), ([[0.6, 0.4], [0.0, 1.0]], 0)):
        places = [part.ctypes.data for part in (out, likelihood, status)]
        bounds, start, moves = np.array([0, 400]), np.array([0.5, 0.5]), np.array(move)
        native.forward_scaled(
            1, bounds.ctypes.data, 2, density.ctypes.data, start.ctypes.data, 0, moves.ctypes.data, *places
        )
        assert status[0] == needs


def test_an_impossible_sequence_has_likelihood_zero(path):
    density = np.array([[0.0, -np.inf], [-np.inf, 0.0]])
    move = np.eye(2)
    found = smoothed(density, np.array([0, 2]), np.array([0.5, 0.5]), move)
    assert found.log_likelihoods[0] == -np.inf
    assert filtered(density, np.array([0, 2]), np.array([0.5, 0.5]), move).log_likelihoods[0] == -np.inf


def torch_log_forward(density, log_start, log_move, lengths):
    """Ten lines that anyone can check: the forward recursion in logarithms."""
    totals = []
    for row, length in zip(density, lengths, strict=True):
        alpha = log_start + row[0]
        for t in range(1, length):
            alpha = torch.logsumexp(alpha[:, None] + log_move, dim=0) + row[t]
        totals.append(torch.logsumexp(alpha, dim=0))
    return torch.stack(totals)


def test_gradients_are_expected_counts():
    torch.manual_seed(0)
    K, T, lengths = 3, 7, [7, 1, 4]
    density, start, move = (torch.randn(*s, dtype=torch.float64) for s in ((3, T, K), (K,), (K, K)))
    ours = [part.clone().requires_grad_() for part in (density, start, move)]
    theirs = [part.clone().requires_grad_() for part in (density, start, move)]
    weights = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    have = log_likelihood(*ours, lengths=torch.tensor(lengths))
    want = torch_log_forward(*theirs, lengths)
    assert torch.allclose(have, want, atol=1e-12, rtol=0)
    (have * weights).sum().backward()
    (want * weights).sum().backward()
    for mine, other in zip(ours, theirs, strict=True):
        assert torch.allclose(mine.grad, other.grad, atol=1e-12, rtol=0)
    assert torch.autograd.gradcheck(lambda *parts: log_likelihood(*parts, lengths=torch.tensor(lengths)), ours)


def test_the_derivative_by_log_transitions_is_the_expected_transitions():
    start, move = chain(4, 5)
    density = np.random.default_rng(6).normal(size=(2, 30, 4))
    log_move = torch.from_numpy(np.log(move)).requires_grad_()
    total = torch_log_forward(torch.from_numpy(density), torch.from_numpy(np.log(start)), log_move, [30, 30]).sum()
    total.backward()
    found = smoothed(density.reshape(60, 4), np.array([0, 30, 60]), start, move)
    assert np.abs(found.transitions - log_move.grad.numpy()).max() < 1e-11
    assert found.transitions.sum() == pytest.approx(2 * 29, abs=1e-10)


def test_likelihood_refuses_other_shapes():
    with pytest.raises(ShapeError, match=r"expected \(B, T, K\)"):
        log_likelihood(torch.zeros(2, 3), torch.zeros(3), torch.zeros(3, 3))
    with pytest.raises(ShapeError, match="lengths must be 2 numbers"):
        log_likelihood(torch.zeros(2, 4, 3), torch.zeros(3), torch.zeros(3, 3), torch.tensor([5, 1]))
