"""Time-delay nets against torch's convolution, Waibel's paper in plain NumPy, and themselves in pieces."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from tests.tolerances import assert_close
from torch import nn

from recurra.base.errors import ConfigError, ShapeError
from recurra.layers.delay import last_frames, tapped
from recurra.layers.tdnn import TDNN, TimeDelay, WaibelTDNN

B, T, F = 3, 23, 4
CONTEXTS = [1, 3, (-2, 0, 2), (-3, 3), (0, 1, 5), (-7,)]


def draw(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def net(padding="valid", **options):
    layers = [(6, 3), (5, (-1, 2)), (2, (-3, 0, 3))]
    return TDNN(F, layers, padding=padding, generator=torch.Generator().manual_seed(2), **options).double()


@pytest.mark.parametrize("gap", [1, 2, 3])
@pytest.mark.parametrize("size", [1, 2, 5])
def test_equal_to_conv1d(size, gap):
    torch.manual_seed(0)
    conv = nn.Conv1d(F, 6, size, dilation=gap).double()
    layer = TimeDelay.from_conv(conv)
    ours, theirs = draw(B, T, F).requires_grad_(), draw(B, T, F).requires_grad_()
    have, want = layer(ours)[0], conv(theirs.transpose(1, 2)).transpose(1, 2)
    assert_close(have, want, "value", "valid")
    weight = draw(*want.shape, seed=5)
    (have * weight).sum().backward()
    (want * weight).sum().backward()
    assert_close(ours.grad, theirs.grad, "gradient", "x")
    assert_close(layer.weight.grad, conv.weight.grad.transpose(1, 2).flatten(1), "gradient", "weight")
    silent = nn.functional.pad(theirs.detach().transpose(1, 2), ((size - 1) * gap, 0))
    layer.padding = "causal"
    assert_close(layer(ours)[0], conv(silent).transpose(1, 2), "value", "causal")


@pytest.mark.parametrize("context", CONTEXTS, ids=str)
def test_the_definition(context):
    layer = TimeDelay(F, 5, context, activation="sigmoid", generator=torch.Generator().manual_seed(2)).double()
    x = draw(B, T, F).numpy()
    y = layer(torch.from_numpy(x))[0]
    w = layer.weight.detach().numpy().reshape(5, len(layer.offsets), F)
    starts = -layer.offsets[0]
    assert y.shape == (B, T - layer.span, 5)
    for t in range(T - layer.span):
        total = sum(x[:, t + starts + offset] @ w[:, k].T for k, offset in enumerate(layer.offsets))
        assert_close(y[:, t], torch.from_numpy(1 / (1 + np.exp(-total))), "value", f"frame {t}")


@pytest.mark.parametrize("cuts", [(1,) * T, (2, 1, 5, 15), (T,), (0, 3, 0, 20), (14, 9)], ids=str)
@pytest.mark.parametrize("padding", ["valid", "causal"])
def test_in_pieces_it_is_the_whole(padding, cuts):
    stack = net(padding)
    x = draw(B, T, F)
    whole, end = stack(x)
    state, outputs, at = None, [], 0
    for size in cuts:
        y, state = stack(x[:, at : at + size], state)
        outputs.append(y)
        at += size
    assert_close(torch.cat(outputs, 1), whole, "value", "pieces")
    for have, want in zip(state, end, strict=True):
        assert_close(have, want, "value", "line")


def test_steps():
    layer = TimeDelay(F, 2, 3).double()
    x = draw(B, 5, F)
    state, outputs = None, []
    for t in range(5):
        y, state = layer.step(x[:, t], state)
        outputs.append(y)
    assert all(y.isnan().all() for y in outputs[:2])
    assert_close(torch.stack(outputs[2:], 1), layer(x)[0], "value", "steps")


@pytest.mark.parametrize("padding", ["valid", "causal"])
def test_rows_of_different_lengths(padding):
    stack = net(padding)
    lengths = torch.tensor([23, 12, 3])
    x = draw(B, T, F)
    dirty = x.clone()
    for row, length in enumerate(lengths):
        dirty[row, length:] = math.nan
    dirty.requires_grad_()
    y, state = stack(dirty, None, lengths)
    for row, (length, out) in enumerate(zip(lengths, stack.output_lengths(lengths), strict=True)):
        alone, end = stack(x[row : row + 1, :length])
        assert_close(y[row, :out], alone[0], "value", f"row {row}")
        assert not y[row, out:].any()
        if padding == "causal":
            for have, want in zip(state, end, strict=True):
                assert_close(have[row], want[0], "value", "line")
        else:
            assert state == (None,) * 3
    y.sum().backward()
    assert dirty.grad.isfinite().all()


def test_gradients():
    stack = net("causal")
    assert torch.autograd.gradcheck(lambda x: stack(x, None, [4, 2])[0], draw(2, 4, F).requires_grad_())


@pytest.mark.parametrize("padding", ["valid", "causal"])
def test_the_stated_reach_is_the_measured_one(padding):
    stack = net(padding)
    x = draw(1, 60, F).requires_grad_()
    y, _ = stack(x)
    facts = stack.facts()
    # The output that stands for frame 30; with "valid" padding the first outputs are missing.
    lead = 0 if padding == "causal" else facts.past
    (gradient,) = torch.autograd.grad(y[0, 30 - int(lead)].sum(), x)
    seen = gradient[0].abs().sum(-1).nonzero().flatten()
    assert (30 - seen.min(), seen.max() - 30) == (facts.past, facts.future)


class TestWaibel:
    def test_as_the_paper_says(self):
        stack = WaibelTDNN(generator=torch.Generator().manual_seed(3)).double()
        with torch.no_grad():
            stack.bias.copy_(draw(3))
        x = draw(2, 15, 16)
        first, second = stack.hidden.layers
        w1 = first.weight.detach().numpy().reshape(8, 3, 16)
        w2 = second.weight.detach().numpy().reshape(3, 5, 8)
        assert x.shape[1] * x.shape[2] == 240
        for row in range(2):
            frames = x[row].numpy()
            h1 = np.zeros((13, 8))
            for t in range(13):
                for j in range(8):
                    h1[t, j] = 1 / (1 + np.exp(-(w1[j] * frames[t : t + 3]).sum()))
            h2 = np.zeros((9, 3))
            for t in range(9):
                for j in range(3):
                    h2[t, j] = 1 / (1 + np.exp(-(w2[j] * h1[t : t + 5]).sum()))
            want = 1 / (1 + np.exp(-(h2.sum(0) + stack.bias.detach().numpy())))
            assert_close(stack(x)[0][row, 0], torch.from_numpy(want), "value", "verdict")

    def test_connections_and_weights(self):
        stack = WaibelTDNN()
        assert stack.connections(15) == 6233
        assert sum(parameter.numel() for parameter in stack.parameters()) == 8 * 49 + 3 * 41 + 3
        assert stack.facts().receptive_field == 15
        assert stack(torch.zeros(1, 14, 16))[0].shape == (1, 0, 3)

    def test_it_does_not_care_when(self):
        stack = WaibelTDNN(generator=torch.Generator().manual_seed(3)).double()
        x = draw(1, 15, 16)
        late = torch.cat((draw(1, 4, 16, seed=9), x), 1)
        assert_close(stack(late)[0][:, 4], stack(x)[0][:, 0], "value", "shifted by four frames")

    @pytest.mark.parametrize("size", [1, 4, 20])
    def test_in_pieces(self, size):
        stack = WaibelTDNN(generator=torch.Generator().manual_seed(3)).double()
        x = draw(2, 40, 16)
        state, outputs = None, []
        for piece in x.split(size, 1):
            y, state = stack(piece, state)
            outputs.append(y)
        assert_close(torch.cat(outputs, 1), stack(x)[0], "value", "pieces")


def test_delay_line():
    frames = torch.arange(10.0).view(2, 5, 1)
    assert last_frames(frames, 2).flatten().tolist() == [3, 4, 8, 9]
    assert last_frames(frames, 2, torch.tensor([3, 5])).flatten().tolist() == [1, 2, 8, 9]
    assert last_frames(frames, 7).shape == (2, 5, 1)
    assert tapped(frames, (0, 6)).shape == (2, 0, 2)


@pytest.mark.parametrize(
    ("build", "error", "said"),
    [
        (lambda: TimeDelay(0, 1, 1), ConfigError, "whole numbers from 1"),
        (lambda: TimeDelay(1, 1, 0), ConfigError, "context must be a number from 1"),
        (lambda: TimeDelay(1, 1, (1, 0)), ConfigError, "rising offsets"),
        (lambda: TimeDelay(1, 1, ()), ConfigError, "rising offsets"),
        (lambda: TimeDelay(1, 1, 2, padding="same"), ConfigError, "padding must be 'valid' or 'causal'"),
        (lambda: TimeDelay(1, 1, 2, activation="gelu"), ConfigError, "activation must be one of"),
        (lambda: TimeDelay.from_conv(nn.Conv1d(2, 2, 3, stride=2)), ConfigError, "stride 1"),
        (lambda: TDNN(3, []), ConfigError, "at least one layer"),
        (lambda: net()(torch.zeros(2, 3)), ShapeError, r"x must be \(B, T, I\)"),
        (lambda: net()(draw(2, 9, F), 1), ShapeError, "tuple of 3 delay lines"),
        (lambda: TimeDelay(1, 1, 3)(torch.zeros(2, 9, 1), torch.zeros(2, 3, 1)), ShapeError, r"\(2, 2, 1\), got"),
        (lambda: TimeDelay(1, 1, 3)(torch.zeros(2, 9, 1), torch.zeros(2, 2, 1), [1, 2]), ShapeError, "ragged"),
    ],
)
def test_bad_input(build, error, said):
    with pytest.raises(error, match=said):
        build()
