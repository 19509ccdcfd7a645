"""fit, predict, predict_proba: a classifier of sequences as scikit-learn's users expect one."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np

from recurra.base.errors import ConfigError, DataError, message, nearest
from recurra.tasks.classify.cases import cases_of
from recurra.tasks.classify.classifier import Classifier
from recurra.tasks.classify.defaults import settings_from
from recurra.tasks.classify.settings import ClassifySettings
from recurra.tasks.classify.train import fit

try:
    from sklearn.base import BaseEstimator, ClassifierMixin  # pyright: ignore[reportAssignmentType]
except ImportError:
    # Without scikit-learn it works all the same, outside of its pipelines.
    class ClassifierMixin:
        """Stands in."""

    class BaseEstimator:
        """Stands in: parameters are the arguments of __init__."""

        def get_params(self, deep: bool = True) -> dict[str, Any]:
            """The arguments of __init__."""
            del deep
            names = [name for name in inspect.signature(type(self).__init__).parameters if name != "self"]
            return {name: getattr(self, name) for name in names}

        def set_params(self, **changes: Any) -> Any:
            """Change arguments; ConfigError for a name that there is not."""
            known = self.get_params()
            for name, value in changes.items():
                if name not in known:
                    near = ", ".join(nearest(name, known)[:3])
                    fact = f"no parameter is called {name!r}, nearest: {near}"
                    raise ConfigError(message(type(self).__name__, fact))
                setattr(self, name, value)
            return self


__all__ = ["SequenceClassifier"]


class SequenceClassifier(ClassifierMixin, BaseEstimator):
    """The class of whole sequences.

    model: recurrent, lstm_fcn, fcn or esn. cell, hidden, layers, bidirectional, pooling (last, mean, max, attention):
    of the net. iterations: updates of the weights. validation: share of the cases that chooses them (0: the last ones
    are kept). members: nets of as many seeds. random_state: an int, None draws one. settings: any other setting by its
    dotted name, such as {"batch": 32}.

    X: (cases, channels, time), (cases, time), or a list of (channels, time) or (time,) of different lengths; NaN is a
    missing value in those. y: classes of any kind.

    >>> t = np.linspace(0, 6, 40)
    >>> X = np.stack([np.sin((1 + k % 2) * t + k) for k in range(40)])
    >>> made = SequenceClassifier(model="esn", hidden=30, random_state=0).fit(X, np.arange(40) % 2)
    >>> made.score(X, np.arange(40) % 2)
    1.0
    """

    def __init__(
        self,
        model: str = "recurrent",
        *,
        cell: str = "gru",
        hidden: int = 32,
        layers: int = 1,
        bidirectional: bool = True,
        pooling: str = "attention",
        iterations: int = 200,
        validation: float = 0.0,
        members: int = 1,
        random_state: Any = 0,
        settings: dict[str, Any] | None = None,
    ) -> None:
        self.model, self.cell, self.hidden, self.layers = model, cell, hidden, layers
        self.bidirectional, self.pooling, self.iterations = bidirectional, pooling, iterations
        self.validation, self.members, self.random_state = validation, members, random_state
        self.settings = settings

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
        trained = fit(cases_of(X, names), self._settings())
        if trained.interrupted:
            # The training loop ends in good order at Ctrl-C; half-trained weights are no fit.
            raise KeyboardInterrupt
        self.classifier_: Classifier = trained.classifier
        if isinstance(X, np.ndarray) and X.ndim == 2:
            self.n_features_in_ = X.shape[1]
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """(cases, classes), in the order of `classes_`."""
        self._require_fitted()
        return self.classifier_.probabilities(cases_of(self._checked(X, fitted=True)))

    def predict(self, X: Any) -> np.ndarray:
        """The likeliest class of each case."""
        said = self.predict_proba(X)
        return self.classes_[said.argmax(1)]

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """The share of cases that are told rightly."""
        hits = self.predict(X) == np.asarray(y)
        return float(np.average(hits, weights=sample_weight))

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "classifier_")

    def __sklearn_tags__(self) -> Any:
        """Gaps are allowed; series have an order, so features cannot be shuffled."""
        tags = super().__sklearn_tags__()  # pyright: ignore[reportAttributeAccessIssue]
        tags.input_tags.three_d_array = True
        tags.input_tags.allow_nan = False
        tags.non_deterministic = self.random_state is None
        return tags

    def _settings(self) -> ClassifySettings:
        seed = self.random_state
        if isinstance(seed, np.random.RandomState):
            seed = int(seed.randint(2**31 - 1))
        elif seed is None:
            seed = int(np.random.default_rng().integers(2**31 - 1))
        chosen = {
            "model.name": self.model,
            "model.cell": self.cell,
            "model.hidden": self.hidden,
            "model.layers": self.layers,
            "model.bidirectional": str(self.bidirectional).lower(),
            "model.pooling": self.pooling,
            "train.iterations": self.iterations,
            "data.validation": self.validation,
            "members": self.members,
            "seed": int(seed),
            **(self.settings or {}),
        }
        overrides = [f"{key}={value}" for key, value in chosen.items()]
        return settings_from(ClassifySettings, overrides, where="SequenceClassifier")

    def _checked(self, X: Any, fitted: bool = False) -> Any:
        """Lists of sequences as they are; tables and arrays as arrays, by scikit-learn's own rules."""
        ragged = isinstance(X, list | tuple) and any(
            np.ndim(part) == 2 or np.shape(part) != np.shape(X[0]) for part in X
        )
        if ragged:
            return [np.asarray(part, np.float64) for part in X]
        if getattr(X, "ndim", 0) == 3 or (isinstance(X, list | tuple) and np.ndim(X) == 3):
            X = np.asarray(X, np.float64)
            if not X.size:
                raise DataError(message("SequenceClassifier", f"X is empty: {X.shape}"))
            return X
        return _table(self, X, fitted)

    def _require_fitted(self) -> None:
        if self.__sklearn_is_fitted__():
            return
        try:
            from sklearn.exceptions import NotFittedError
        except ImportError:
            raise DataError(message("SequenceClassifier", "is not fitted yet", hint="call fit first.")) from None
        raise NotFittedError(message("SequenceClassifier", "is not fitted yet", hint="call fit first."))


def _table(estimator: Any, X: Any, fitted: bool) -> np.ndarray:
    try:
        from sklearn.utils.validation import validate_data
    except ImportError:
        found = np.asarray(X, np.float64)
        if found.ndim != 2 or not found.size or np.isinf(found).any():
            fact = f"X must be (cases, time), (cases, channels, time) or a list, finite, got {found.shape}"
            raise DataError(message("SequenceClassifier", fact)) from None
        return found
    return np.asarray(validate_data(estimator, X, dtype=np.float64, reset=not fitted))


def _labels(y: Any) -> np.ndarray:
    if y is None:
        raise DataError(message("SequenceClassifier.fit", "requires y to be passed, but the target y is None"))
    try:
        from sklearn.utils import assert_all_finite, column_or_1d
        from sklearn.utils.multiclass import check_classification_targets
    except ImportError:
        return np.asarray(y).ravel()
    found = column_or_1d(y, warn=True)
    if found.dtype.kind == "f":
        assert_all_finite(found, input_name="y")
    check_classification_targets(found)
    return found
