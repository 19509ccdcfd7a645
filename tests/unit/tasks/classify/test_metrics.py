"""Figures of a classification against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest

from recurra.tasks.classify.metrics import scores


def test_against_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 4, 200)
    shares = rng.dirichlet(np.ones(4), 200)
    said = shares.argmax(1)
    ours = scores(truth, shares)
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(truth, said)
    np.testing.assert_allclose(ours.precision, precision)
    np.testing.assert_allclose(ours.recall, recall)
    np.testing.assert_allclose(ours.f1, f1)
    assert ours.accuracy == pytest.approx(metrics.accuracy_score(truth, said))
    assert ours.balanced_accuracy == pytest.approx(metrics.balanced_accuracy_score(truth, said))
    assert ours.macro_f1 == pytest.approx(metrics.f1_score(truth, said, average="macro"))
    assert ours.log_loss == pytest.approx(metrics.log_loss(truth, shares))
    np.testing.assert_array_equal(ours.confusion, metrics.confusion_matrix(truth, said))


def test_a_class_that_never_occurs():
    found = scores(np.array([0, 0, 1]), np.array([[0.9, 0.1, 0.0], [0.8, 0.1, 0.1], [0.1, 0.9, 0.0]]))
    assert np.isnan(found.recall[2])
    assert np.isnan(found.f1[2])
    assert found.balanced_accuracy == 1.0
    assert found.numbers(("a", "b", "c"))["by_class"]["c"] == {
        "cases": 0,
        "precision": None,
        "recall": None,
        "f1": None,
    }
