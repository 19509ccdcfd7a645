"""Gradient methods against gradients unrolled by hand: a tanh RNN in float64, its equations written out here.

h_t = tanh(W x_t + U h_{t-1} + b),  z_t = V h_t,  loss = sum_t |z_t - y_t|^2
"""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from recurra.base.errors import ConfigError, DataError
from recurra.data.batch import Batch
from recurra.training.bptt import bptt
from recurra.training.config import GradientConfig
from recurra.training.gradient import Carry, Due, GradientMethod
from recurra.training.tbptt import Style, gradient_method, tbptt

B, T, X, H, Y = 2, 12, 3, 5, 2
EXACT: dict[str, Any] = {"rtol": 1e-12, "atol": 1e-13}


class TanhRNN(nn.Module):
    """The state is a tuple, as an LSTM's; a restart puts zeros before the step; a row past its length stands still."""

    W: Tensor
    U: Tensor
    b: Tensor
    V: Tensor

    def __init__(self) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(1)
        for name, shape in {"W": (H, X), "U": (H, H), "b": (H,), "V": (Y, H)}.items():
            setattr(self, name, nn.Parameter(torch.randn(shape, generator=draw, dtype=torch.float64) * 0.6))

    def forward(self, x: Tensor, state=None, lengths=None, resets=None):
        (h,) = state if state is not None else (x.new_zeros(x.shape[0], H),)
        outputs = []
        for t in range(x.shape[1]):
            if resets is not None:
                h = torch.where(resets[:, t, None], torch.zeros_like(h), h)
            new = torch.tanh(x[:, t] @ self.W.T + h @ self.U.T + self.b)
            h = new if lengths is None else torch.where((t < lengths)[:, None], new, h)
            outputs.append(h @ self.V.T)
        return torch.stack(outputs, 1), (h,)


def squared(outputs: Tensor, batch: Batch) -> tuple[Tensor, int]:
    error = (outputs - batch.y).square().sum(-1)
    if batch.lengths is not None:
        error = error * (torch.arange(error.shape[1]) < batch.lengths[:, None])
    return error.sum(), batch.count()


def a_batch(steps: int = T, **others) -> Batch:
    draw = torch.Generator().manual_seed(2)
    x = torch.randn(B, steps, X, generator=draw, dtype=torch.float64)
    return Batch(x, torch.randn(B, steps, Y, generator=draw, dtype=torch.float64), **others)


def gradients(model: nn.Module) -> dict[str, Tensor]:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def summed(method: GradientMethod, model: nn.Module, batches: list[Batch]) -> dict[str, Tensor]:
    """All updates' gradients added up, the weights frozen: `.grad` is simply never cleared."""
    model.zero_grad()
    carry = None
    for batch in batches:
        for due in method(model, squared, batch, None if batch.first else carry):
            carry = due.carry
    return gradients(model)


def by_hand(model: TanhRNN, batch: Batch, reach) -> dict[str, Tensor]:
    """Sum over t of the gradient of loss t through `reach(t)` applications of the cell, by the chain rule on paper.

    delta_t = V^T 2 (z_t - y_t) * (1 - h_t^2);  delta_s = (U^T delta_{s+1}) * (1 - h_s^2)
    dL/dU += sum_s delta_s h_{s-1}^T,  dL/dW += sum_s delta_s x_s^T,  dL/db += sum_s delta_s
    """
    W, U, b, V = (getattr(model, name).detach() for name in "WUbV")
    h = [torch.zeros(B, H, dtype=torch.float64)]
    starts = torch.zeros(B, batch.x.shape[1], dtype=torch.bool) if batch.resets is None else batch.resets
    before = []
    for t in range(batch.x.shape[1]):
        before.append(h[-1] * ~starts[:, t, None])
        h.append(torch.tanh(batch.x[:, t] @ W.T + before[-1] @ U.T + b))
    total = {"W": torch.zeros_like(W), "U": torch.zeros_like(U), "b": torch.zeros_like(b), "V": torch.zeros_like(V)}
    for t in range(batch.x.shape[1]):
        error = 2 * (h[t + 1] @ V.T - batch.y[:, t])
        total["V"] += error.T @ h[t + 1]
        delta = (error @ V) * (1 - h[t + 1] ** 2)
        for s in range(t, t - min(reach(t), t + 1), -1):
            total["W"] += delta.T @ batch.x[:, s]
            total["U"] += delta.T @ before[s]
            total["b"] += delta.sum(0)
            delta = (delta @ U) * ~starts[:, s, None] * (1 - h[s] ** 2)
    return total


