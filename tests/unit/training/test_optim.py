"""Optimisers, penalties, averages and clipping against formulas written out and against torch's own."""

from __future__ import annotations

from typing import get_args, get_type_hints

import pytest
import torch
from torch import nn

from recurra.base.errors import CheckpointError, ConfigError
from recurra.training.average import Average, average_of
from recurra.training.clip import clip_by_norm, clip_by_value, gradient_norm
from recurra.training.config import AverageConfig, OptimConfig
from recurra.training.optim import OPTIMISERS, add_penalty_gradient, is_matrix, optimiser, parameter_groups, penalty


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(0)
        self.W = nn.Parameter(torch.randn(3, 2, generator=draw, dtype=torch.float64))
        self.b = nn.Parameter(torch.randn(3, generator=draw, dtype=torch.float64))
        self.peephole = nn.Parameter(torch.randn(3, generator=draw, dtype=torch.float64))


def with_gradient(net: Net, seed: int) -> Net:
    draw = torch.Generator().manual_seed(seed)
    for parameter in net.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=draw, dtype=torch.float64)
    return net


def stepped(config: OptimConfig, steps: int = 3) -> Net:
    net = Net()
    optimizer = optimiser(net, config)
    for step in range(steps):
        with_gradient(net, step)
        optimizer.step()
    return net


def gradients(steps: int = 3) -> list[torch.Tensor]:
    return [with_gradient(Net(), step).W.grad for step in range(steps)]  # pyright: ignore[reportReturnType]


def test_every_configured_name_is_there():
    assert sorted(OPTIMISERS) == sorted(get_args(get_type_hints(OptimConfig)["name"]))


@pytest.mark.parametrize("name", ["sgd", "asgd", "nt_asgd"])
def test_sgd(name):
    expected = Net().W - 0.1 * sum(gradients())
    torch.testing.assert_close(stepped(OptimConfig(name=name, learning_rate=0.1)).W, expected)


@pytest.mark.parametrize(("name", "nesterov"), [("momentum", False), ("nesterov", True)])
def test_momentum(name, nesterov: bool):
    w, velocity = Net().W.detach(), torch.zeros(3, 2, dtype=torch.float64)
    for gradient in gradients():
        velocity = 0.8 * velocity + gradient
        w = w - 0.1 * (gradient + 0.8 * velocity if nesterov else velocity)
    torch.testing.assert_close(stepped(OptimConfig(name=name, learning_rate=0.1, momentum=0.8)).W.detach(), w)


@pytest.mark.parametrize(("name", "decay"), [("adam", 0.0), ("adamw", 0.0), ("adamw", 0.3)])
def test_adam(name, decay: float):
    w, m, v = Net().W.detach(), 0, 0
    for t, gradient in enumerate(gradients(), 1):
        m, v = 0.8 * m + 0.2 * gradient, 0.7 * v + 0.3 * gradient**2
        w = w * (1 - 0.1 * decay) - 0.1 * (m / (1 - 0.8**t)) / ((v / (1 - 0.7**t)).sqrt() + 1e-8)
    got = stepped(OptimConfig(name=name, learning_rate=0.1, beta1=0.8, beta2=0.7, weight_decay=decay)).W
    torch.testing.assert_close(got.detach(), w)


def test_rmsprop():
    w, v = Net().W.detach(), 0
    for gradient in gradients():
        v = 0.9 * v + 0.1 * gradient**2
        w = w - 0.1 * gradient / (v.sqrt() + 1e-8)
    torch.testing.assert_close(stepped(OptimConfig(name="rmsprop", learning_rate=0.1, alpha=0.9)).W.detach(), w)


def test_only_matrices_are_decayed():
    net = Net()
    decayed, rest = parameter_groups(net, 0.1)
    assert [id(p) for p in decayed["params"]] == [id(net.W)]
    assert [id(p) for p in rest["params"]] == [id(net.b), id(net.peephole)]
    assert (decayed["weight_decay"], rest["weight_decay"]) == (0.1, 0.0)
    assert len(parameter_groups(net, 0.1, decay="all")) == 1
    assert is_matrix(torch.zeros(1, 5))


def test_tied_and_frozen_parameters_are_grouped_once_or_not_at_all():
    net = Net()
    net.tied = net.W
    net.b.requires_grad_(False)
    assert sum(len(group["params"]) for group in parameter_groups(net, 0.1)) == 2
    with pytest.raises(ConfigError, match="no trainable parameter"):
        optimiser(nn.Identity(), OptimConfig())


