"""The timing tasks: delays, spikes and waves by the paper's formulas in plain NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recurra.base.errors import ConfigError
from recurra.data.sets import spikes


def test_delays_are_what_is_asked() -> None:
    batch = spikes.measure(64, 12, 49, generator=torch.Generator().manual_seed(0))
    for x, y in zip(batch.x[..., 0].numpy(), batch.y[..., 0].numpy(), strict=True):
        times = np.flatnonzero(x)
        assert times[0] == 0
        assert len(times) == 13
        assert set(np.diff(times)) <= {49, 50}
        asked = np.flatnonzero(~np.isnan(y))
        np.testing.assert_array_equal(asked, times[1:])
        np.testing.assert_array_equal(y[asked], np.diff(times) - 49)
    said = batch.y[~batch.y.isnan()]
    assert 0.4 < float(said.mean()) < 0.6


def test_wider_delays() -> None:
    batch = spikes.measure(50, 20, 10, spread=5, generator=torch.Generator().manual_seed(0))
    assert set(batch.y[~batch.y.isnan()].tolist()) == set(range(6))


@pytest.mark.parametrize("period", [10, 25])
def test_spikes_stand_at_multiples(period: int) -> None:
    batch = spikes.generate(7, period, batch_size=2)
    assert not batch.x.any()
    times = np.flatnonzero(batch.y[1, :, 0].numpy())
    np.testing.assert_array_equal(times + 1, period * np.arange(1, 8))


@pytest.mark.parametrize("period", [10, 25])
def test_waves(period: int) -> None:
    t = np.arange(3 * period)
    cosine = spikes.periodic(3, period, "cosine").y[0, :, 0].numpy()
    np.testing.assert_allclose(cosine, 0.5 * (1 - np.cos(2 * np.pi * t / period)), atol=1e-6)
    triangle = spikes.periodic(3, period, "triangle").y[0, :, 0].numpy()
    np.testing.assert_allclose(triangle, np.interp(t % period, [0, period / 2, period], [0, 1, 0]), atol=1e-6)
    rectangle = spikes.periodic(3, period, "rectangle").y[0, :, 0].numpy()
    np.testing.assert_array_equal(rectangle, (t % period >= period / 2).astype(np.float32))


def test_impossible_sizes_are_refused() -> None:
    with pytest.raises(ConfigError, match="period 0"):
        spikes.measure(1, 1, 0)
    with pytest.raises(ConfigError, match="period from 2, got 1, 1 and 1"):
        spikes.generate(1, 1)
    with pytest.raises(ConfigError, match="shape must be one of cosine, triangle, rectangle, got 'saw'"):
        spikes.wave(torch.arange(3), 4, "saw")  # pyright: ignore[reportArgumentType]
