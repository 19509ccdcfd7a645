"""The neural Turing machine: addressing against NumPy and another program, native against torch, the layer."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch.nn import functional

from recurra.base.errors import ConfigError, ShapeError
from recurra.base.state import leaves
from recurra.layers.memory import NTM, NTMState
from recurra.layers.memory_step import HeadSizes, memory_step, memory_step_reference, native_library
from recurra.layers.ntm_addressing import EPSILON, address, content_weighting, erase_and_add, sharpen, shift
from tolerances import TOLERANCE

LIMIT = 1e-12
SIZES = [HeadSizes(1, 1, 7, 3, 3), HeadSizes(2, 2, 12, 5, 5), HeadSizes(1, 3, 5, 4, 1), HeadSizes(3, 1, 33, 17, 3)]


@pytest.fixture(params=[None, False], ids=["native", "torch"])
def native(request):
    if request.param is None and native_library() is None:
        pytest.skip("no compiler")
    return request.param


def drawn(sizes, batch=3, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    memory = normal(batch, sizes.locations, sizes.width)
    weights = torch.softmax(normal(batch, sizes.heads, sizes.locations), -1)
    raw = 2 * normal(batch, sizes.raw_size)
    return [part.to(dtype).requires_grad_() for part in (memory, weights, raw)]


def softplus(a):
    return np.log1p(np.exp(-abs(a))) + max(a, 0.0)


def graves(memory, weights, raw, sizes):
    """Section 3 of the paper, one row, one head, one location at a time."""

    def softmax(a):
        return np.exp(a - a.max()) / np.exp(a - a.max()).sum()

    n, w, v = sizes.locations, sizes.width, sizes.shifts
    found, at = [], 0
    for head in range(sizes.heads):
        key, strength, gate = np.tanh(raw[at : at + w]), softplus(raw[at + w]), 1 / (1 + np.exp(-raw[at + w + 1]))
        by, power = softmax(raw[at + w + 2 : at + w + 2 + v]), 1 + softplus(raw[at + w + 2 + v])
        at += w + 3 + v
        like = [key @ row / (np.linalg.norm(key) * np.linalg.norm(row) + EPSILON) for row in memory]
        content = softmax(strength * np.array(like))
        gated = gate * content + (1 - gate) * weights[head]
        moved = np.array([sum(gated[(i - (j - v // 2)) % n] * by[j] for j in range(v)) for i in range(n)])
        found.append(moved**power / (moved**power).sum())
    reads = [sum(found[head][i] * memory[i] for i in range(n)) for head in range(sizes.reading)]
    after, said = memory.copy(), raw[at:].reshape(sizes.writing, 2, w)
    for head in range(sizes.writing):
        after = after * (1 - np.outer(found[sizes.reading + head], 1 / (1 + np.exp(-said[head, 0]))))
    for head in range(sizes.writing):
        after = after + np.outer(found[sizes.reading + head], np.tanh(said[head, 1]))
    return np.stack(reads), np.stack(found), after


@pytest.mark.parametrize("sizes", SIZES)
def test_a_step_is_the_paper(sizes, native):
    given = drawn(sizes)
    have = [part.detach().numpy() for part in memory_step(*given, sizes, native=native)]
    for row in range(3):
        want = graves(*(part[row].detach().numpy() for part in given), sizes)
        for one, other in zip(have, want, strict=True):
            assert np.abs(one[row] - other).max() < LIMIT


def test_addressing_is_that_of_pytorch_ntm():
    # loudinthecloud/pytorch-ntm, memory.py: the same formulas with 1e-16 where the paper has nothing.
    generator = torch.Generator().manual_seed(0)
    memory = torch.randn(3, 9, 4, generator=generator, dtype=torch.float64)
    before = torch.softmax(torch.randn(3, 1, 9, generator=generator, dtype=torch.float64), -1)
    key = torch.randn(3, 1, 4, generator=generator, dtype=torch.float64)
    strength, gate, power = (torch.rand(3, 1, generator=generator, dtype=torch.float64) for _ in range(3))
    by = torch.softmax(torch.randn(3, 1, 3, generator=generator, dtype=torch.float64), -1)
    power = power + 1
    theirs = functional.softmax(strength * functional.cosine_similarity(memory + 1e-16, key + 1e-16, dim=-1), dim=1)
    theirs = gate * theirs + (1 - gate) * before[:, 0]
    rolled = []
    for row, kernel in zip(theirs, by[:, 0], strict=True):
        around = torch.cat([row[-1:], row, row[:1]])
        # Their conv1d does not turn the kernel round, so their last entry moves a place back.
        rolled.append(functional.conv1d(around.view(1, 1, -1), kernel.flip(0).view(1, 1, -1)).view(-1))
    theirs = torch.stack(rolled) ** power
    theirs = theirs / (theirs.sum(1, keepdim=True) + 1e-16)
    ours = address(memory, before, key, strength, gate, by, power)[:, 0]
    assert (ours - theirs).abs().max() < 1e-7  # the two epsilons
    assert (ours.sum(-1) - 1).abs().max() < LIMIT


@pytest.mark.parametrize("sizes", SIZES)
def test_native_derivative(sizes):
    if native_library() is None:
        pytest.skip("no compiler")
    given = drawn(sizes)
    assert torch.autograd.gradcheck(lambda *parts: memory_step(*parts, sizes), given)
    fast, slow = memory_step(*given, sizes), memory_step_reference(*given, sizes)
    sums = [sum((part * (part + 1)).sum() for part in parts) for parts in (fast, slow)]
    for one, other in zip(*(torch.autograd.grad(total, given) for total in sums), strict=True):
        assert (one - other).norm() <= 1e-11 * max(1.0, float(other.norm()))


@pytest.mark.parametrize("sizes", [*SIZES, HeadSizes(1, 1, 128, 20, 3)])
def test_native_float32(sizes):
    if native_library() is None:
        pytest.skip("no compiler")
    given = drawn(sizes, dtype=torch.float32)
    exact = [part.detach().double().requires_grad_() for part in given]
    fast, slow = memory_step(*given, sizes), memory_step_reference(*exact, sizes)
    for one, other in zip(fast, slow, strict=True):
        assert (one.double() - other).abs().max() <= TOLERANCE[torch.float32, "rounding"]
    sums = [sum((part * (part + 1)).sum() for part in parts) for parts in (fast, slow)]
    grads = torch.autograd.grad(sums[0], given), torch.autograd.grad(sums[1], exact)
    for one, other in zip(*grads, strict=True):
        assert (one.double() - other).norm() <= TOLERANCE[torch.float32, "gradient rounding"] * max(1, other.norm())


def test_extremes_stay_finite(native):
    # Sharpening by 200, a flat weighting, a memory of zeros and keys of zeros: 0 / 0 in other programs.
    sizes = HeadSizes(1, 1, 128, 20, 3)
    memory = torch.zeros(2, 128, 20)
    memory[1] = 1e-6
    before = torch.full((2, 2, 128), 1 / 128)
    raw = torch.zeros(2, sizes.raw_size)
    raw[:, 25] = raw[:, 51] = 200.0
    raw[1, :20] = 20.0
    given = [part.requires_grad_() for part in (memory, before, raw)]
    out = memory_step(*given, sizes, native=native)
    grads = torch.autograd.grad(sum((part * torch.randn_like(part)).sum() for part in out), given)
    assert all(bool(torch.isfinite(part).all()) for part in (*out, *grads))
    assert (out[1].sum(-1) - 1).abs().max() < 1e-5


def test_single_equations():
    one = torch.zeros(1, 1, 6, dtype=torch.float64)
    one[0, 0, 5] = 1
    assert shift(one, torch.tensor([[[0.0, 0.0, 1.0]]], dtype=torch.float64))[0, 0].tolist() == [1, 0, 0, 0, 0, 0]
    assert shift(one, torch.tensor([[[1.0, 0.0, 0.0]]], dtype=torch.float64))[0, 0].tolist() == [0, 0, 0, 0, 1, 0]
    spread = torch.tensor([[[0.5, 0.3, 0.2]]], dtype=torch.float64)
    assert (sharpen(spread, torch.tensor([[2.0]])) - spread**2 / (spread**2).sum()).abs().max() < LIMIT
    memory = torch.eye(4, dtype=torch.float64).unsqueeze(0)
    flat = content_weighting(memory, memory[:, :1], torch.zeros(1, 1, dtype=torch.float64))
    assert (flat - 0.25).abs().max() < LIMIT
    whole = torch.ones(1, 1, 4, dtype=torch.float64)
    new = erase_and_add(memory, torch.eye(4, dtype=torch.float64)[:1].unsqueeze(0), whole, 3 * whole)
    assert new[0, 0].tolist() == [3, 3, 3, 3]
    assert (new[0, 1:] == memory[0, 1:]).all()


OPTIONS = [
    {"controller": "feedforward"},
    {
        "controller": "feedforward",
        "clip": None,
        "read_heads": 2,
        "write_heads": 2,
        "shift_range": 2,
        "output_size": None,
    },
    {"controller": "feedforward", "clip": 1.0, "memory_start": "learned"},
    {"controller": "lstm", "output_size": None},
    {"controller": "gru", "memory_start": "random"},
]


def built(options, dtype=torch.float64, **more):
    given = {"output_size": 4, "locations": 11, "width": 5, **options, **more}
    net = NTM(3, 7, **given, generator=torch.Generator().manual_seed(0)).to(dtype)
    with torch.no_grad():
        net.first_weights.mul_(10)
    return net


@pytest.mark.parametrize("options", OPTIONS)
def test_native_is_torch_over_whole_sequences(options):
    fast, slow = built(options), built(options, native=False)
    slow.load_state_dict(fast.state_dict())
    x = torch.randn(3, 9, 3, dtype=torch.float64, requires_grad=True)
    with torch.no_grad():
        _, carried = slow(torch.randn(3, 4, 3, dtype=torch.float64))
    parts = [part.requires_grad_() for part in leaves(carried)]
    results = []
    for net in (fast, slow):
        y, state = net(x, carried)
        weights = torch.Generator().manual_seed(1)
        total = sum(
            (part * torch.randn(part.shape, dtype=part.dtype, generator=weights)).sum() for part in (y, *leaves(state))
        )
        used = [p for name, p in net.named_parameters() if not name.startswith("first_")]
        results.append(([y, *leaves(state)], torch.autograd.grad(total, [x, *parts, *used])))
    for one, other in zip(results[0][0], results[1][0], strict=True):
        assert (one - other).abs().max() < LIMIT
    for one, other in zip(results[0][1], results[1][1], strict=True):
        assert (one - other).norm() <= 1e-11 * max(1.0, float(other.norm()))


@pytest.mark.parametrize("options", OPTIONS)
def test_the_first_state_learns(options, native):
    net = built(options, native=native)
    y, _ = net(torch.randn(2, 4, 3, dtype=torch.float64))
    y.sum().backward()
    silent = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum()]
    assert not silent
    assert ("first_memory" in dict(net.named_parameters())) is (options.get("memory_start") == "learned")


@pytest.mark.parametrize("options", OPTIONS)
def test_chunks_are_the_whole(options, native):
    net = built(options, native=native).eval()
    x = torch.randn(2, 9, 3, dtype=torch.float64)
    with torch.no_grad():
        whole, last = net(x)
        state, pieces = None, []
        for chunk in (x[:, :4], x[:, 4:4], x[:, 4:5], x[:, 5:]):
            y, state = net(chunk, state)
            pieces.append(y)
        y, _ = net.step(x[:, 0])
    assert (torch.cat(pieces, 1) - whole).abs().max() < LIMIT
    assert all((a - b).abs().max() < LIMIT for a, b in zip(leaves(last), leaves(state), strict=True))
    assert (y - whole[:, 0]).abs().max() < LIMIT
    live = net.stream()
    pushed = [live.push(x[0, :3]), live.push(x[0, 3]).unsqueeze(0), live.push(x[0, 4:])]
    assert (torch.cat(pushed) - whole[0]).abs().max() < LIMIT
    live.reset()
    assert (live.push(x[0]) - whole[0]).abs().max() < LIMIT


@pytest.mark.parametrize("options", OPTIONS)
def test_padding_is_inert_and_resets_restart(options):
    net = built(options)
    x = torch.randn(3, 8, 3, dtype=torch.float64)
    lengths = torch.tensor([8, 3, 0])
    padded = x.clone()
    padded[1, 3:], padded[2] = float("nan"), float("inf")
    y, state = net(padded, lengths=lengths)
    alone, last = net(x[1:2, :3])
    assert (y[1, :3] - alone[0]).abs().max() < LIMIT
    assert not y[1, 3:].any()
    assert not y[2].any()
    assert all((a[1:2] - b).abs().max() < LIMIT for a, b in zip(leaves(state), leaves(last), strict=True))
    y.sum().backward()
    assert all(bool(torch.isfinite(p.grad).all()) for p in net.parameters())
    resets = torch.zeros(3, 8, dtype=torch.bool)
    resets[0, 5] = True
    y, _ = net(x, resets=resets)
    assert (y[0, 5:] - net(x[:1, 5:])[0][0]).abs().max() < LIMIT
    assert (y[1] - net(x[1:2])[0][0]).abs().max() < LIMIT


def test_trace_and_copies():
    net = built(OPTIONS[1])
    x = torch.randn(2, 6, 3, dtype=torch.float64)
    y, trace = net.trace(x)
    assert (y - net(x)[0]).abs().max() < LIMIT
    slow, same = built(OPTIONS[1], native=False).trace(x)
    assert (slow - y).abs().max() < LIMIT
    for one, other in zip(trace, same, strict=True):
        assert (one - other).abs().max() < LIMIT
    assert trace.weights.shape == (2, 6, 4, 11)
    assert trace.adds.shape == trace.erases.shape == (2, 6, 2, 5)
    again = copy.deepcopy(net)
    again.load_state_dict(net.state_dict())
    assert (again(x)[0] - y).abs().max() == 0


def test_parameter_count():
    # The paper's feed-forward copy net: layer, heads, output; then the learned first reads and weightings.
    net = NTM(10, 100, 8, controller="feedforward")
    assert net.parameter_count() == (30 + 1) * 100 + (100 + 1) * (2 * 26 + 40) + (120 + 1) * 8 + 20 + 2 * 128


def test_errors():
    with pytest.raises(ConfigError) as caught:
        NTM(0, 3.5, -1, locations=2, width=0, read_heads=0, shift_range=1, memory_start="zero", clip=0)
    words = ("input_size", "hidden_size", "output_size", "width", "read_heads", "asks for 3 locations", "zero", "clip")
    assert all(word in str(caught.value) for word in words)
    net = built(OPTIONS[0])
    x = torch.zeros(2, 3, 3, dtype=torch.float64)
    for bad, fact in (
        ((x[0],), r"x must be \(B, T, 3\)"),
        ((x.float(),), "x is torch.float32, the weights are torch.float64"),
        ((x, net.initial_state(5)), "state must be an NTMState of tensors"),
        ((x, (1, 2)), "got tuple"),
        ((x, None, torch.tensor([1, 9])), r"lengths must lie in 0..T = 0..3, got \[1, 9\]"),
        ((x, None, torch.tensor([1])), r"lengths must be \(B,\) = \(2,\) integers"),
        ((x, None, None, torch.zeros(2, 3)), "resets must be .* bool"),
    ):
        with pytest.raises(ShapeError, match=fact):
            net(*bad)
    with pytest.raises(ShapeError, match=r"NTM.step: x must be \(B, I\)"):
        net.step(x)
    assert isinstance(net(x[:, :0])[1], NTMState)
