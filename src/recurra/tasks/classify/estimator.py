"""fit, predict, predict_proba: a classifier of sequences as scikit-learn's users expect one."""

from __future__ import annotations

from typing import Any

import numpy as np

from recurra.base.errors import DataError, message
from recurra.data.series.cases import cases_of
from recurra.tasks.classify.classifier import Classifier
from recurra.tasks.classify.run import fit_cases
from recurra.tasks.classify.settings import ClassifySettings
from recurra.tasks.estimator import ClassifierMixin, TaskEstimator
from recurra.tasks.settings import settings_from

__all__ = ["SequenceClassifier"]


class SequenceClassifier(ClassifierMixin, TaskEstimator):
    """The class of whole sequences.

    model: recurrent, lstm_fcn, fcn or esn. cell, hidden, layers, bidirectional, pooling (last, mean, max, attention):
    of the net. iterations: updates of the weights. validation: share of the cases that selects them (0: the last ones
    are used). members: nets of as many seeds. random_state: an int, None draws one. settings: any other setting by its
    dotted name, such as {"batch": 32}.

    X: (cases, channels, time), (cases, time), or a list of (channels, time) or (time,) of different lengths; NaN is a
    missing value in those. y: classes of any kind.

    >>> t = np.linspace(0, 6, 40)
    >>> X = np.stack([np.sin((1 + k % 2) * t + k) for k in range(40)])
    >>> made = SequenceClassifier(model="esn", hidden=30, random_state=0).fit(X, np.arange(40) % 2)
    >>> made.score(X, np.arange(40) % 2)
    1.0
    """

    recipe = settings_from(
        ClassifySettings, ["model.cell=gru", "model.hidden=32", "train.iterations=200", "data.validation=0"]
    )
    parameters = {  # noqa: RUF012
        "model": "model.name",
        "cell": "model.cell",
        "hidden": "model.hidden",
        "layers": "model.layers",
        "bidirectional": "model.bidirectional",
        "pooling": "model.pooling",
        "iterations": "train.iterations",
        "validation": "data.validation",
        "members": "members",
        "random_state": "seed",
    }

    def fit(self, X: Any, y: Any) -> SequenceClassifier:
        """Learn the classes of sequences. Raises DataError (a ValueError) for what cannot be used."""
        X, y = self._checked(X), _labels(y)
        if len(X) != len(y):
            raise DataError(message("SequenceClassifier.fit", f"{len(X)} cases, but {len(y)} classes"))
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            fact = f"one class only, {self.classes_[0]!r}: there is nothing to tell apart"
            raise DataError(message("SequenceClassifier.fit", fact, hint="Classifier can't train with one class."))
        # Numbers as names keep the order of numpy's.
        names = [f"{code:09d}" for code in codes.tolist()]
        self.classifier_: Classifier = fit_cases(cases_of(X, names), self.task_settings())
        if isinstance(X, np.ndarray) and X.ndim == 2:
            self.n_features_in_ = X.shape[1]
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """(cases, classes), in the order of `classes_`."""
        self.require_fitted()
        return self.classifier_.probabilities(cases_of(self._checked(X, fitted=True)))

    def predict(self, X: Any) -> np.ndarray:
        """The likeliest class of each case."""
        probabilities = self.predict_proba(X)
        return self.classes_[probabilities.argmax(1)]

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the share of cases that are classified correctly."""
        hits = self.predict(X) == np.asarray(y)
        return float(np.average(hits, weights=sample_weight))

    def __sklearn_tags__(self) -> Any:
        """Gaps are allowed; series have an order, so features cannot be shuffled."""
        tags = super().__sklearn_tags__()  # pyright: ignore[reportAttributeAccessIssue]
        tags.input_tags.three_d_array = True
        tags.input_tags.allow_nan = False
        tags.non_deterministic = self.random_state is None
        return tags

    def _checked(self, X: Any, fitted: bool = False) -> Any:
        """Lists of sequences as they are; tables and arrays as arrays, by scikit-learn's own rules."""
        ragged = isinstance(X, list | tuple) and any(
            np.ndim(case) == 2 or np.shape(case) != np.shape(X[0]) for case in X
        )
        if ragged:
            return [np.asarray(case, np.float64) for case in X]
        if getattr(X, "ndim", 0) == 3 or (isinstance(X, list | tuple) and np.ndim(X) == 3):
            X = np.asarray(X, np.float64)
            if not X.size:
                raise DataError(message("SequenceClassifier", f"X is empty: {X.shape}"))
            return X
        return _table(self, X, fitted)


def _table(estimator: Any, X: Any, fitted: bool) -> np.ndarray:
    try:
        from sklearn.utils.validation import validate_data
    except ImportError:
        array = np.asarray(X, np.float64)
        if array.ndim != 2 or not array.size or np.isinf(array).any():
            fact = f"X must be (cases, time), (cases, channels, time) or a list, finite, got {array.shape}"
            raise DataError(message("SequenceClassifier", fact)) from None
        return array
    return np.asarray(validate_data(estimator, X, dtype=np.float64, reset=not fitted))


def _labels(y: Any) -> np.ndarray:
    if y is None:
        raise DataError(message("SequenceClassifier.fit", "requires y to be passed, but the target y is None"))
    try:
        from sklearn.utils import assert_all_finite, column_or_1d
        from sklearn.utils.multiclass import check_classification_targets
    except ImportError:
        return np.asarray(y).ravel()
    labels = column_or_1d(y, warn=True)
    if labels.dtype.kind == "f":
        assert_all_finite(labels, input_name="y")
    check_classification_targets(labels)
    return labels
