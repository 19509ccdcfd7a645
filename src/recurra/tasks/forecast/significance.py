"""Whether one forecast is better than another beyond chance."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy import stats

from recurra.base.errors import DataError, message

__all__ = ["Comparison", "diebold_mariano"]


class Comparison(NamedTuple):
    """mean: of the loss differences, negative where the first is better. p: two-sided."""

    mean: float
    statistic: float
    p: float
    count: int

    def says(self, level: float = 0.05) -> str:
        """In words: better, worse or no difference."""
        if not self.p < level:
            return "no difference"
        return "better" if self.mean < 0 else "worse"


def diebold_mariano(first: np.ndarray, second: np.ndarray, horizon: int) -> Comparison:
    """Test of equal accuracy (Diebold and Mariano 1995), corrected for small samples (Harvey et al. 1997).

    first, second: (n,) losses at consecutive origins, one step apart; forecasts over `horizon` steps overlap, so the
    variance counts autocovariances up to horizon - 1 (with Bartlett's weights, so that it is never negative).
    Raises DataError for fewer than 10 pairs.

    >>> rng = np.random.default_rng(0)
    >>> diebold_mariano(rng.normal(0, 1, 500) ** 2, rng.normal(0, 2, 500) ** 2, 1).says()
    'better'
    """
    gap = np.asarray(first, np.float64) - np.asarray(second, np.float64)
    gap = gap[~np.isnan(gap)]
    n = len(gap)
    if n < 10 or horizon < 1:
        raise DataError(message("diebold_mariano", f"needs 10 pairs and a horizon of 1, got {n} and {horizon}"))
    mean = float(gap.mean())
    centred = gap - mean
    lags = min(horizon, n - 1)
    variance = float(centred @ centred) / n
    for lag in range(1, lags):
        variance += 2 * (1 - lag / lags) * float(centred[lag:] @ centred[:-lag]) / n
    if variance <= 0:
        return Comparison(mean, 0.0 if mean == 0 else math.copysign(math.inf, mean), 1.0 if mean == 0 else 0.0, n)
    correction = max((n + 1 - 2 * horizon + horizon * (horizon - 1) / n) / n, 1 / n)
    statistic = mean / math.sqrt(variance / n) * math.sqrt(correction)
    return Comparison(mean, statistic, float(2 * stats.t.sf(abs(statistic), n - 1)), n)