@pytest.mark.parametrize("decay", ["matrices", "all"])
def test_penalty_gradient_is_that_of_the_penalty(decay: str):
    net, other = with_gradient(Net(), 0), with_gradient(Net(), 0)
    penalty(net, l1=0.3, l2=0.7, decay=decay).backward()
    add_penalty_gradient(other, l1=0.3, l2=0.7, decay=decay)
    for one, two in zip(net.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(one.grad, two.grad)
    w = net.W.detach()
    expected = 0.3 * w.abs().sum() + 0.35 * (w**2).sum()
    torch.testing.assert_close(penalty(Net(), 0.3, 0.7).detach(), expected)


def test_clipping_by_norm_scales_and_returns_the_norm_before():
    net = with_gradient(Net(), 0)
    before = torch.cat([p.grad.flatten() for p in net.parameters()])  # pyright: ignore[reportOptionalMemberAccess]
    norm = clip_by_norm(net.parameters(), 0.5)
    after = torch.cat([p.grad.flatten() for p in net.parameters()])  # pyright: ignore[reportOptionalMemberAccess]
    torch.testing.assert_close(norm, before.norm())
    torch.testing.assert_close(after, before * 0.5 / before.norm(), rtol=1e-5, atol=0)
    assert float(clip_by_norm(net.parameters(), 10.0)) == pytest.approx(0.5, rel=1e-5)
    torch.testing.assert_close(gradient_norm(net.parameters()), after.norm())
    assert float(gradient_norm([])) == 0


def test_clipping_by_value_clamps_and_returns_the_norm_before():
    net = with_gradient(Net(), 0)
    before = net.W.grad.clone()  # pyright: ignore[reportOptionalMemberAccess]
    norm = clip_by_value([net.W], 0.4)
    torch.testing.assert_close(norm, before.norm())
    torch.testing.assert_close(net.W.grad, before.clamp(-0.4, 0.4))


def changing(net: Net, iterations: int, average: Average) -> list[torch.Tensor]:
    seen = []
    for iteration in range(1, iterations + 1):
        with torch.no_grad():
            net.W.add_(torch.full_like(net.W, float(iteration)))
        average.update(net, iteration)
        seen.append(net.W.detach().clone())
    return seen


def averaged(net: Net, average: Average) -> torch.Tensor:
    with average.applied(net):
        return net.W.detach().clone()


def test_exponential_average_with_its_warm_up():
    net = Net()
    average = Average(net, AverageConfig(kind="ema", decay=0.3))
    first = net.W.detach().clone()
    seen = changing(net, 5, average)
    for n, w in enumerate(seen):
        decay = min(0.3, (1 + n) / (10 + n))
        first = decay * first + (1 - decay) * w
    torch.testing.assert_close(averaged(net, average), first)


def test_uniform_average_is_torchs_asgd():
    """torch's ASGD with lambd = 0 keeps the mean from iteration t0 + 2 on; alpha = 0 keeps the rate."""
    net, other = Net(), Net()
    average = average_of(net, AverageConfig(start=4), OptimConfig(name="asgd"))
    assert average is not None
    ours = optimiser(net, OptimConfig(name="asgd", learning_rate=0.1))
    theirs = torch.optim.ASGD(other.parameters(), lr=0.1, lambd=0.0, alpha=0.0, t0=2)
    for step in range(6):
        with_gradient(net, step)
        with_gradient(other, step)
        ours.step()
        theirs.step()
        average.update(net, step + 1)
    torch.testing.assert_close(net.W, other.W)
    torch.testing.assert_close(averaged(net, average), theirs.state[other.W]["ax"])
    assert average.count == 3


def test_triggered_average_begins_when_validation_stalls():
    """The rule of Merity et al.: worse than the best of all evaluations but the last `patience`."""
    net = Net()
    average = average_of(net, AverageConfig(patience=2), OptimConfig(name="nt_asgd"))
    assert average is not None
    values, log, expected = [5.0, 4.0, 3.0, 3.5, 3.4, 3.2], [], []
    for value in values:
        expected.append(len(log) > 2 and value > min(log[:-2]))
        log.append(value)
    assert expected.index(True) == 5
    assert [average.observe(value) for value in values] == expected
    changing(net, 1, average)
    torch.testing.assert_close(averaged(net, average), net.W.detach())


def test_without_updates_the_average_is_the_model():
    net = Net()
    average = Average(net, AverageConfig(kind="triggered"))
    changing(net, 3, average)
    assert average.count == 0
    assert torch.equal(averaged(net, average), net.W)


def test_own_weights_come_back_to_the_bit_even_after_an_error():
    net = Net()
    average = Average(net, AverageConfig(kind="ema"))
    changing(net, 3, average)
    before, version = net.W.detach().clone(), net.W._version

    def fail() -> None:
        assert not torch.equal(net.W, before)
        raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"), average.applied(net):
        fail()
    assert torch.equal(net.W, before)
    assert net.W._version > version


def test_average_goes_through_a_checkpoint():
    net = Net()
    average, other = (Average(net, AverageConfig(kind="ema")) for _ in range(2))
    changing(net, 3, average)
    other.load_state_dict(average.state_dict())
    assert torch.equal(averaged(net, other), averaged(net, average))
    with pytest.raises(CheckpointError, match="averages other parameters"):
        Average(nn.Linear(2, 2), AverageConfig(kind="ema")).load_state_dict(average.state_dict())


def test_no_average_unless_asked_for():
    assert average_of(Net(), AverageConfig(), OptimConfig()) is None
