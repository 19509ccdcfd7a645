"""The estimator: scikit-learn's own checks, and what it promises."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.estimator_checks import check_estimator

from recurra.base.errors import ConfigError, DataError
from recurra.tasks.anomaly.estimator import AnomalyDetector

# Rows of a series are no samples: what one is worth depends on those before it.
ORDERED = {"check_methods_sample_order_invariance", "check_methods_subset_invariance"}


@pytest.mark.slow
def test_scikit_learns_checks():
    small = AnomalyDetector(settings={"online.members": 1, "online.units": 3})
    failed = {
        check["check_name"]: check["exception"]
        for check in check_estimator(small, on_fail=None, on_skip=None)
        if check["status"] == "failed"
    }
    assert set(failed) <= ORDERED, failed


@pytest.mark.parametrize("model", ["online", "forecast"])
def test_signs_and_thresholds(model):
    g = np.random.default_rng(0)
    X = np.sin(np.arange(700) / 6)[:, None] + 0.05 * g.normal(size=(700, 1))
    test = X.copy()
    test[500] += 5
    small = {"net.hidden": 6, "net.window": 8, "train.iterations": 30, "online.members": 1, "online.units": 4}
    detector = clone(AnomalyDetector(model, settings=small)).fit(X)
    decided = detector.decision_function(test)
    assert decided[500] < 0
    np.testing.assert_array_equal(detector.predict(test), np.where(decided < 0, -1, 1))
    np.testing.assert_allclose(decided, detector.score_samples(test) - detector.offset_)
    assert detector.alarms(test)[500]
    live = detector.stream()
    said = [live.step(["a"], [None], test[[t]])[0][0] for t in range(520)]
    assert said[500]["alarm"]
    assert AnomalyDetector(model, settings=small, threshold=7.5).fit(X).offset_ == -7.5


def test_missing_values_and_several_series():
    g = np.random.default_rng(0)
    X = g.normal(size=(300, 2))
    X[50] = np.nan
    assert np.isfinite(AnomalyDetector().fit([X, X[:120]]).score_samples(X)).all()


def test_what_cannot_be():
    with pytest.raises(NotFittedError):
        AnomalyDetector().predict(np.zeros((5, 1)))
    with pytest.raises(ConfigError, match="model"):
        AnomalyDetector("none").fit(np.zeros((50, 1)))
    with pytest.raises(DataError, match="holds a value"):
        AnomalyDetector().fit(np.full((50, 1), np.nan))
    with pytest.raises(DataError, match="rows to train on"):
        AnomalyDetector("forecast").fit(np.zeros((20, 1)))
