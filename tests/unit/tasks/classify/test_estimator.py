"""The estimator, and scikit-learn's checks of it."""

from __future__ import annotations

import numpy as np
import pytest

from recurra.base.errors import ConfigError, DataError
from recurra.tasks.classify.estimator import SequenceClassifier


def test_estimator_in_its_forms():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 2, 16))
    y = np.array(["no", "yes"], object)[(X[:, 0].mean(1) > 0).astype(int)]
    made = SequenceClassifier(model="esn", hidden=40).fit(X, y)
    assert made.classes_.tolist() == ["no", "yes"]
    assert made.score(X, y) > 0.9
    assert made.predict_proba(X).shape == (30, 2)
    ragged = [row[:, : 8 + k % 5] for k, row in enumerate(X)]
    assert set(made.predict(ragged)) <= {"no", "yes"}
    numbers = SequenceClassifier(hidden=4, iterations=5, settings={"batch": 8}).fit(ragged, np.arange(30) % 3 - 1)
    assert numbers.classes_.tolist() == [-1, 0, 1]
    with pytest.raises(DataError, match="30 cases, but 29 classes"):
        SequenceClassifier().fit(X, y[:29])
    with pytest.raises(DataError, match="one class only"):
        SequenceClassifier().fit(X, y[:1].repeat(30))
    with pytest.raises(ConfigError, match="modl"):
        SequenceClassifier(settings={"modl": 1}).fit(X, y)


def test_scikit_learns_checks():
    """All of them; `check_array_api_input` alone is skipped by scikit-learn where SCIPY_ARRAY_API is not set."""
    checks = pytest.importorskip("sklearn.utils.estimator_checks")
    found = checks.check_estimator(SequenceClassifier(model="esn", hidden=20), on_fail=None, on_skip=None)
    failed = {one["check_name"]: one["exception"] for one in found if one["status"] == "failed"}
    assert not failed
    assert {one["check_name"] for one in found if one["status"] == "skipped"} <= {"check_array_api_input"}
