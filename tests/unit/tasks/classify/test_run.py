"""From cases to a run folder and back; live answers; the estimator; what is refused."""

from __future__ import annotations

import json

import msgspec
import numpy as np
import pytest

import recurra
from recurra.base.errors import CheckpointError, ConfigError, DataError
from recurra.data.series.cases import cases_of
from recurra.tasks.classify.run import fit_cases, load, train_run
from recurra.tasks.classify.settings import MODELS, ClassifySettings
from recurra.tasks.report import write_report
from recurra.tasks.settings import settings_from


def waves(count=40, seed=0, gaps=False):
    """Two classes by frequency, of different lengths, three channels of which one says nothing."""
    rng = np.random.default_rng(seed)
    X, y = [], []
    for k in range(count):
        t = np.arange(rng.integers(12, 30))
        phase = rng.uniform(0, 6)
        wave = np.sin((0.4 + 0.5 * (k % 2)) * t + phase)
        rows = np.stack([wave, 100 + 10 * wave, rng.normal(size=len(t))]) + 0.1 * rng.normal(size=(3, len(t)))
        if gaps:
            rows[rng.random(rows.shape) < 0.2] = np.nan
        X.append(rows)
        y.append("slow" if k % 2 == 0 else "quick")
    return cases_of(X, y)


def settings(*changes):
    plain = ("model.hidden=12", "train.iterations=60", "train.evaluate_every=10", "train.checkpoint_every=10")
    more = ("model.filters=[8, 8]", "model.kernels=[5, 3]", "model.dropout=0", "train.optim.learning_rate=0.01")
    return settings_from(ClassifySettings, [*plain, *more, *changes])


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("gaps", [False, True])
def test_every_model_goes_all_the_way(name, gaps, tmp_path):
    cases, test = waves(gaps=gaps), waves(30, seed=1, gaps=gaps)
    outcome = train_run(settings(f"model.name={name}"), tmp_path / "run", cases=cases, test=test)
    assert outcome.split == "test"
    assert outcome.measures.scores.accuracy > 0.85
    again = load(tmp_path / "run")
    np.testing.assert_array_equal(outcome.predictor.probabilities(test), again.probabilities(test))
    assert write_report(tmp_path / "run").read_text().count("<svg") >= 3
    kept = json.loads((tmp_path / "run" / "held_out.json").read_text())
    assert kept["accuracy"] == outcome.measures.scores.accuracy
    assert isinstance(recurra.load(tmp_path / "run"), type(again))


def test_padding_of_a_batch_changes_nothing():
    cases = waves()
    classifier = fit_cases(cases, settings())
    together = classifier.probabilities(cases)
    for place in (0, 7):
        alone = classifier.probabilities(cases.select([place]))
        np.testing.assert_allclose(together[place], alone[0], atol=1e-6)


def test_decay_wants_and_reads_gaps():
    classifier = fit_cases(waves(gaps=True), settings("model.decay=true"))
    assert classifier.evaluate(waves(30, seed=1, gaps=True)).accuracy > 0.8
    assert any("decay" in name for name, _ in classifier.net.named_parameters())


def test_members_are_averaged():
    cases = waves()
    few = ("data.validation=0", "train.iterations=10")
    both = fit_cases(cases, settings("members=2", *few))
    alone = []
    for seed in (0, 1):
        alone.append(fit_cases(cases, settings(f"seed={seed}", *few)).probabilities(cases))
    np.testing.assert_allclose(both.probabilities(cases), np.mean(alone, axis=0), atol=1e-6)


def test_the_best_weights_are_used(tmp_path):
    chosen = settings("train.optim.learning_rate=0.3", "train.schedule.name=constant")
    outcome = train_run(chosen, tmp_path / "run", cases=waves())
    [result] = outcome.results
    assert result.best_iteration is not None
    assert outcome.split == "validation"
    assert outcome.measures.numbers["log_loss"] == pytest.approx(result.best, rel=1e-4)


def test_resumed_runs_are_the_same(tmp_path):
    # The schedule falls over the iterations of a run; constant, it does not know how many there will be.
    constant = ("train.schedule.name=constant", "train.iterations=30")
    whole = train_run(settings(*constant), tmp_path / "whole", cases=waves())
    first = settings(*constant, "train.iterations=15")
    train_run(first, tmp_path / "part", cases=waves())
    longer = msgspec.structs.replace(first, train=msgspec.structs.replace(first.train, iterations=30))
    part = train_run(longer, tmp_path / "part", cases=waves(), resume=True)
    one, other = (outcome.predictor.probabilities(waves()) for outcome in (whole, part))
    np.testing.assert_array_equal(one, other)


def test_folders_are_never_overwritten(tmp_path):
    train_run(settings("model.name=esn"), tmp_path / "run", cases=waves())
    with pytest.raises(CheckpointError, match="holds a run already"):
        train_run(settings("model.name=esn"), tmp_path / "run", cases=waves())
    with pytest.raises(CheckpointError, match="goes on with the settings it began with"):
        train_run(settings("model.name=fcn"), tmp_path / "run", cases=waves(), resume=True)
    with pytest.raises(CheckpointError, match="no such run"):
        load(tmp_path / "other")
    (tmp_path / "run" / "cases.json").write_text("{")
    with pytest.raises(CheckpointError, match="is damaged"):
        load(tmp_path / "run")


def test_a_new_class_in_the_test_is_named_before_training(tmp_path):
    other = cases_of([one.values.T for one in waves(4)], ["slow", "quick", "odd", "slow"])
    classifier = fit_cases(waves(), settings("model.name=esn"))
    with pytest.raises(DataError, match="class odd was not in training"):
        classifier.evaluate(other)
    assert len(classifier.predict(other)) == 4
    with pytest.raises(DataError, match="have no classes"):
        classifier.evaluate(cases_of([one.values.T for one in waves(4)]))


@pytest.mark.parametrize("name", MODELS)
def test_series_shorter_than_a_kernel(name):
    X = [np.full((1, 1 + k % 2), float(k % 2)) for k in range(12)]
    cases = cases_of(X, [k % 2 for k in range(12)])
    shares = fit_cases(cases, settings(f"model.name={name}")).probabilities(cases)
    assert np.isfinite(shares).all()


def test_a_constant_channel_and_a_class_of_one():
    cases = cases_of([np.stack([np.ones(5), np.arange(5) * k]) for k in range(7)], [0, 0, 0, 1, 1, 1, 2])
    found = fit_cases(cases, settings()).probabilities(cases)
    assert np.isfinite(found).all()
    assert found.shape == (7, 3)


def test_a_part_of_train_leaves_the_rest_of_the_defaults(tmp_path):
    made = settings_from(ClassifySettings, ["train.iterations=7", "train.optim.learning_rate=0.1"])
    assert made.train.schedule == ClassifySettings().train.schedule
    assert made.train.optim.weight_decay == ClassifySettings().train.optim.weight_decay
    (tmp_path / "a.toml").write_text('[train]\niterations = 9\n[model]\ncell = "gru"\n')
    read = settings_from(ClassifySettings, ["seed=3"], tmp_path / "a.toml")
    assert (read.train.iterations, read.model.cell, read.seed) == (9, "gru", 3)
    assert read.train.schedule == ClassifySettings().train.schedule
    for text in ("[train", "config_format = 99\n"):
        (tmp_path / "b.toml").write_text(text)
        with pytest.raises(ConfigError):
            settings_from(ClassifySettings, (), tmp_path / "b.toml")
    with pytest.raises(ConfigError, match="nothing_such"):
        settings_from(ClassifySettings, ["model.nothing_such=1"])
