"""Decoders against the papers' equations in plain NumPy, all steps at once against one by one, and beams."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.tolerances import assert_close

from recurra.base.errors import ConfigError, ShapeError
from recurra.base.state import leaves, take
from recurra.layers.decoder import Decoder

B, S, T, V, H, M, E = 3, 5, 4, 7, 6, 6, 4
LENGTHS = [5, 2, 3]
KINDS = [
    {"attention": "dot"},
    {"attention": "general"},
    {"attention": "scaled", "input_feeding": True},
    {"attention": "additive"},
    {"attention": "additive", "input_feeding": True},
    {"attention": "additive", "form": "bahdanau"},
    {"attention": "general", "form": "bahdanau"},
    {"attention": "monotonic"},
    {"attention": "monotonic", "form": "bahdanau"},
]


def made(cell="gru", **options):
    options = {"memory_size": M, "embedding_size": E} | options
    net = Decoder(cell, V, H, generator=torch.Generator().manual_seed(2), **options).double().eval()
    generator = torch.Generator().manual_seed(6)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return net


def draw():
    generator = torch.Generator().manual_seed(1)
    memory = torch.randn(B, S, M, generator=generator, dtype=torch.float64)
    return torch.randint(V, (B, T), generator=generator), memory


def step_by_step(net, tokens, state):
    logits, weights = [], []
    for t in range(tokens.shape[1]):
        y, state = net.step(tokens[:, t], state)
        logits.append(y)
        weights.append(state.weights)
    return torch.stack(logits, 1), state, torch.stack(weights, 1)


@pytest.mark.parametrize("cell", ["lstm", "gru", "elman"])
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_all_steps_at_once_are_one_by_one(kind, cell):
    net = made(cell, num_layers=2, **kind)
    tokens, memory = draw()
    state = net.begin(None, memory, LENGTHS)
    logits, end, weights = net(tokens, state)
    want, last, looked = step_by_step(net, tokens, state)
    assert_close(logits, want, "value", "logits")
    assert_close(weights, looked, "value", "weights")
    for have, other in zip(leaves(end), leaves(last), strict=True):
        assert_close(have.double(), other.double(), "value", "state")
    for row, length in enumerate(LENGTHS):
        assert not weights[row, :, length:].any()


def test_the_fast_form_has_no_loop(monkeypatch):
    net = made()
    tokens, memory = draw()

    def fail(*_):
        raise AssertionError("a step was taken")

    monkeypatch.setattr(net, "step", fail)
    assert net(tokens, net.begin(None, memory))[0].shape == (B, T, V)


def test_luong_as_the_paper_writes_it():
    net = made("elman", attention="general", input_feeding=True)
    tokens, memory = draw()
    w = {name: tensor.detach().numpy() for name, tensor in net.named_parameters()}
    h, fed = np.zeros((B, H)), np.zeros((B, H))
    cell = "recurrent.units.0."
    have = net(tokens, net.begin(None, memory, LENGTHS))[0]
    for t in range(T):
        x = np.concatenate((w["embedding.weight"][tokens[:, t].numpy()], fed), -1)
        h = np.tanh(x @ w[cell + "W"].T + h @ w[cell + "U"].T + w[cell + "b"])
        for row, length in enumerate(LENGTHS):
            there = memory[row, :length].numpy()
            score = np.array([h[row] @ w["attention.key.weight"] @ m for m in there])
            a = np.exp(score) / np.exp(score).sum()
            joined = np.concatenate((a @ there, h[row]))
            fed[row] = np.tanh(w["join.weight"] @ joined + w["join.bias"])
            want = w["output.weight"] @ fed[row] + w["output.bias"]
            assert_close(have[row, t], torch.from_numpy(want), "value", f"row {row}, step {t}")


def test_bahdanau_as_the_paper_writes_it():
    net = made("elman", attention="additive", form="bahdanau")
    tokens, memory = draw()
    w = {name: tensor.detach().numpy() for name, tensor in net.named_parameters()}
    cell = "recurrent.units.0."
    have = net(tokens, net.begin(None, memory, LENGTHS))[0]
    for row, length in enumerate(LENGTHS):
        s, there = np.zeros(H), memory[row, :length].numpy()
        for t in range(T):
            query = w["attention.query.weight"] @ s + w["attention.query.bias"]
            e = np.array([w["attention.v"] @ np.tanh(query + w["attention.key.weight"] @ m) for m in there])
            context = (np.exp(e) / np.exp(e).sum()) @ there
            y = w["embedding.weight"][tokens[row, t].item()]
            x = np.concatenate((y, context))
            s = np.tanh(w[cell + "W"] @ x + w[cell + "U"] @ s + w[cell + "b"])
            inner = np.tanh(w["join.weight"] @ np.concatenate((s, y, context)) + w["join.bias"])
            want = w["output.weight"] @ inner + w["output.bias"]
            assert_close(have[row, t], torch.from_numpy(want), "value", f"row {row}, step {t}")


@pytest.mark.parametrize("kind", [*KINDS, {"memory_size": None}], ids=str)
def test_rows_of_different_lengths(kind):
    net = made(**kind)
    tokens, memory = draw()
    memory = None if kind == {"memory_size": None} else memory
    lengths = [4, 1, 0]
    logits, end, weights = net(tokens, net.begin(None, memory, memory is not None and LENGTHS, batch_size=B), lengths)
    for row, length in enumerate(lengths):
        one = None if memory is None else memory[row : row + 1]
        state = net.begin(None, one, None if one is None else LENGTHS[row : row + 1])
        alone, last, _ = net(tokens[row : row + 1, :length], state)
        assert_close(logits[row, :length], alone[0], "value", f"row {row}")
        assert not logits[row, length:].any()
        assert weights is None or not weights[row, length:].any()
        for have, other in zip(leaves(end[:3]), leaves(last[:3]), strict=True):
            assert_close(have[row, : other.shape[1]], other[0], "value", "state")


def test_chunks():
    net = made(input_feeding=True)
    tokens, memory = draw()
    whole, _, _ = net(tokens, net.begin(None, memory))
    first, middle, _ = net(tokens[:, :1], net.begin(None, memory))
    second, _, _ = net(tokens[:, 1:], middle)
    assert_close(torch.cat((first, second), 1), whole, "value", "chunks")


@pytest.mark.parametrize("kind", [{}, {"input_feeding": True}, {"form": "bahdanau"}], ids=str)
def test_free_running_and_the_mix(kind):
    net = made(**kind)
    tokens, memory = draw()
    free, _, _ = net(tokens, net.begin(None, memory), teacher=0.0)
    told = torch.cat((tokens[:, :1], free.argmax(-1)[:, :-1]), 1)
    assert_close(net(told, net.begin(None, memory))[0], free, "value", "told what it says anyway")
    drawn = net.generate(net.begin(None, memory[:1]), start=int(tokens[0, 0]), end=None, max_steps=T)
    assert torch.equal(drawn.tokens[0], free.argmax(-1)[0])
    mixed = [
        net(tokens, net.begin(None, memory), teacher=0.5, generator=torch.Generator().manual_seed(k))[0] for k in (1, 1)
    ]
    assert torch.equal(*mixed)


def test_generation_ends():
    net = made()
    _, memory = draw()
    free = net.generate(net.begin(None, memory), start=0, end=None, max_steps=8)
    end = int(free.tokens[0, 2])
    drawn = net.generate(net.begin(None, memory), start=0, end=end, max_steps=8)
    for row in range(B):
        found = (free.tokens[row] == end).nonzero().flatten()
        length = int(found[0]) + 1 if len(found) else 8
        assert drawn.lengths[row] == length
        steps = drawn.tokens.shape[1]
        assert torch.equal(drawn.tokens[row, :length], free.tokens[row, :length])
        assert not drawn.tokens[row, length:steps].any()
        assert not drawn.weights[row, length:steps].any()
    assert net.generate(net.begin(None, memory), start=0, end=None, max_steps=0).tokens.shape == (B, 0)


def test_a_beam_takes_rows():
    net = made(input_feeding=True)
    tokens, memory = draw()
    _, state = net.step(tokens[:, 0], net.begin(None, memory, LENGTHS))
    rows = torch.tensor([2, 2, 0, 1])
    many, _ = net.step(tokens[rows, 1], take(state, rows))
    alone, _ = net.step(tokens[:, 1], state)
    assert_close(many, alone[rows], "value", "beam")


def test_gradients():
    net = made("gru", attention="additive")
    tokens, memory = draw()

    def run(memory):
        return net(tokens[:, :2], net.begin(None, memory, LENGTHS))[0]

    assert torch.autograd.gradcheck(run, memory.requires_grad_())


@pytest.mark.parametrize(
    ("build", "error", "said"),
    [
        (lambda: made(form="vaswani"), ConfigError, "form must be"),
        (lambda: made(form="bahdanau", input_feeding=True), ConfigError, "input feeding is for"),
        (lambda: made(memory_size=None, input_feeding=True), ConfigError, "input feeding is for"),
        (lambda: made(bidirectional=True), ConfigError, "reads forwards"),
        (lambda: made(attention="dot", memory_size=5), ConfigError, "one width, got 6 and 5"),
        (lambda: made(attention="cosine"), ConfigError, "score must be one of"),
        (lambda: made().begin(), ConfigError, "memory must be given"),
        (lambda: made(memory_size=None).begin(None, draw()[1]), ConfigError, "no attention to read"),
        (lambda: made()(draw()[0].double(), made().begin(None, draw()[1])), ShapeError, r"tokens must be \(B, T\)"),
        (lambda: made()(draw()[0], made().begin(None, draw()[1]), teacher=2), ConfigError, "teacher must lie"),
        (lambda: made()(draw()[0], made().begin(None, draw()[1]), [9, 1, 1]), ShapeError, "lengths must lie"),
        (lambda: made().step(draw()[0], made().begin(None, draw()[1])), ShapeError, r"token must be \(B,\)"),
        (lambda: made().generate(made().begin(None, draw()[1]), 0, None, -1), ConfigError, "max_steps"),
        (lambda: made()(draw()[0] + V, made().begin(None, draw()[1])), IndexError, "range"),
    ],
)
def test_bad_input(build, error, said):
    with pytest.raises(error, match=said):
        build()
