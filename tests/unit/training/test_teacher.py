"""Scheduled sampling: at its two ends it is teacher forcing and free running, to the bit."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from recurra.base.errors import ConfigError, ShapeError
from recurra.data.batch import Batch
from recurra.training.config import SamplingConfig, TrainConfig
from recurra.training.loop import Trainer
from recurra.training.stream import Batches
from recurra.training.teacher import (
    ScheduledSampling,
    draw,
    exponential_decay,
    inverse_sigmoid_decay,
    linear_decay,
    scheduled,
)

B, T, V = 3, 9, 5


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding, self.cell, self.head = nn.Embedding(V, 6), nn.GRUCell(6, 6), nn.Linear(6, V)
        self.fed: list[Tensor] = []

    def forward(self, x, state=None, lengths=None, resets=None):
        h = torch.zeros(x.shape[0], 6) if state is None else state[0]
        self.fed.append(x)
        outputs = []
        for t in range(x.shape[1]):
            if resets is not None:
                h = torch.where(resets[:, t, None], torch.zeros_like(h), h)
            new = self.cell(self.embedding(x[:, t]), h)
            h = new if lengths is None else torch.where((t < lengths)[:, None], new, h)
            outputs.append(self.head(h))
        return torch.stack(outputs, 1), (h,)


def arg_max(outputs: Tensor) -> Tensor:
    return outputs.argmax(-1)


def wrapped(p: float) -> ScheduledSampling:
    return ScheduledSampling(Net(), arg_max, lambda: p, torch.Generator().manual_seed(1))


X = torch.arange(B * T).view(B, T) % V


def test_certain_truth_is_teacher_forcing_to_the_bit():
    y, (h,) = wrapped(1.0)(X)
    expected, (state,) = Net()(X)
    assert torch.equal(y, expected)
    assert torch.equal(h, state)


def test_evaluation_is_teacher_forcing():
    assert torch.equal(wrapped(0.0).eval()(X)[0], Net()(X)[0])


def test_no_truth_is_free_running_after_the_first_input():
    sampled = wrapped(0.0)
    y, (h,) = sampled(X)
    net, x, expected = Net(), X[:, :1], []
    state: Any = None
    for _ in range(T):
        output, state = net(x, state)
        expected.append(output)
        x = output.argmax(-1)
    assert torch.equal(y, torch.cat(expected, 1))
    assert torch.equal(h, state[0])
    # Whatever the true inputs after the first are.
    assert torch.equal(wrapped(0.0)(torch.cat([X[:, :1], X[:, 1:] * 0], 1))[0], y)


def test_half_the_inputs_are_true_at_one_half():
    net = Net()
    sampled = ScheduledSampling(net, lambda outputs: torch.full(outputs.shape[:2], 4), lambda: 0.5)
    torch.manual_seed(0)
    sampled(torch.zeros(400, T, dtype=torch.int64))
    fed = torch.cat(net.fed, 1)
    assert not fed[:, 0].any()
    share = (fed[:, 1:] == 0).float().mean()
    # Standard error of 3,200 coins is 0.009.
    assert abs(float(share) - 0.5) < 0.04
    assert set(fed.unique().tolist()) == {0, 4}


def test_a_restarted_row_is_fed_the_truth():
    resets = torch.zeros(B, T, dtype=torch.bool)
    resets[1, 4] = True
    net = Net()
    ScheduledSampling(net, lambda outputs: torch.full(outputs.shape[:2], 4), lambda: 0.0)(X, resets=resets)
    assert X[1, 4] == 3
    assert torch.cat(net.fed, 1)[:, 4].tolist() == [4, 3, 4]


def test_lengths_reach_the_model_step_by_step():
    lengths = torch.tensor([T, 4, 1])
    _, (h,) = wrapped(0.0)(X, lengths=lengths)
    for row, length in enumerate(lengths.tolist()):
        _, (alone,) = wrapped(0.0)(X[row : row + 1, :length])
        torch.testing.assert_close(h[row], alone[0])


def test_no_gradient_goes_through_what_is_fed_back():
    class Echo(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gain = nn.Parameter(torch.tensor(2.0))

        def forward(self, x, state=None, lengths=None, resets=None):
            return x * self.gain, state

    model = Echo()
    y, _ = ScheduledSampling(model, lambda outputs: outputs, lambda: 0.0)(torch.ones(1, 3, 1))
    y[0, 2].backward()
    assert y.flatten().tolist() == [2, 4, 8]
    assert float(model.gain.grad) == 4  # pyright: ignore[reportArgumentType]


def test_probabilities_of_the_paper():
    assert [linear_decay(1.0, 0.25, 0.1)(i) for i in (0, 1, 2, 4, 100)] == [1.0, 0.75, 0.5, 0.1, 0.1]
    assert [exponential_decay(0.5)(i) for i in (0, 1, 3)] == [1.0, 0.5, 0.125]
    k = 10.0
    assert inverse_sigmoid_decay(k)(0) == pytest.approx(k / (k + 1))
    assert inverse_sigmoid_decay(k)(20) == pytest.approx(k / (k + math.exp(2)))
    assert inverse_sigmoid_decay(k)(10**9) < 1e-200
    for wrong in (lambda: exponential_decay(1.0), lambda: inverse_sigmoid_decay(0.5), lambda: wrapped(1.5)(X)):
        with pytest.raises(ConfigError):
            wrong()


def test_what_is_drawn_has_the_distribution_of_the_logits():
    logits = torch.tensor([1.0, 0.0, -1.0]).expand(30_000, 1, 3)
    torch.manual_seed(0)
    share = torch.bincount(draw(logits).flatten()) / 30_000
    # Standard error at most 0.003.
    torch.testing.assert_close(share, logits[0, 0].softmax(-1), atol=0.012, rtol=0)


def test_settings_train_with_it():
    """The setting decides what the model is fed in training; without it, all that is true."""

    def run(sampling: SamplingConfig) -> Net:
        net = Net()
        batch = Batch(X.repeat(20, 1), X.repeat(20, 1))

        def loss(outputs: Tensor, batch: Batch) -> tuple[Tensor, int]:
            return nn.functional.cross_entropy(outputs.flatten(0, 1), batch.y.flatten(), reduction="sum"), 60 * T

        torch.manual_seed(0)
        Trainer(net, loss, Batches([batch]), TrainConfig(iterations=1, sampling=sampling)).train()
        return net

    plain = run(SamplingConfig())
    assert torch.equal(plain.fed[0], X.repeat(20, 1))
    fed = torch.cat(run(SamplingConfig(schedule="linear", slope=0.0, least=0.0)).fed, 1)
    assert torch.equal(fed, X.repeat(20, 1))
    mixed = torch.cat(run(SamplingConfig(schedule="inverse_sigmoid", k=1.0)).fed, 1)
    # p = 1/2, and one of five own symbols is right by chance: 60 % agree, with a standard error of 2 %.
    agree = (mixed[:, 1:] == X.repeat(20, 1)[:, 1:]).float().mean()
    assert 0.5 < float(agree) < 0.72
    assert torch.equal(mixed[:, 0], X.repeat(20, 1)[:, 0])


def test_values_are_fed_back_as_they_are():
    class Echo(nn.Module):
        def forward(self, x, state=None, lengths=None, resets=None):
            return 2 * x, state

    model = scheduled(Echo(), SamplingConfig(schedule="exponential", k=0.5), lambda: 2000)
    y, _ = model(torch.ones(1, 4, 2))
    assert y[0, :, 0].tolist() == [2, 4, 8, 16]

    class Wide(nn.Module):
        def forward(self, x, state=None, lengths=None, resets=None):
            return torch.cat([x, x], -1), state

    wide = scheduled(Wide(), SamplingConfig(schedule="exponential", k=0.5), lambda: 2000)
    with pytest.raises(ShapeError, match=r"must be \(1, 1, 2\) as the input, got \(1, 1, 4\)"):
        wide(torch.ones(1, 4, 2))
    for wrong in ({"schedule": "exponential", "k": 1.5}, {"schedule": "inverse_sigmoid", "k": 0.5}):
        with pytest.raises(ValueError, match="needs k"):
            SamplingConfig(**wrong)
