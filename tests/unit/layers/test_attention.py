"""Pooling and attention against the papers' formulas in plain NumPy, one query and one memory step at a time."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from tests.tolerances import assert_close

from recurra.base.errors import ConfigError, ShapeError
from recurra.base.state import take
from recurra.layers.attention import Attention, AttentionPooling, Memory, Pooling, masked_softmax

B, S, T, Q, M = 3, 4, 6, 5, 5
LENGTHS = [6, 1, 3]
SCORES = ["dot", "scaled", "general", "additive"]


def draw(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def softmax(a):
    a = np.exp(a - a.max())
    return a / a.sum()


@pytest.mark.parametrize("lengths", [None, LENGTHS])
def test_pooling_as_yang_writes_it(lengths):
    layer = AttentionPooling(M, 3, generator=torch.Generator().manual_seed(3)).double()
    h = draw(B, T, M)
    y, weights = layer(h, lengths)
    w, b, u = (tensor.detach().numpy() for tensor in (layer.project.weight, layer.project.bias, layer.question))
    for row in range(B):
        steps = T if lengths is None else lengths[row]
        there = h[row, :steps].numpy()
        a = softmax(np.array([np.tanh(w @ step + b) @ u for step in there]))
        assert_close(weights[row, :steps], torch.from_numpy(a), "value", "weights")
        assert_close(y[row], torch.from_numpy(a @ there), "value", "pooled")
        assert not weights[row, steps:].any()


@pytest.mark.parametrize("score", SCORES)
def test_scores_as_the_papers_write_them(score):
    layer = Attention(score, Q, M, 3, generator=torch.Generator().manual_seed(3)).double()
    query, values = draw(B, S, Q), draw(B, T, M, seed=2)
    contexts, weights = layer(query, layer.prepare(values, LENGTHS))
    value = {name: tensor.detach().numpy() for name, tensor in layer.named_parameters()}

    def say(q, k):
        if score == "additive":
            return value["v"] @ np.tanh(value["query.weight"] @ q + value["query.bias"] + value["key.weight"] @ k)
        if score == "general":
            return q @ value["key.weight"] @ k
        return q @ k / (math.sqrt(M) if score == "scaled" else 1)

    for row, length in enumerate(LENGTHS):
        for s in range(S):
            there = values[row, :length].numpy()
            a = softmax(np.array([say(query[row, s].numpy(), step) for step in there]))
            assert_close(weights[row, s, :length], torch.from_numpy(a), "value", "weights")
            assert_close(contexts[row, s], torch.from_numpy(a @ there), "value", "context")
            assert not weights[row, s, length:].any()


def test_scaled_is_torchs():
    query, values = draw(B, S, Q), draw(B, T, M, seed=2)
    layer = Attention("scaled", Q, M).double()
    want = torch.nn.functional.scaled_dot_product_attention(query, values, values)
    assert_close(layer(query, layer.prepare(values))[0], want, "value", "scaled")


@pytest.mark.parametrize("score", SCORES)
def test_gradients_with_a_mask(score):
    layer = Attention(score, Q, M, 3).double()

    def run(query, values):
        return layer(query, layer.prepare(values, [2, 0]))[0]

    assert torch.autograd.gradcheck(run, (draw(2, 2, Q).requires_grad_(), draw(2, 3, M).requires_grad_()))
    pooling = AttentionPooling(M).double()
    assert torch.autograd.gradcheck(lambda h: pooling(h, [3, 0])[0], draw(2, 3, M).requires_grad_())


@pytest.mark.parametrize("score", SCORES)
def test_the_padding_is_nothing(score):
    layer = Attention(score, Q, M, 3).double()
    values = draw(B, T, M)
    dirty = values.clone()
    dirty[1, 1:] = math.nan
    dirty.requires_grad_()
    query = draw(B, S, Q)
    y, _ = layer(query, layer.prepare(dirty, LENGTHS))
    assert torch.equal(y, layer(query, layer.prepare(values, LENGTHS))[0])
    y.sum().backward()
    assert dirty.grad.isfinite().all()
    for parameter in layer.parameters():
        assert parameter.grad.isfinite().all()


def test_an_empty_memory_gives_nothing():
    layer = Attention("general", Q, M).double()
    y, weights = layer(draw(B, S, Q), layer.prepare(draw(B, T, M), [0, 0, 2]))
    assert not y[:2].any()
    assert not weights[:2].any()
    assert torch.allclose(weights[2].sum(-1), torch.ones(S, dtype=torch.float64))
    assert layer(draw(0, S, Q), layer.prepare(draw(0, T, M)))[0].shape == (0, S, M)


def test_a_memory_is_a_state():
    layer = Attention("additive", Q, M, 3).double()
    memory = layer.prepare(draw(B, T, M), LENGTHS)
    rows = torch.tensor([2, 2, 0])
    query = draw(B, S, Q)
    assert isinstance(memory, Memory)
    assert_close(
        layer(query, take(memory, rows))[0][1], layer(query[1:2].expand(B, -1, -1), memory)[0][2], "value", "beam"
    )


def test_softmax_of_large_numbers():
    scores = torch.tensor([[1e4, -1e4, 1e4]])
    assert masked_softmax(scores, torch.tensor([[True, True, False]])).tolist() == [[1, 0, 0]]
    assert masked_softmax(scores, None).tolist() == [[0.5, 0, 0.5]]


@pytest.mark.parametrize("kind", ["last", "mean", "max", "attention"])
def test_pooling_by_name(kind):
    layer = Pooling(kind, M).double()
    h = draw(B, T, M)
    lengths = [6, 0, 3]
    have = layer(h, lengths)
    for row, length in enumerate(lengths):
        there = h[row, :length]
        if not length:
            want = torch.zeros(M, dtype=torch.float64)
        elif kind == "attention":
            want = layer.attention(there.unsqueeze(0))[0][0]
        else:
            want = {"last": there[-1], "mean": there.mean(0), "max": there.max(0).values}[kind]
        assert_close(have[row], want, "value", f"{kind} of {length}")
    assert layer(h[:, :0]).shape == (B, M)
    dirty = h.clone()
    dirty[2, 3:] = math.nan
    assert torch.equal(layer(dirty, lengths), have)


def wrong_rows():
    layer = Attention("dot", 3, 3)
    return layer(torch.zeros(1, 2, 3), layer.prepare(torch.zeros(2, 5, 3)))


@pytest.mark.parametrize(
    ("build", "error", "said"),
    [
        (lambda: Pooling("first", 3), ConfigError, "kind must be one of"),
        (lambda: AttentionPooling(0), ConfigError, "whole numbers from 1"),
        (lambda: AttentionPooling(3, 0), ConfigError, "whole numbers from 1"),
        (lambda: Attention("cosine", 3, 3), ConfigError, "score must be one of dot, scaled, general, additive"),
        (lambda: Attention("dot", 3, 4), ConfigError, "one width, got 3 and 4"),
        (lambda: Attention("general", 3, 0), ConfigError, "whole numbers from 1"),
        (lambda: AttentionPooling(3)(torch.zeros(2, 5)), ShapeError, r"h must be \(B, T, F\)"),
        (lambda: Attention("dot", 3, 3).prepare(torch.zeros(2, 5, 4)), ShapeError, r"values must be \(B, T, M\)"),
        (lambda: Attention("dot", 3, 3).prepare(torch.zeros(2, 5, 3), [6, 1]), ShapeError, "lengths must lie"),
        (wrong_rows, ShapeError, "query has 1 rows, the memory 2"),
    ],
)
def test_bad_input(build, error, said):
    with pytest.raises(error, match=said):
        build()
