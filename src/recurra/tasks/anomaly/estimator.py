"""fit, score_samples, predict: a detector of anomalous rows as scikit-learn's users expect one."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from recurra.tasks.anomaly.detector import Judged, OnlineRun
from recurra.tasks.anomaly.live import AnomalyLive
from recurra.tasks.anomaly.settings import AnomalySettings, ThresholdSettings
from recurra.tasks.anomaly.table import Rows, rows_of
from recurra.tasks.anomaly.task import Anomaly, AnomalyData
from recurra.tasks.estimator import OutlierMixin, TaskEstimator
from recurra.tasks.train import fit

__all__ = ["AnomalyDetector"]


class AnomalyDetector(OutlierMixin, TaskEstimator):
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

    recipe = AnomalySettings()
    parameters = {  # noqa: RUF012
        "model": "model",
        "threshold": "",
        "false_alarms": "threshold.rate",
        "quiet": "quiet",
        "random_state": "seed",
    }

    def fit(self, X: Any, y: Any = None) -> AnomalyDetector:
        """Learn from X (T, C), or a list of such; y is ignored."""
        del y
        series = self._series(X, fitting=True)
        channels = tuple(f"y{channel}" for channel in range(series[0].values.shape[1]))
        self.detector_: Any = fit(Anomaly(), self._settings(), AnomalyData(series, channels))
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
        """Return a live detector: `step(ids, stamps, values)`."""
        self.require_fitted()
        online = isinstance(self.detector_, OnlineRun)
        return self.detector_.live(cold=True) if online else self.detector_.live()

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()  # pyright: ignore[reportAttributeAccessIssue]
        tags.input_tags.allow_nan = True
        return tags

    def _judged(self, X: Any) -> Judged:
        self.require_fitted()
        return self.detector_.judge(self._series(X, fitting=False))[0]

    def _series(self, X: Any, *, fitting: bool) -> list[Rows]:
        if isinstance(X, list) and X and isinstance(X[0], np.ndarray) and X[0].ndim == 2:
            return rows_of(X)[0]
        try:
            from sklearn.utils.validation import validate_data
        except ImportError:
            return rows_of(np.asarray(X, np.float64))[0]
        minimum = 2 if fitting else 1
        options: dict[str, Any] = {"dtype": np.float64, "ensure_all_finite": "allow-nan", "ensure_min_samples": minimum}
        validate: Any = validate_data
        checked = validate(self, X, reset=fitting, **options)
        return rows_of(np.asarray(checked))[0]

    threshold: float | None

    def _settings(self) -> AnomalySettings:
        """With a threshold of its own, that one."""
        settings = self.task_settings()
        if self.threshold is None:
            return settings
        fixed = ThresholdSettings(method="fixed", rate=settings.threshold.rate, value=float(self.threshold))
        return msgspec.structs.replace(settings, threshold=fixed)
