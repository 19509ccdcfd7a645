"""`recurra inspect` on a run of every model there is for series, at windows that are not the defaults of one layer."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from recurra.tasks.anomaly.settings import Model as AnomalyModel
from recurra.tasks.classify.settings import MODELS as CLASSIFIERS
from recurra.tasks.forecast.settings import MODELS as FORECASTERS

_NOTHING_LEARNED = ("esn", "naive", "seasonal_naive", "drift", "online")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Cases, labelled steps and a wave of three columns."""
    folder, rng = tmp_path_factory.mktemp("series"), np.random.default_rng(0)
    cases = ["unique_id,ds,x,z,label"]
    for k in range(16):
        length = int(rng.integers(8, 15))
        ramp = (1 - 2 * (k % 2)) * np.arange(length) / 5 + 0.1 * rng.normal(size=length)
        cases += [f"c{k},{t},{v:.4f},{rng.normal():.4f},{'ab'[k % 2]}" for t, v in enumerate(ramp)]
    (folder / "classify.csv").write_text("\n".join(cases) + "\n")
    t = np.arange(900)
    wave = np.sin(t * np.pi / 6) + 0.1 * rng.normal(size=len(t))
    rows = [f"2024-01-{1 + k // 24:02d} {k % 24:02d}:00,{v:.4f}" for k, v in enumerate(wave[:700])]
    (folder / "forecast.csv").write_text("\n".join(["ds,y", *rows]) + "\n")
    (folder / "anomaly.csv").write_text("\n".join(["ds,y", *rows]) + "\n")
    marked = [f"{row},{'high' if k % 40 < 5 else ''}" for k, row in enumerate(rows)]
    (folder / "events.csv").write_text("\n".join(["ds,y,label", *marked]) + "\n")
    return folder


def numbers(found):
    if isinstance(found, dict | list):
        parts = found.values() if isinstance(found, dict) else found
        return [number for part in parts for number in numbers(part)]
    return [found] if isinstance(found, float) else []


def inspected(recurra, files, tmp_path, kind, *words):
    few = ("--hidden", "8", "--iterations", "3", "--quiet")
    trained = recurra("train", kind, files / f"{kind}.csv", "--out", tmp_path / "run", *few, *words)
    assert trained.code == 0, trained.err
    return recurra("inspect", tmp_path / "run", "--json", "--out", tmp_path / "page.html")


@pytest.mark.parametrize("model", FORECASTERS)
def test_forecasters(model, recurra, files, tmp_path):
    # A look-back that is longer than the horizon, and than what long answers are cut to.
    words = ("--horizon", "12", "--season", "12", "--look-back", "72", "--model", model)
    _look(inspected(recurra, files, tmp_path, "forecast", *words), model, tmp_path)


@pytest.mark.parametrize("model", [*CLASSIFIERS, "recurrent, both ways", "lstm_fcn, by step"])
def test_classifiers(model, recurra, files, tmp_path):
    name, _, how = model.partition(", ")
    small = ("--set", "model.filters=[8, 8]", "--set", "model.kernels=[5, 3]")
    more = {"both ways": ("--set", "model.bidirectional=true"), "by step": ("--set", "model.shuffle=false")}
    ended = inspected(recurra, files, tmp_path, "classify", "--model", name, *small, *more.get(how, ()))
    _look(ended, model, tmp_path)


@pytest.mark.parametrize("model", AnomalyModel.__args__)
def test_detectors_of_anomalies(model, recurra, files, tmp_path):
    _look(inspected(recurra, files, tmp_path, "anomaly", "--model", model), model, tmp_path)


@pytest.mark.parametrize("more", [(), ("--set", "model.frame=3", "--cell", "lstm")])
def test_detectors_of_events(more, recurra, files, tmp_path):
    _look(inspected(recurra, files, tmp_path, "events", "--label", "label", *more), "events", tmp_path)


def _look(ended, model, folder):
    if model in _NOTHING_LEARNED:
        assert ended.code == 2
        assert ended.err.startswith("recurra: ")
        assert len(ended.err.splitlines()) <= 2
        return
    assert (ended.code, ended.err) == (0, "")
    found = json.loads(ended.out)
    assert found["saliency"]
    assert any(math.isfinite(number) and number for number in numbers(found["saliency"]))
    page = (folder / "page.html").read_text(encoding="utf-8")
    assert "Inside run" in page
    assert page.count("<svg") >= 2
