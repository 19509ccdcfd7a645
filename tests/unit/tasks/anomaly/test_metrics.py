"""Events, average precision and thresholds against definitions and peers."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import genpareto
from sklearn.metrics import average_precision_score

from recurra.base.errors import DataError
from recurra.tasks.anomaly.metrics import Events, average_precision, events_of
from recurra.tasks.anomaly.threshold import fit_tail, quantile_threshold, tail_threshold


def flags(size, *rows):
    found = np.zeros(size, bool)
    found[list(rows)] = True
    return found


def test_events_by_hand():
    labels = flags(20, 5, 6, 7, 12, 13)
    events = events_of(flags(20, 6, 7, 10, 18), labels)
    assert events == Events(windows=2, found=1, alarms=3, false_alarms=2, delays=(1,))
    assert (events.precision, events.recall) == (pytest.approx(1 / 3), 0.5)
    assert events.f1 == pytest.approx(0.4)
    near = events_of(flags(20, 6, 7, 10, 18), labels, tolerance=2)
    assert near == Events(2, 2, 3, 1, (1, -2))
    assert Events.sum([events, near]).delays == (1, 1, -2)


def test_long_events_are_not_adjusted_by_points():
    labels = flags(100, *range(20, 80))
    one, all_ = events_of(flags(100, 30), labels), events_of(labels, labels)
    assert one.f1 == all_.f1 == 1.0
    assert events_of(flags(100, 5), labels).f1 == 0.0
    assert np.isnan(events_of(flags(10, 3), np.zeros(10, bool)).f1)


@pytest.mark.parametrize("seed", range(5))
def test_average_precision_is_scikit_learns(seed):
    g = np.random.default_rng(seed)
    labels = g.random(200) < 0.1
    scores = np.round(g.random(200) + 0.3 * labels, 1)
    assert average_precision(scores, labels) == pytest.approx(average_precision_score(labels, scores), abs=1e-12)
    assert np.isnan(average_precision(scores, np.zeros(200, bool)))


@pytest.mark.parametrize("shape", [-0.2, 0.0, 0.3])
def test_tail_of_a_pareto(shape):
    scores = genpareto.rvs(shape, scale=2.0, size=200_000, random_state=0)
    tail = fit_tail(scores, 0.9)
    # Beyond a threshold u the tail is again of this kind, with scale + shape u.
    u = genpareto.ppf(0.9, shape, scale=2.0)
    assert tail.shape == pytest.approx(shape, abs=0.03)
    assert tail.scale == pytest.approx(2.0 + shape * u, rel=0.05)
    assert tail.threshold(1e-4) == pytest.approx(genpareto.ppf(1 - 1e-4, shape, scale=2.0), rel=0.1)


def test_the_stated_rate_holds_on_new_rows():
    g = np.random.default_rng(1)
    rates = []
    for _ in range(20):
        threshold = tail_threshold(g.exponential(size=2000), 1e-3)
        rates.append(np.exp(-threshold))
    assert 0.5e-3 < np.median(rates) < 2e-3


def test_too_little_says_so():
    with pytest.raises(DataError, match="a tail needs 10"):
        tail_threshold(np.arange(40.0), 1e-3)
    with pytest.raises(DataError, match="say nothing about one in 1,000"):
        quantile_threshold(np.arange(50.0), 1e-3)
    assert quantile_threshold(np.append(np.arange(101.0), np.nan), 0.1) == 90
