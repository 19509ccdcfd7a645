"""`recurra inspect` on runs of classification, events and anomalies: the loss is the task's, the page is written."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import recurra
from recurra.base.errors import ConfigError, DataError
from recurra.cli.main import main
from recurra.diagnostics.observe import observe
from recurra.diagnostics.saliency import saliency


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Short cases of two classes, and a stream with events that are anomalies too."""
    folder, rng = tmp_path_factory.mktemp("series"), np.random.default_rng(0)
    rows = ["unique_id,ds,x,label"]
    for k in range(16):
        rows += [
            f"c{k},{t},{(1 - 2 * (k % 2)) * t / 5 + 0.1 * rng.normal():.4f},{'ab'[k % 2]}" for t in range(6 + k % 3)
        ]
    (folder / "cases.csv").write_text("\n".join(rows) + "\n")
    x, label = np.sin(np.arange(900) / 5) + 0.1 * rng.normal(size=900), np.zeros(900, int)
    for t in range(40, 880, 60):
        x[t : t + 8] += 2
        label[t : t + 8] = 1
    stamps = [str(s).replace("T", " ") for s in np.datetime64("2024-01-01", "m") + np.arange(900)]
    whole = [f"{s},{v:.4f},{'high' if c else ''}" for s, v, c in zip(stamps, x, label, strict=True)]
    (folder / "events.csv").write_text("\n".join(["ds,y,label", *whole]) + "\n")
    (folder / "plain.csv").write_text("\n".join(["ds,y", *(row.rsplit(",", 1)[0] for row in whole)]) + "\n")
    return folder


WORDS = {
    "classify": ["cases.csv", "--hidden", "6", "--iterations", "3"],
    "events": ["events.csv", "--hidden", "6", "--iterations", "3", "--tolerance", "120"],
    "forecast errors": ["plain.csv", "--model", "forecast", "--set", "net.hidden=6", "--set", "train.iterations=3"],
    "autoencoder": ["plain.csv", "--model", "autoencoder", "--set", "net.hidden=6", "--set", "train.iterations=3"],
}


@pytest.fixture(scope="module")
def run(folder):
    made = {}

    def one(kind):
        if kind not in made:
            task = kind if kind in ("classify", "events") else "anomaly"
            file, *words = WORDS[kind]
            made[kind] = folder / kind.replace(" ", "_")
            assert main(["train", task, str(folder / file), *words, "--out", str(made[kind]), "--quiet"]) == 0
        return made[kind]

    return one


@pytest.mark.parametrize("kind", WORDS)
def test_every_run_has_a_page(kind, run, capsys):
    assert main(["inspect", str(run(kind)), "--quiet", "--steps", "40", "--rows", "2"]) == 0
    page = (run(kind) / "inspect.html").read_text()
    assert page.count("<svg") >= 4
    capsys.readouterr()


def test_a_classifier_answers_once(run):
    classifier = recurra.load(run("classify"))
    subject = classifier.subject(rows=5)
    seen = observe(subject)
    assert seen.losses.shape == (5, 1)
    want = -np.log(classifier.probabilities(classifier.read())[np.arange(5), subject.targets.numpy()])
    np.testing.assert_allclose(seen.losses[:, 0], want, rtol=1e-4)
    assert saliency(subject, 1).shape == (1, subject.valid[1])
    with pytest.raises(DataError, match="no case has at most 3 steps, the shortest has 6"):
        classifier.subject(steps=3)


def test_a_detector_answers_at_every_frame(run, folder):
    detector = recurra.load(run("events"))
    subject = detector.subject(rows=2, steps=50)
    seen = observe(subject)
    assert seen.losses.shape == (2, 50)
    due = subject.targets >= 0
    shares = torch.log_softmax(seen.outputs, -1)
    want = -shares.gather(-1, subject.targets.clamp_min(0).unsqueeze(-1))[..., 0]
    torch.testing.assert_close(seen.losses, torch.where(due, want, 0.0))
    with pytest.raises(DataError, match="no events"):
        detector.subject([folder / "plain.csv"])


def test_errors_of_a_forecast_and_of_a_window(run):
    detector = recurra.load(run("forecast errors"))
    subject = detector.subject(rows=1, steps=60)
    seen = observe(subject)
    ahead = detector.settings.net.ahead
    assert seen.outputs.shape == (1, 60, ahead)
    values = subject.inputs[0, :, 0]
    # Step t speaks of the `ahead` rows behind it.
    want = np.mean([float(values[10 + k] - seen.outputs[0, 9, k]) ** 2 for k in range(ahead)])
    assert float(seen.losses[0, 9]) == pytest.approx(want, rel=1e-4)
    windows = recurra.load(run("autoencoder")).subject(rows=3)
    assert windows.inputs.shape[:2] == (3, recurra.load(run("autoencoder")).settings.net.window)
    torch.testing.assert_close(windows.targets, windows.inputs[..., :1])


def test_a_net_without_steps_of_time(folder):
    out = folder / "esn"
    assert main(["train", "classify", str(folder / "cases.csv"), "--model", "esn", "--out", str(out), "--quiet"]) == 0
    with pytest.raises(ConfigError, match="model 'esn'"):
        recurra.load(out).subject()
