"""Monotonic attention against the paper: the walk itself, enumerated, and the recursion of its equations."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.tolerances import assert_close

from recurra.base.errors import ConfigError, ShapeError
from recurra.layers.monotonic import MonotonicAttention, expected_alignment

B, S, T, Q, M = 2, 4, 6, 3, 5


def draw(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def first(batch, steps):
    start = torch.zeros(batch, steps, dtype=torch.float64)
    start[:, :1] = 1
    return start


def by_walking(p):
    """All walks: at step t stop or go on, the next output beginning where the last stopped. p (S, T)."""
    outputs, steps = p.shape
    found = np.zeros((outputs, steps))
    places = [*range(steps), None]
    for walk in itertools.product(places, repeat=outputs):
        chance, at = 1.0, 0
        for s, stop in enumerate(walk):
            if at is None:
                # A walk that ran off the end never comes back.
                chance *= stop is None
                continue
            if stop is not None and stop < at:
                chance = 0.0
                break
            end = steps if stop is None else stop
            chance *= np.prod(1 - p[s, at:end]) * (1 if stop is None else p[s, stop])
            at = stop
        for s, stop in enumerate(walk):
            if stop is not None:
                found[s, stop] += chance
    return found


def by_recursion(p, previous):
    """Equation (10) of the paper, multiplied out: no division."""
    found = np.zeros_like(p)
    for s in range(p.shape[0]):
        for t in range(p.shape[1]):
            q = sum(previous[k] * np.prod(1 - p[s, k:t]) for k in range(t + 1))
            found[s, t] = p[s, t] * q
        previous = found[s]
    return found


@pytest.mark.parametrize(("outputs", "steps"), [(1, 1), (1, 4), (3, 3), (3, 4), (4, 2)])
def test_the_expectation_over_all_walks(outputs, steps):
    p = torch.rand(2, outputs, steps, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    have = expected_alignment(p, first(2, steps))
    for row in range(2):
        assert_close(have[row], torch.from_numpy(by_walking(p[row].numpy())), "value", "alignment")


@given(st.integers(1, 7), st.integers(1, 9), st.integers(0, 1000), st.sampled_from([0.0, 0.3, 1.0]))
def test_the_recursion_of_the_paper(outputs, steps, seed, hardness):
    generator = torch.Generator().manual_seed(seed)
    p = torch.rand(outputs, steps, generator=generator, dtype=torch.float64)
    hard = (p > 0.5).double()
    p = torch.where(torch.rand(outputs, steps, generator=generator) < hardness, hard, p)
    previous = torch.softmax(torch.randn(steps, generator=generator, dtype=torch.float64), 0)
    have = expected_alignment(p.unsqueeze(0), previous.unsqueeze(0))[0]
    want = torch.from_numpy(by_recursion(p.numpy(), previous.numpy()))
    assert_close(have, want, "value", "alignment")
    sums = have.sum(-1)
    assert ((sums[1:] <= sums[:-1] + 1e-12) & (sums[1:] >= 0)).all()


def test_it_stays_exact_where_products_underflow():
    p = torch.full((1, 3, 5000), 1e-3, dtype=torch.float64)
    p[0, :, 100:4000] = 0.9999
    p[0, 0, :4500] = 0.5
    a = expected_alignment(p, first(1, 5000))
    assert a.isfinite().all()
    previous = first(1, 5000)[0].numpy()
    for s in range(3):
        q, want = 0.0, np.zeros(5000)
        for t in range(5000):
            q = (q * (1 - p[0, s, t - 1].item()) if t else 0.0) + previous[t]
            want[t] = q * p[0, s, t].item()
        assert_close(a[0, s], torch.from_numpy(want), "value", f"output {s}")
        previous = want


def test_gradients():
    p = torch.rand(1, 3, 4, generator=torch.Generator().manual_seed(4), dtype=torch.float64).requires_grad_()
    previous = torch.rand(1, 4, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(expected_alignment, (p, previous))
    layer = MonotonicAttention(Q, M, noise=0).double()

    def run(query, values):
        return layer(query, layer.prepare(values, torch.tensor([3, 1])))[0]

    assert torch.autograd.gradcheck(run, (draw(2, 2, Q).requires_grad_(), draw(2, 3, M).requires_grad_()))


def made(**options):
    return MonotonicAttention(Q, M, 4, generator=torch.Generator().manual_seed(3), **options).double().eval()


def test_energies_as_the_paper_writes_them():
    layer = made()
    query, values = draw(B, S, Q), draw(B, T, M, seed=2)
    e = layer.energies(query, layer.prepare(values))
    w = {name: tensor.detach().numpy() for name, tensor in layer.named_parameters()}
    for row, s, t in itertools.product(range(B), range(S), range(T)):
        inner = w["query.weight"] @ query[row, s].numpy() + w["key.weight"] @ values[row, t].numpy() + w["query.bias"]
        want = w["gain"] * (w["v"] / np.linalg.norm(w["v"])) @ np.tanh(inner) + w["offset"]
        assert abs(e[row, s, t].item() - want) < 1e-12


def test_the_hard_walk_is_the_stream_and_the_loop():
    layer = made(offset=0.0)
    layer.mode = "hard"
    with torch.no_grad():
        layer.gain.mul_(5)
    query, values = draw(B, S, Q), draw(B, 12, M, seed=2)
    contexts, alignment = layer(query, layer.prepare(values))
    energies = layer.energies(query, layer.prepare(values))
    assert set(alignment.unique().tolist()) == {0.0, 1.0}
    for row in range(B):
        live, at = layer.stream(), 0
        live.push(values[row, 0])
        for s in range(S):
            found = live.attend(query[row, s])
            while found is None and at < 11:
                at += 1
                live.push(values[row, at])
                found = live.attend(query[row, s])
            if found is None:
                assert not contexts[row, s:].any()
                assert not (energies[row, s, at:] > 0).any()
                break
            assert alignment[row, s].argmax() == at
            assert_close(contexts[row, s], found, "value", "context")


def test_one_output_at_a_time_is_all_at_once():
    layer = made()
    query, memory = draw(B, S, Q), layer.prepare(draw(B, T, M, seed=2), torch.tensor([6, 3]))
    contexts, alignment = layer(query, memory)
    previous, have = layer.first_weights(memory), []
    for s in range(S):
        context, weights = layer(query[:, s : s + 1], memory, previous)
        previous = weights[:, 0]
        have.append(context)
    assert_close(torch.cat(have, 1), contexts, "value", "contexts")
    assert not alignment[1, :, 3:].any()


def test_noise_only_in_training():
    layer = made()
    query, memory = draw(B, S, Q), layer.prepare(draw(B, T, M, seed=2))
    assert torch.equal(layer(query, memory)[0], layer(query, memory)[0])
    layer.train()
    assert not torch.equal(layer(query, memory)[0], layer(query, memory)[0])


def test_empty():
    layer = made()
    assert layer(draw(B, 0, Q), layer.prepare(draw(B, T, M)))[0].shape == (B, 0, M)
    assert not layer(draw(B, S, Q), layer.prepare(draw(B, 0, M)))[0].any()
    assert layer.stream().attend(draw(Q)) is None


@pytest.mark.parametrize(
    ("build", "error", "said"),
    [
        (lambda: MonotonicAttention(0, 3), ConfigError, "whole numbers from 1"),
        (lambda: MonotonicAttention(3, 3, noise=-1), ConfigError, "noise from 0"),
        (lambda: expected_alignment(torch.zeros(2, 3), torch.zeros(2, 3)), ShapeError, r"stop must be \(B, S, T\)"),
        (lambda: expected_alignment(torch.zeros(2, 3, 4), torch.zeros(2, 3)), ShapeError, r"previous \(B, T\)"),
        (lambda: made().prepare(draw(B, T, Q)), ShapeError, r"values must be \(B, T, M\)"),
        (lambda: made()(draw(B, S, M), made().prepare(draw(B, T, M))), ShapeError, r"query must be \(B, T, Q\)"),
        (lambda: made().stream().push(draw(1, M)), ShapeError, "a frame must be"),
    ],
)
def test_bad_input(build, error, said):
    with pytest.raises(error, match=said):
        build()
