"""The scan itself: the numbers and derivatives of a loop, at lengths that fit no chunk, with cuts, in both types."""

from __future__ import annotations

import pytest
import torch
from tests.tolerances import assert_close

from recurra.kernels.scan import recurrence as module
from recurra.kernels.scan.recurrence import recurrence

# Below, at and above what is cut into chunks, and chunks of chunks.
LENGTHS = (1, 2, 47, 48, 63, 500, 4096)


def draw(steps, count, dtype=torch.float64, batch=3, width=5):
    """a, b, start for `count` states that wait for each other; a has both signs."""
    generator = torch.Generator().manual_seed(steps + count)

    def random(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    shape = (batch, width)
    if count == 1:
        a, b, start = random(steps, *shape).tanh(), random(steps, *shape), random(*shape)
    else:
        # Rows that sum to less than one: no state grows without end.
        a = random(steps, count, count, *shape).tanh() / count
        b, start = random(steps, count, *shape), random(count, *shape)
    return a.to(dtype), b.to(dtype), start.to(dtype)


def cuts(steps, count, batch=3):
    found = torch.rand(steps, batch, 1, generator=torch.Generator().manual_seed(1)) < 0.1
    return found if count == 1 else found.unsqueeze(1)


def by_loop(a, b, start, cut=None):
    """One step after the other, out of place, so that torch differentiates it."""
    states = [start]
    for t in range(len(a)):
        moved = a[t] * states[-1] if a.dim() == b.dim() else (a[t] * states[-1]).sum(1)
        after = moved + b[t]
        states.append(after if cut is None else torch.where(cut[t], b[t], after))
    return torch.stack(states)


@pytest.fixture
def small_chunks(monkeypatch):
    """Chunks as on sequences much longer or wider than a test should be."""

    def set_sizes(at_once, shortest):
        monkeypatch.setattr(module, "_A_THREAD", at_once)
        monkeypatch.setattr(module, "_SHORTEST", shortest)

    return set_sizes


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("steps", LENGTHS)
def test_values_are_those_of_the_loop(steps, count, dtype):
    a, b, start = draw(steps, count, dtype)
    assert_close(recurrence(a, b, start), by_loop(a, b, start), "value", "states")
    cut = cuts(steps, count)
    assert_close(recurrence(a, b, start, cut), by_loop(a, b, start, cut), "value", "states with cuts")


@pytest.mark.parametrize("with_cuts", [False, True])
@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("steps", [1, 50, 500])
def test_gradients_are_those_of_the_loop(steps, count, with_cuts):
    inputs = [part.requires_grad_() for part in draw(steps, count)]
    cut = cuts(steps, count) if with_cuts else None
    weight = torch.randn(steps + 1, *inputs[2].shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    have = torch.autograd.grad((recurrence(*inputs, cut=cut) * weight).sum(), inputs)
    want = torch.autograd.grad((by_loop(*inputs, cut=cut) * weight).sum(), inputs)
    for name, found, expected in zip(("a", "b", "start"), have, want, strict=True):
        assert_close(found, expected, "gradient", name)


@pytest.mark.parametrize("with_cuts", [False, True])
@pytest.mark.parametrize("count", [1, 2])
def test_all_derivatives(count, with_cuts, small_chunks):
    small_chunks(8, 2)
    inputs = [part.requires_grad_() for part in draw(13, count)]
    cut = cuts(13, count) if with_cuts else None
    assert torch.autograd.gradcheck(lambda *parts: recurrence(*parts, cut=cut), inputs)
    assert torch.autograd.gradgradcheck(lambda *parts: recurrence(*parts, cut=cut), inputs, fast_mode=True)


@pytest.mark.parametrize(("at_once", "shortest"), [(1, 2), (32, 2), (64, 3), (1 << 9, 5), (1 << 20, 8)])
def test_any_cutting_gives_the_same(at_once, shortest, small_chunks):
    a, b, start = draw(137, 1)
    want = by_loop(a, b, start)
    small_chunks(at_once, shortest)
    assert_close(recurrence(a, b, start), want, "value", "states")


def test_a_long_sequence_in_float32():
    a, b, start = draw(4096, 1, batch=2, width=7)
    # Slow decay: what is summed reaches over thousands of steps.
    a = 1 - a.square() * 1e-3
    exact = by_loop(a, b, start)
    assert_close(recurrence(a.float(), b.float(), start.float()), exact, "rounding", "states")


def test_zeros_and_large_factors():
    a, b, start = draw(500, 1)
    a[::7] = 0.0
    a[3::50] = -30.0
    assert_close(recurrence(a, b, start), by_loop(a, b, start), "value", "states")


def test_a_cut_ends_what_is_not_finite():
    a, b, start = draw(300, 1)
    start[1] = float("nan")
    b[20, 2] = float("inf")
    cut = torch.zeros(300, 3, 1, dtype=torch.bool)
    cut[10, 1] = cut[150, 2] = True
    a.requires_grad_()
    states = recurrence(a, b, start, cut)
    assert states[:11, 1].isnan().all()
    assert states[11:, 1].isfinite().all()
    assert not states[21:151, 2].isfinite().any()
    assert states[151:, 2].isfinite().all()
    assert_close(states[151:], by_loop(a, b, start, cut)[151:], "value", "after the cuts")
    (slope,) = torch.autograd.grad(states[151:].sum(), a)
    assert slope[151:].isfinite().all()
    assert not slope[10, 1].any()
    assert not slope[150, 2].any()


@pytest.mark.parametrize("shape", [(0, 2, 3), (5, 0, 3), (5, 2, 0)])
def test_nothing_to_do(shape):
    a, b, start = torch.rand(shape), torch.rand(shape), torch.rand(shape[1:])
    states = recurrence(a, b, start)
    assert states.shape == (shape[0] + 1, *shape[1:])
    assert torch.equal(states[0], start)


def test_views_are_read_as_they_are():
    a, b, start = draw(200, 1)
    want = recurrence(a, b, start)
    turned = b.permute(2, 1, 0).contiguous().permute(2, 1, 0)
    assert_close(recurrence(a, turned, start), want, "value", "another layout")
    same = a[:1].expand(200, -1, -1)
    assert_close(recurrence(same, b, start), by_loop(same, b, start), "value", "one factor for all steps")
