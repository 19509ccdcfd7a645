"""Heads against scipy's distributions; quantiles that never cross."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from torch.nn.functional import softplus

from recurra.base.errors import ConfigError
from recurra.tasks.forecast.heads import (
    GaussianHead,
    NegativeBinomialHead,
    QuantileHead,
    StudentHead,
    head_of,
)

LEVELS = (0.05, 0.25, 0.5, 0.9)


def parameters(outputs, rows=7):
    return torch.randn(rows, outputs, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def test_gaussian():
    head, said = GaussianHead(), parameters(2)
    z = torch.linspace(-2, 2, 7, dtype=torch.float64)
    peer = stats.norm(said[:, 0], softplus(said[:, 1]) + 1e-4)
    np.testing.assert_allclose(head.loss(said, z), -peer.logpdf(z), rtol=1e-10)
    wanted = np.stack([peer.ppf(level) for level in LEVELS], -1)
    np.testing.assert_allclose(head.quantiles(said, LEVELS), wanted, rtol=1e-10)


def test_student():
    head, said = StudentHead(), parameters(3)
    z = torch.linspace(-3, 3, 7, dtype=torch.float64)
    peer = stats.t(2 + softplus(said[:, 2]) + 1e-4, said[:, 0], softplus(said[:, 1]) + 1e-4)
    np.testing.assert_allclose(head.loss(said, z), -peer.logpdf(z), rtol=1e-10)
    wanted = np.stack([peer.ppf(level) for level in LEVELS], -1)
    np.testing.assert_allclose(head.quantiles(said, LEVELS), wanted, rtol=1e-8)


def test_negative_binomial():
    head, said = NegativeBinomialHead(), parameters(2)
    scale = torch.linspace(1, 9, 7, dtype=torch.float64)
    y = torch.tensor([0, 1, 2, 3, 5, 8, 13], dtype=torch.float64)
    mean = (softplus(said[:, 0]) + 1e-4) * scale
    size = scale.sqrt() / (softplus(said[:, 1]) + 1e-4)
    peer = stats.nbinom(size, size / (size + mean))
    np.testing.assert_allclose(head.count_loss(said, y / scale, scale), -peer.logpmf(y), rtol=1e-9)
    wanted = np.stack([peer.ppf(level) for level in LEVELS], -1) / scale.numpy()[:, None]
    np.testing.assert_allclose(head.quantiles(said, LEVELS, scale), wanted, rtol=1e-12)


@pytest.mark.parametrize("kind", ["quantile", "gaussian", "student", "negative_binomial"])
def test_draws_have_the_quantiles(kind):
    head = head_of(kind, (0.1, 0.5, 0.9))
    said = torch.tensor([0.5, 0.2, -0.1])[: head.outputs].expand(40_000, -1)
    draws = head.sample(said, torch.Generator().manual_seed(0))
    found = torch.quantile(draws, torch.tensor([0.3, 0.5, 0.7]))
    wanted = head.quantiles(said[0], [0.3, 0.5, 0.7])
    torch.testing.assert_close(found, wanted, rtol=0.05, atol=0.05)


def test_quantiles_never_cross():
    head = QuantileHead((0.01, 0.1, 0.5, 0.6, 0.99))
    said = 30 * torch.randn(5000, 5, generator=torch.Generator().manual_seed(0))
    assert (head.ordered(said).diff(dim=-1) >= 0).all()
    between = head.quantiles(said, [0.05, 0.3, 0.55])
    assert (between.diff(dim=-1) >= 0).all()


def test_pinball_is_scikit_learns():
    metrics = pytest.importorskip("sklearn.metrics")
    head = QuantileHead((0.2, 0.5, 0.8))
    said, z = torch.randn(50, 3, dtype=torch.float64), torch.randn(50, dtype=torch.float64)
    ordered = head.ordered(said).numpy()
    peers = [metrics.mean_pinball_loss(z, ordered[:, place], alpha=level) for place, level in enumerate(head.levels)]
    assert float(head.loss(said, z).mean()) == pytest.approx(2 * np.mean(peers), rel=1e-10)


@pytest.mark.parametrize("levels", [(), (0.5, 0.4), (0.0, 0.5), (0.5, 0.5)])
def test_levels_that_cannot_be(levels):
    with pytest.raises(ConfigError, match="rise strictly"):
        QuantileHead(levels)
    with pytest.raises(ConfigError, match="must be one of"):
        head_of("cauchy", (0.5,))
