"""fit, score_samples, predict: a detector of odd rows as scikit-learn's users expect one."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np

from recurra.base import config
from recurra.base.errors import ConfigError, DataError, message, nearest
from recurra.tasks.anomaly.detector import Detector, Judged, NetDetector, OnlineRun
from recurra.tasks.anomaly.live import AnomalyLive, NetLive, OnlineLive
from recurra.tasks.anomaly.settings import AnomalySettings
from recurra.tasks.anomaly.table import Rows, rows_of
from recurra.tasks.anomaly.train import fit

try:
    from sklearn.base import BaseEstimator, OutlierMixin  # pyright: ignore[reportAssignmentType]
except ImportError:
    # Without scikit-learn it works all the same, outside of its pipelines.
    class OutlierMixin:
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


__all__ = ["AnomalyDetector"]


class AnomalyDetector(OutlierMixin, BaseEstimator):
    """Odd rows of a series: X (T, C) in the order of time, NaN where a value is missing.

    model: online (learns as it goes; fit only finds the threshold where one is asked for), forecast or autoencoder.
    threshold: None for the model's own way, or a number. false_alarms: share of normal rows that may reach the
    threshold of a trained model. quiet: see `alarms`. random_state: an int, None draws one. settings: any other setting
    by its dotted name, such as {"net.hidden": 16, "train.iterations": 200}.

    Each X that is judged is a series that begins; `stream` gives an object that takes row after row. A row without a
    score (at the beginning, or where all is missing) counts as normal.

    >>> t = np.arange(600)
    >>> X = np.sin(t / 5)[:, None] + 0.05 * np.random.default_rng(0).normal(size=(600, 1))
    >>> X[400] += 4
    >>> np.flatnonzero(AnomalyDetector(random_state=0).fit(X).alarms(X)).tolist()
    [400]
    """

    def __init__(
        self,
        model: str = "online",
        *,
        threshold: float | None = None,
        false_alarms: float = 1e-3,
        quiet: int = 30,
        random_state: Any = 0,
        settings: dict[str, Any] | None = None,
    ) -> None:
        self.model, self.threshold, self.false_alarms, self.quiet = model, threshold, false_alarms, quiet
        self.random_state, self.settings = random_state, settings

    def fit(self, X: Any, y: Any = None) -> AnomalyDetector:
        """Learn from X (T, C), or a list of such; y is ignored."""
        del y
        series = self._series(X, fitting=True)
        channels = tuple(f"y{place}" for place in range(series[0].values.shape[1]))
        self.detector_: Detector = fit(series, channels, self._settings()).detector
        self.offset_ = -self.detector_.threshold
        self.n_features_in_ = len(channels)
        return self

    def score_samples(self, X: Any) -> np.ndarray:
        """(T,) minus the score: the lower, the odder."""
        return -np.nan_to_num(self._judged(X).scores)

    def decision_function(self, X: Any) -> np.ndarray:
        """(T,) below 0 where the score is above the threshold."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: Any) -> np.ndarray:
        """(T,) -1 for odd rows, else 1. Of each run of odd rows `alarms` gives only the peaks."""
        return np.where(self.decision_function(X) < 0, -1, 1)

    def alarms(self, X: Any) -> np.ndarray:
        """(T,) bool: rows at or above the threshold, odder than each of the `quiet` before."""
        return self._judged(X).alarms

    def stream(self) -> AnomalyLive:
        """A live detector: `step(ids, stamps, values)`."""
        self._fitted()
        if isinstance(self.detector_, OnlineRun):
            return OnlineLive(self.detector_, warm=False)
        if isinstance(self.detector_, NetDetector):
            return NetLive(self.detector_)
        raise TypeError(type(self.detector_).__name__)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "detector_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()  # pyright: ignore[reportAttributeAccessIssue]
        tags.input_tags.allow_nan = True
        return tags

    def _judged(self, X: Any) -> Judged:
        self._fitted()
        return self.detector_.judge(self._series(X, fitting=False))[0]

    def _fitted(self) -> None:
        if self.__sklearn_is_fitted__():
            return
        fact, hint = "is not fitted yet", "call fit first."
        try:
            from sklearn.exceptions import NotFittedError
        except ImportError:
            raise DataError(message("AnomalyDetector", fact, hint=hint)) from None
        raise NotFittedError(message("AnomalyDetector", fact, hint=hint))

    def _series(self, X: Any, *, fitting: bool) -> list[Rows]:
        if isinstance(X, list) and X and isinstance(X[0], np.ndarray) and X[0].ndim == 2:
            return rows_of(X)[0]
        try:
            from sklearn.utils.validation import validate_data
        except ImportError:
            return rows_of(np.asarray(X, np.float64))[0]
        least = 2 if fitting else 1
        options: dict[str, Any] = {"dtype": np.float64, "ensure_all_finite": "allow-nan", "ensure_min_samples": least}
        given: Any = X
        checked = validate_data(self, given, reset=fitting, **options)
        return rows_of(np.asarray(checked))[0]

    def _settings(self) -> AnomalySettings:
        seed = self.random_state
        if seed is None:
            seed = int(np.random.default_rng().integers(2**31))
        elif not isinstance(seed, int | np.integer):
            seed = int(seed.randint(2**31))
        overrides = [f"model={self.model}", f"quiet={self.quiet}", f"seed={int(seed)}"]
        overrides += [f"threshold.rate={self.false_alarms}"]
        if self.threshold is not None:
            overrides += ["threshold.method=fixed", f"threshold.value={self.threshold}"]
        overrides += [f"{key}={value}" for key, value in (self.settings or {}).items()]
        return config.parse(AnomalySettings, {}, overrides, where="AnomalyDetector")
