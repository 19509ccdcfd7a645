"""What the diagnostics see of a forecaster: the loss of its newest window, and where the gradient goes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recurra.base.errors import ConfigError, DataError
from recurra.cli.main import main
from recurra.diagnostics.flow import felt_by_distance, gradient_by_time
from recurra.diagnostics.observe import observe
from recurra.diagnostics.saliency import integrated_gradients, saliency
from recurra.tasks.forecast.run import load, train_run
from recurra.tasks.forecast.settings import Architecture, DataSettings, ForecastSettings
from recurra.training.config import TrainConfig


def run(folder, name, loss="quantile"):
    t = np.arange(200)
    rows = ["ds,y", *(f"{k},{value}" for k, value in zip(t, np.sin(t * np.pi / 4) + 0.01 * t, strict=True))]
    (folder / "wave.csv").write_text("\n".join(rows))
    settings = ForecastSettings(
        horizon=8,
        season=8,
        quantiles=(0.1, 0.5, 0.9),
        batch=32,
        data=DataSettings(file=str(folder / "wave.csv")),
        model=Architecture(name=name, hidden=8, look_back=24, segment=8, loss=loss),
        train=TrainConfig(iterations=3, evaluate_every=10, checkpoint_every=10),
    )
    train_run(settings, folder / name)
    return load(folder / name)


@pytest.mark.parametrize(("name", "steps"), [("segment", 3), ("direct", 24), ("attention", 24), ("recursive", 31)])
def test_the_loss_is_that_of_the_newest_window(name, steps, tmp_path):
    forecaster = run(tmp_path, name)
    subject = forecaster.subject()
    assert subject.inputs.shape[:2] == (1, steps)
    assert len(subject.step_names()) == steps
    seen = observe(subject)
    assert seen.losses.shape == (1, 1)
    # The pinball loss of the same quantiles, by hand, in the net's normalised units.
    net = forecaster.net.members[0]
    values = np.sin(np.arange(200) * np.pi / 4) + 0.01 * np.arange(200)
    where, width = forecaster.preparation.location[0], forecaster.preparation.scale[0]
    y = torch.from_numpy((values[-8:] - where) / width).float()
    said = net.head.quantiles(seen.outputs.view(1, 8, -1), (0.1, 0.5, 0.9))[0]
    past = (values[-32:-8] - where) / width
    z = (y - past[-1]) / past.std()
    missed = z[:, None] - said
    levels = torch.tensor([0.1, 0.5, 0.9])
    pinball = 2 * torch.maximum(levels * missed, (levels - 1) * missed).mean()
    assert float(seen.losses) == pytest.approx(float(pinball), rel=1e-4)


@pytest.mark.parametrize("name", ["segment", "direct", "attention", "recursive"])
def test_gradients_and_saliency_have_one_entry_a_step(name, tmp_path):
    subject = run(tmp_path, name).subject()
    steps = subject.inputs.shape[1]
    curves = gradient_by_time(subject)
    assert curves
    shown = [curve for curve in curves.values() if curve.shape == (1, steps)]
    assert shown
    assert all(np.isfinite(curve).all() and curve.max() > 0 for curve in shown)
    found = saliency(subject)
    assert found.shape == (1, steps)
    assert (found > 0).all()
    whole = integrated_gradients(subject.double(), output=3)
    assert whole.values.sum() == pytest.approx(whole.difference, abs=1e-6)


def test_the_saliency_of_ridge_is_its_weights(tmp_path):
    forecaster = run(tmp_path, "ridge")
    weights = forecaster.net.members[0].skip.weight.detach().double()
    found = saliency(forecaster.subject())
    np.testing.assert_allclose(found[0], weights.norm(dim=0).numpy(), rtol=1e-5)


def test_a_decoder_is_counted_from_its_own_end(tmp_path):
    curves = felt_by_distance(run(tmp_path, "attention").subject())
    assert {name: len(curve) for name, curve in curves.items()} == {"encoder layer 0 h": 24, "decoder layer 0 h": 8}
    assert all((curve > 0).all() for curve in curves.values())


def test_inspect_writes_its_page(tmp_path, capsys):
    run(tmp_path, "segment")
    assert main(["inspect", str(tmp_path / "segment"), "--quiet"]) == 0
    page = (tmp_path / "segment" / "inspect.html").read_text()
    assert "newest window" in page
    assert page.count("<svg") >= 4
    capsys.readouterr()


def test_what_cannot_be_looked_into_is_said(tmp_path):
    with pytest.raises(ConfigError, match=r"'naive' learns nothing"):
        run(tmp_path, "naive").subject()
    with pytest.raises(ConfigError, match=r"'esn' has a reservoir that passes no gradient"):
        run(tmp_path, "esn").subject()
    short = tmp_path / "short.csv"
    short.write_text("ds,y\n1,2\n2,3\n3,4\n")
    with pytest.raises(DataError, match="longest series has 3 values"):
        run(tmp_path, "direct").subject([short])
