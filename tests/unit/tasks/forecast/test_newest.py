"""Every step of the horizon sees the newest observation: the defect of the peers' direct forecasters is not ours."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from recurra.data.series import SeriesSet, SeriesWindows
from recurra.tasks.forecast.build import net_of
from recurra.tasks.forecast.layout import Layout
from recurra.tasks.forecast.prepare import Preparation
from recurra.tasks.forecast.settings import Architecture, ForecastSettings

NETS = ("segment", "direct", "recursive", "attention", "narx", "tdnn", "esn", "ridge")


def preparation(**changes):
    plain = {"past": (), "known": (), "static": (), "category_names": (), "levels": (), "covariates": {}}
    plain |= {"ids": ("a",), "location": (0.0,), "scale": (1.0,), "scale_kind": "standard", "frequency": "h"}
    plain |= {"season": 24, "look_back": 48, "horizon": 24, "calendar": False, "masked": False, "named": 0}
    return Preparation(**{**plain, **changes})


def net(name, **changes):
    model = Architecture(name=name, hidden=8, dropout=0.0, normalise="none", paths=3)
    settings = ForecastSettings(horizon=24, model=model, quantiles=(0.1, 0.5, 0.9))
    torch.manual_seed(0)
    made = net_of(settings, preparation(**changes), torch.Generator().manual_seed(0))
    for parameter in made.parameters():
        with torch.no_grad():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    return made.eval()


def said(made, values):
    x = torch.zeros(1, 72, made.layout.width)
    x[0, :48, 0], x[0, :48, 1] = torch.as_tensor(values), 1
    with torch.no_grad():
        return made.quantiles(x, torch.Generator().manual_seed(1))[0]


@pytest.mark.parametrize("name", NETS)
def test_moving_the_last_observation_moves_every_step(name):
    made = net(name)
    values = np.sin(np.arange(48) / 4).astype(np.float32)
    before = said(made, values)
    values[-1] += 1
    moved = (said(made, values) - before).abs().amax(-1)
    assert (moved > 1e-6).all(), f"steps {torch.nonzero(moved <= 1e-6).flatten().tolist()} did not see it"


@pytest.mark.parametrize("name", NETS)
def test_what_is_missing_has_no_value(name):
    """A number under a mask of 0 changes nothing."""
    made = net(name, masked=True)
    x = torch.zeros(2, 72, made.layout.width)
    x[:, :48, 0] = torch.sin(torch.arange(48.0) / 4)
    x[:, :48, 1] = 1
    x[:, 10:20, 1] = 0
    x[1, 10:20, 0] = 7
    with torch.no_grad():
        rows = [made.quantiles(row[None], torch.Generator().manual_seed(1)) for row in x]
    torch.testing.assert_close(rows[0], rows[1], rtol=0, atol=0)


@pytest.mark.parametrize("name", ["segment", "direct", "recursive", "attention", "narx"])
def test_covariates_of_the_future_are_read(name):
    made = net(name, known=("k",), past=("p",), static=("s",), levels=(("u", "v"),), category_names=("c",))
    x = torch.zeros(1, 72, made.layout.width)
    x[:, :48, 1] = 1
    with torch.no_grad():
        plain = made.quantiles(x, torch.Generator().manual_seed(1))
        for column, where in ((2, slice(0, 48)), (4, slice(48, 72)), (5, slice(0, 1)), (6, slice(0, 1))):
            other = x.clone()
            other[:, where, column] = 1
            assert not torch.equal(plain, made.quantiles(other, torch.Generator().manual_seed(1))), column


def test_layout_packs_and_unpacks():
    rng = np.random.default_rng(0)
    series = SeriesSet.of([rng.normal(size=9), rng.normal(size=7)])
    full = replace(
        series,
        past=rng.normal(size=(16, 1)),
        past_names=("p",),
        known=rng.normal(size=(16, 2)),
        known_names=("k", "l"),
        static=np.array([[3.0], [4.0]]),
        static_names=("s",),
        categories=np.array([[1], [-1]]),
        category_names=("c",),
        levels=(("u", "v"),),
    )
    layout = Layout(3, 2, past=1, known=2, static=1, categories=(2,), series=2)
    window = SeriesWindows(full, 3, 2)[:]
    parts = layout.parts(layout.pack(window, full))
    np.testing.assert_allclose(parts.values, window.values[:, :3, 0], rtol=1e-6)
    np.testing.assert_allclose(parts.known, window.known[:, 3:], rtol=1e-6)
    np.testing.assert_allclose(parts.past[..., 0], window.past[..., 0], rtol=1e-6)
    assert parts.series.tolist() == (window.series + 1).tolist()
    assert parts.static[:, 0].tolist() == [3.0 + one for one in window.series]
    # 0 stands for a level that was never seen.
    assert parts.codes[:, 0].tolist() == [2 - 2 * one for one in window.series]
    assert not parts.future.any()
    shown = layout.parts(layout.pack(window, full, show=True)).future
    np.testing.assert_allclose(shown, window.values[:, 3:, 0], rtol=1e-6)


def test_narx_remembers_its_delays_and_no_more():
    """From the values alone, closed loop included, against the formula in NumPy."""
    made = net("narx", season=3)
    assert made.recurrent.delays.span == 3
    values = np.sin(np.arange(48) / 4).astype(np.float32)
    before = said(made, values)
    values[:40] = 5
    torch.testing.assert_close(before, said(made, values), rtol=0, atol=0)
    # One step: x_t = (value, seen, log scale), the four newest, oldest first.
    weight, bias = (p.detach().double().numpy() for p in (made.recurrent.delays.weight, made.recurrent.delays.bias))
    taps = np.stack([values[-4:], np.ones(4), np.zeros(4)], 1).reshape(-1)
    units = weight @ taps + bias
    units[:8] = np.tanh(units[:8])
    last = made.output.weight.detach().double().numpy() @ units + made.output.bias.detach().double().numpy()
    x = torch.zeros(1, 72, made.layout.width)
    x[0, :48, 0], x[0, :48, 1] = torch.as_tensor(values), 1
    with torch.no_grad():
        found = made(x)[0].parameters[0, 0]
    np.testing.assert_allclose(found, last, atol=1e-5)
