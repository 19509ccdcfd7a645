"""Thresholds from scores of normal rows, for a share of false alarms that is stated before."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from recurra.base.errors import DataError, message

__all__ = ["ParetoTail", "fit_tail", "quantile_threshold", "tail_threshold"]

_LEAST = 10
_START, _EARLIEST = 0.95, 0.8


class ParetoTail(NamedTuple):
    """P(score > start + z) = share (1 + shape z / scale)^(-1 / shape): a generalised Pareto tail."""

    start: float
    share: float
    shape: float
    scale: float

    def threshold(self, rate: float) -> float:
        """The score that a share `rate` of rows exceeds."""
        ratio = rate / self.share
        if abs(self.shape) < 1e-9:
            return self.start - self.scale * math.log(ratio)
        return self.start + self.scale / self.shape * (ratio**-self.shape - 1)


def quantile_threshold(scores: np.ndarray, rate: float) -> float:
    """The score that a share `rate` of these scores (n,) exceeds; NaN is left out.

    Raises DataError where there are too few to say: fewer than 1 / rate.
    """
    scores = _kept(scores)
    if len(scores) * rate < 1:
        fact = f"{len(scores)} scores say nothing about one in {1 / rate:,.0f}"
        raise DataError(message("quantile_threshold", fact, hint="a tail can: threshold.method=tail; or more data."))
    return float(np.quantile(scores, 1 - rate))


def fit_tail(scores: np.ndarray, start: float = _START) -> ParetoTail:
    """The tail of scores (n,) above their quantile `start`, by probability-weighted moments (Hosking & Wallis 1987).

    Peaks over a threshold, as SPOT has them (Siffer et al. 2017, who maximise the likelihood). Raises DataError where
    fewer than 10 scores lie above.
    """
    scores = _kept(scores)
    at = float(np.quantile(scores, start)) if len(scores) else math.nan
    beyond = np.sort(scores[scores > at]) - at
    count = len(beyond)
    if count < _LEAST:
        fact = f"{count} of {len(scores)} scores lie above their {start:g} quantile; a tail needs {_LEAST}"
        raise DataError(message("fit_tail", fact, hint="more validation rows, or threshold.method=fixed."))
    places = (np.arange(1, count + 1) - 0.35) / count
    first, second = float(beyond.mean()), float(((1 - places) * beyond).mean())
    shape = 2 - first / (first - 2 * second)
    # Heavier than this a tail has no mean, and moments say nothing about it.
    shape = min(shape, 0.95)
    return ParetoTail(at, count / len(scores), shape, first * (1 - shape))


def tail_threshold(scores: np.ndarray, rate: float) -> float:
    """The threshold of `fit_tail`, or the plain quantile where that lies inside the data.

    Raises DataError for too few scores.
    """
    count = len(_kept(scores))
    # Of few scores more are taken for the tail, or there would be none.
    tail = fit_tail(scores, min(_START, max(_EARLIEST, 1 - 1.1 * _LEAST / max(count, 1))))
    if rate >= tail.share:
        return quantile_threshold(scores, rate)
    return tail.threshold(rate)


def _kept(scores: np.ndarray) -> np.ndarray:
    scores = np.asarray(scores, np.float64).ravel()
    return scores[~np.isnan(scores)]
