"""Gradient noise: its variance is that of the paper at every update, and a run with it resumes to the same numbers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from recurra.data.batch import Batch
from recurra.layers import Recurrent
from recurra.training.config import ClipConfig, GradientConfig, NoiseConfig, OptimConfig, TrainConfig
from recurra.training.loop import Trainer
from recurra.training.noise import add_noise, deviation
from recurra.training.stream import Batches


@pytest.mark.parametrize("update", [0, 1, 99])
@pytest.mark.parametrize("eta", [0.01, 0.3, 1.0])
def test_the_variance_falls_as_the_paper_says(eta: float, update: int):
    parameter = nn.Parameter(torch.zeros(200, 500))
    parameter.grad = torch.full_like(parameter, 2.0)
    add_noise([parameter], update, eta, generator=torch.Generator().manual_seed(0))
    variance = eta / (1 + update) ** 0.55
    # 100,000 draws: the variance is known to sqrt(2 / n) = 0.45 %, the mean to a standard error.
    assert float(parameter.grad.var()) == pytest.approx(variance, rel=0.02)
    assert abs(float(parameter.grad.mean()) - 2) < 4 * (variance / 1e5) ** 0.5
    assert deviation(update, eta) == pytest.approx(variance**0.5)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.head = Recurrent("lstm", 2, 3, generator=torch.Generator().manual_seed(0)), nn.Linear(3, 1)

    def forward(self, x: Tensor, state=None, lengths=None, resets=None):
        y, state = self.layer(x, state, lengths=lengths, resets=resets)
        return self.head(y), state


def squared(outputs: Tensor, batch: Batch) -> tuple[Tensor, int]:
    return (outputs - batch.y).square().sum(), batch.y.numel()


def trainer(folder: Path | None, iterations: int, eta: float, **gradient) -> Trainer:
    draw = torch.Generator().manual_seed(1)
    batches = [
        Batch(torch.randn(2, 6, 2, generator=draw), torch.randn(2, 6, 1, generator=draw), first=index == 0)
        for index in range(3)
    ]
    config = TrainConfig(
        iterations=iterations,
        noise=NoiseConfig(eta=eta),
        clip=ClipConfig(norm=0.1),
        optim=OptimConfig(name="sgd", learning_rate=0.1),
        gradient=GradientConfig(**gradient),
        checkpoint_every=5,
        evaluate_every=0,
    )
    return Trainer(Net(), squared, Batches(batches), config, folder=folder)


@pytest.mark.parametrize("style", ["full", "rtrl", "snap1", "uoro"])
def test_a_run_with_noise_resumes_to_the_same_numbers(tmp_path: Path, style: str):
    """Noise, and the influence that an online gradient carries, in the middle of a batch, are part of a checkpoint."""
    torch.manual_seed(5)
    whole = trainer(None, 11, 0.01, style=style)
    whole.train()
    torch.manual_seed(5)
    trainer(tmp_path, 5, 0.01, style=style).train()
    torch.manual_seed(99)
    again = trainer(tmp_path, 11, 0.01, style=style).resume()
    assert again.iteration == 5
    again.train()
    for name, value in whole.model.state_dict().items():
        assert torch.equal(again.model.state_dict()[name], value), name


def test_noise_is_not_clipped():
    """Clipped to a norm of 0.1, the update moves by far more: the noise came after."""
    torch.manual_seed(0)
    quiet, loud = trainer(None, 1, 0.0), trainer(None, 1, 1.0)
    start = torch.cat([value.detach().flatten().clone() for value in quiet.model.parameters()])
    moved = []
    for one in (quiet, loud):
        one.train()
        moved.append(float((torch.cat([value.detach().flatten() for value in one.model.parameters()]) - start).norm()))
    assert moved[0] == pytest.approx(0.01, rel=1e-3)
    assert moved[1] > 0.3