def assert_equal(got: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    for name in expected:
        torch.testing.assert_close(got[name], expected[name], **EXACT, msg=lambda text, name=name: f"{name}: {text}")


def test_full_bptt_is_the_chain_rule():
    model, batch = TanhRNN(), a_batch()
    assert_equal(summed(bptt, model, [batch]), by_hand(model, batch, lambda t: T))


@pytest.mark.parametrize("k", [1, 3, 5, 12, 20])
def test_chunked_reaches_to_the_start_of_its_chunk(k: int):
    model, batch = TanhRNN(), a_batch()
    assert_equal(summed(tbptt(k, style="chunked"), model, [batch]), by_hand(model, batch, lambda t: t % k + 1))


@pytest.mark.parametrize(("k1", "k2"), [(1, 1), (1, 4), (3, 3), (3, 6), (4, 5), (5, 7), (12, 12), (2, 11)])
def test_sliding_reaches_back_to_the_start_of_its_window(k1: int, k2: int):
    model, batch = TanhRNN(), a_batch()

    def reach(t: int) -> int:
        end = min(t // k1 * k1 + k1, T)  # the update that counts loss t comes after step `end`
        return t - max(0, end - k2) + 1

    assert_equal(summed(tbptt(k1, k2), model, [batch]), by_hand(model, batch, reach))


@pytest.mark.parametrize(("k1", "k2"), [(1, 1), (1, 4), (3, 6), (5, 7), (12, 3), (7, 1)])
def test_exact_reaches_k2_steps_back_whatever_k1(k1: int, k2: int):
    model, batch = TanhRNN(), a_batch()
    assert_equal(summed(tbptt(k1, k2, "exact"), model, [batch]), by_hand(model, batch, lambda t: k2))


def test_sliding_with_k1_of_one_is_exact():
    model, batch = TanhRNN(), a_batch()
    assert_equal(summed(tbptt(1, 4), model, [batch]), summed(tbptt(6, 4, "exact"), model, [batch]))


@pytest.mark.parametrize("style", ["sliding", "exact"])
@pytest.mark.parametrize(("k1", "k2"), [(1, 12), (3, 12), (4, 99), (12, 12)])
def test_no_truncation_is_full_bptt(style: Style, k1: int, k2: int):
    model, batch = TanhRNN(), a_batch()
    assert_equal(summed(tbptt(k1, k2, style), model, [batch]), summed(bptt, model, [batch]))


@pytest.mark.parametrize("k", [1, 4, 6])
def test_sliding_with_equal_ks_is_chunked(k: int):
    model, batch = TanhRNN(), a_batch()
    assert_equal(summed(tbptt(k, k), model, [batch]), summed(tbptt(k, style="chunked"), model, [batch]))


def test_one_step_formula():
    """k1 = k2 = 1: dL/dU = sum_t delta_t h_{t-1}^T with delta_t = (1 - h_t^2) * V^T 2 e_t, from the model's states."""
    model, batch = TanhRNN(), a_batch()
    with torch.no_grad():
        states = [torch.zeros(B, H, dtype=torch.float64)]
        for t in range(T):
            states.append(model(batch.x[:, t : t + 1], (states[-1],))[1][0])
        total = torch.zeros(H, H, dtype=torch.float64)
        for t in range(T):
            error = states[t + 1] @ model.V.T - batch.y[:, t]
            total += ((1 - states[t + 1] ** 2) * (2 * error @ model.V)).T @ states[t]
    for style in ("chunked", "sliding", "exact"):
        torch.testing.assert_close(summed(tbptt(1, 1, style), model, [batch])["U"], total, **EXACT)


def test_truncation_error_falls_with_the_reach():
    model, batch = TanhRNN(), a_batch()
    full = summed(bptt, model, [batch])["U"]

    def error(k1: int, k2: int) -> float:
        return float((summed(tbptt(k1, k2), model, [batch])["U"] - full).norm() / full.norm())

    errors = [error(1, k2) for k2 in (1, 2, 4, 8, 12)]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 0.05
    assert errors[-1] < 1e-12
    assert error(1, 4) < error(4, 4)


def _inputs_seen(method: GradientMethod, last: int) -> list[bool]:
    """Which inputs get a gradient where step `last` alone has a loss."""
    batch = a_batch()
    x, y = batch.x.requires_grad_(), torch.zeros_like(batch.y)
    y[:, last] = 1.0
    for _ in method(TanhRNN(), lambda outputs, part: ((outputs * part.y).sum(), 1), Batch(x, y), None):
        pass
    assert x.grad is not None
    return [bool(x.grad[:, t].any()) for t in range(T)]


@pytest.mark.parametrize("k1", [1, 5])
@pytest.mark.parametrize("k2", [1, 2, 4, 7])
def test_exactly_the_inputs_within_k2_steps_get_a_gradient(k1: int, k2: int):
    """The two-step toy: a dependency of lag L is there for k2 > L at every offset, and exactly absent for k2 <= L."""
    methods = [tbptt(k1, k2, "exact"), *([tbptt(1, k2)] if k1 == 1 else [])]
    for method, last in itertools.product(methods, range(T)):
        assert _inputs_seen(method, last) == [last - k2 < t <= last for t in range(T)]


def test_chunks_see_a_lag_at_some_offsets_only():
    """The point against fixed chunks of n: a dependency of lag L is there for 1 - L/n of the offsets."""
    n, lag = 4, 3
    seen = [_inputs_seen(tbptt(n, style="chunked"), last)[last - lag] for last in range(n, T)]
    assert sum(seen) / len(seen) == 1 - lag / n


METHODS = [
    ("chunked", 4, 4),
    ("sliding", 1, 1),
    ("sliding", 1, 5),
    ("sliding", 2, 5),
    ("sliding", 4, 10),
    ("exact", 2, 5),
    ("exact", 4, 3),
]


@pytest.mark.parametrize(("style", "k1", "k2"), METHODS)
@pytest.mark.parametrize("cuts", [(4, 8), (4,), (8,)])
def test_where_batches_are_cut_changes_nothing_while_weights_change(style: Style, k1: int, k2: int, cuts):
    """The whole trajectory of weights under SGD, restarts in both rows, is the same for any cut that k1 divides."""
    resets = torch.zeros(B, T, dtype=torch.bool)
    resets[0, 5] = resets[1, 8] = True
    whole = a_batch(resets=resets, first=True)
    edges = [0, *cuts, T]
    parts = [
        Batch(whole.x[:, a:b], whole.y[:, a:b], resets=resets[:, a:b], first=a == 0)
        for a, b in itertools.pairwise(edges)
    ]
    torch.testing.assert_close(_trajectory(tbptt(k1, k2, style), parts), _trajectory(tbptt(k1, k2, style), [whole]))


def _trajectory(method: GradientMethod, batches: list[Batch]) -> list[Tensor]:
    model, seen, carry = TanhRNN(), [], None
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for batch in batches:
        for due in method(model, squared, batch, None if batch.first else carry):
            carry = due.carry
            optimizer.step()
            optimizer.zero_grad()
            seen.append(model.U.detach().clone())
    return seen


@pytest.mark.parametrize("reset_at", [0, 1, 4, 11])
def test_restarts_end_the_reach(reset_at: int):
    resets = torch.zeros(B, T, dtype=torch.bool)
    resets[1, reset_at] = True
    model, batch = TanhRNN(), a_batch(resets=resets)
    for method, reach in [(bptt, lambda t: T), (tbptt(1, 5), lambda t: 5), (tbptt(3, 5, "exact"), lambda t: 5)]:
        assert_equal(summed(method, model, [batch]), by_hand(model, batch, reach))


@pytest.mark.parametrize("method", [tbptt(3, style="chunked"), tbptt(2, 4), tbptt(5, 4, "exact"), bptt])
def test_padding_is_inert_and_counted_by_nobody(method: GradientMethod):
    model, batch = TanhRNN(), a_batch(lengths=torch.tensor([T, 6]))
    poisoned = batch.x.clone()
    poisoned[1, 6:] = 100.0
    clean = summed(method, model, [batch])
    assert_equal(summed(method, model, [batch._replace(x=poisoned)]), clean)
    alone = [
        summed(method, model, [batch.map(lambda t, r=r, n=n: t[r : r + 1, :n] if t.dim() > 1 else t[r : r + 1])])
        for r, n in ((0, T), (1, 6))
    ]
    assert_equal({name: alone[0][name] + alone[1][name] for name in clean}, clean)


@pytest.mark.parametrize(("style", "k1", "k2"), METHODS)
def test_every_loss_is_counted_once(style: Style, k1: int, k2: int):
    model, batch = TanhRNN(), a_batch()
    outputs, _ = model(batch.x)
    loss, count = squared(outputs, batch)
    dues: list[Due] = list(tbptt(k1, k2, style)(model, squared, batch, None))
    torch.testing.assert_close(sum(due.loss_sum for due in dues), loss.detach(), **EXACT)
    assert sum(due.count for due in dues) == count
    assert [due.steps for due in dues] == [*range(k1, T, k1), T]


def test_weights_may_change_between_updates_in_place():
    """The much-copied retain_graph snippet fails here: 'modified by an inplace operation'. Replaying does not."""
    model, batch = TanhRNN(), a_batch()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    first = last = 0.0
    for epoch in range(30):
        losses = []
        for due in tbptt(1, 6)(model, squared, batch, None):
            optimizer.step()
            optimizer.zero_grad()
            losses.append(float(due.loss_sum))
        first, last = (sum(losses), 0.0) if epoch == 0 else (first, sum(losses))
    assert last < 0.8 * first
    with pytest.raises(RuntimeError, match="inplace operation"):
        _forum_snippet(model, batch, optimizer, k2=6)


def _forum_snippet(model: TanhRNN, batch: Batch, optimizer: torch.optim.Optimizer, k2: int) -> None:
    states: list[Any] = [(None, (torch.zeros(B, H, dtype=torch.float64),))]
    for t in range(T):
        state = states[-1][1][0].detach().requires_grad_()
        output, new = model(batch.x[:, t : t + 1], (state,))
        states.append((state, new))
        optimizer.zero_grad()
        (output[:, 0] - batch.y[:, t]).square().sum().backward(retain_graph=True)
        for back in range(min(k2, t + 1) - 1):
            inner, outer = states[-back - 1][0], states[-back - 2][1]
            outer[0].backward(inner.grad, retain_graph=True)
        optimizer.step()


def test_a_window_is_replayed_with_the_present_weights():
    """After the weights have changed, the next gradient is that of the present weights from the stored state."""
    model, batch = TanhRNN(), a_batch()
    updates = tbptt(1, 3)(model, squared, batch, None)
    due = [next(updates) for _ in range(6)][-1]
    state, x = due.carry.state, due.carry.x  # before steps 3, 4, 5
    assert x is not None
    with torch.no_grad():
        model.U.mul_(0.5)
    model.zero_grad()
    next(updates)
    got = gradients(model)
    model.zero_grad()
    with torch.no_grad():
        _, state = model(x[:, :1], state)
    outputs, _ = model(torch.cat([x[:, 1:], batch.x[:, 6:7]], 1), state)
    (outputs[:, -1] - batch.y[:, 6]).square().sum().backward()
    assert_equal(got, gradients(model))


def test_carry_remembers_no_more_than_the_window():
    model = TanhRNN()
    carry: Carry | None = None
    for _ in range(3):
        for due in tbptt(2, 5)(model, squared, a_batch(6), carry):
            carry = due.carry
    assert carry is not None
    assert carry.x is not None
    assert carry.x.shape == (B, 5, X)
    assert not carry.state[0].requires_grad


def test_a_row_that_ended_cannot_go_on_in_a_window():
    model, batch = TanhRNN(), a_batch(6, lengths=torch.tensor([6, 4]))
    (*_, due) = tbptt(2, 4)(model, squared, batch, None)
    with pytest.raises(DataError, match="row 1 of 2 ended in the last batch"):
        next(tbptt(2, 4)(model, squared, a_batch(6), due.carry))
    # Chunks carry the state over such a gap.
    (*_, due) = tbptt(2, style="chunked")(model, squared, batch, None)
    assert next(tbptt(2, style="chunked")(model, squared, a_batch(6), due.carry)).count == 2 * B


@pytest.mark.parametrize(
    ("k1", "k2", "style", "fact"),
    [
        (0, 3, "sliding", "at least 1"),
        (4, 3, "sliding", "does not hold the losses"),
        (3, 6, "chunked", "k1 = k2, got 3 and 6"),
        (3, 6, "backwards", "there are the styles"),
    ],
)
def test_what_does_not_fit_is_refused(k1: int, k2: int, style, fact: str):
    with pytest.raises(ConfigError, match=fact):
        tbptt(k1, k2, style)


def test_bidirectional_models_are_refused():
    model = nn.LSTM(X, H, batch_first=True, bidirectional=True)
    with pytest.raises(ConfigError, match="reads backward in time"):
        next(tbptt(2, 4)(model, squared, a_batch(), None))


def test_one_target_a_sequence_is_refused():
    batch = a_batch()._replace(y=torch.zeros(B, dtype=torch.int64))
    with pytest.raises(DataError, match=r"targets must be \(B, T, \.\.\.\) = \(2, 12\), got \(2,\)"):
        next(tbptt(2, 4)(TanhRNN(), squared, batch, None))


def test_settings_name_the_methods():
    assert gradient_method(GradientConfig()) is bptt
    model, batch = TanhRNN(), a_batch()
    configured = gradient_method(GradientConfig(style="exact", k1=3, k2=5))
    assert_equal(summed(configured, model, [batch]), summed(tbptt(3, 5, "exact"), model, [batch]))
    with pytest.raises(ValueError, match="k1 <= k2"):
        GradientConfig(style="sliding", k1=5, k2=3)


def test_the_classic_bug_is_far_off():
    """Backpropagating every loss of every window counts the early ones k2 / k1 times."""
    model, batch = TanhRNN(), a_batch()
    whole = summed(bptt, model, [batch])

    def every_loss_of_every_window(k1: int, k2: int) -> float:
        model.zero_grad()
        for end in range(k1, T + 1, k1):
            outputs, _ = model(batch.x[:, max(0, end - k2) : end])
            squared(outputs, batch._replace(y=batch.y[:, max(0, end - k2) : end]))[0].backward()
        return float((gradients(model)["U"] - whole["U"]).norm() / whole["U"].norm())

    for k1, k2 in ((1, 12), (3, 12), (4, 12)):
        assert every_loss_of_every_window(k1, k2) > 0.5
        torch.testing.assert_close(summed(tbptt(k1, k2), model, [batch])["U"], whole["U"], **EXACT)
