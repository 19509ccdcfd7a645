"""Pairs of events and detections against scipy's matching and enumeration; figures by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import maximum_bipartite_matching

from recurra.tasks.events.match import Counts, match, match_spans

times = st.lists(st.integers(0, 30), max_size=12).map(lambda found: np.array(sorted(found), float))


@given(times, times, st.integers(0, 4))
def test_as_many_pairs_as_there_can_be(truth, found, tolerance):
    pairs = match(truth, found, tolerance)
    assert len(set(pairs[:, 0])) == len(set(pairs[:, 1])) == len(pairs)
    assert (np.abs(truth[pairs[:, 0]] - found[pairs[:, 1]]) <= tolerance).all()
    near = np.abs(truth[:, None] - found) <= tolerance
    most = (maximum_bipartite_matching(csr_matrix(near)) >= 0).sum() if near.size else 0
    assert len(pairs) == most


def test_spans_against_every_assignment():
    rng = np.random.default_rng(0)
    for _ in range(20):
        truth, found = (np.sort(rng.integers(0, 15, (4, 2)), axis=1).astype(float) for _ in range(2))
        fits = np.array(
            [
                [abs(a - c) <= 2 and abs(b - d) <= max(2, 0.5 * (b - a)) for c, d in found.tolist()]
                for a, b in truth.tolist()
            ]
        )
        best = max(sum(fits[i, j] for i, j in enumerate(order)) for order in itertools.permutations(range(4)))
        pairs = match_spans(truth, found, 2)
        assert len(pairs) == best
        assert fits[pairs[:, 0], pairs[:, 1]].all()
    assert match_spans(np.empty((0, 2)), found, 2).shape == (0, 2)


def test_figures():
    counts = Counts(8, 2, 4, tuple(np.arange(8) / 10), (0.1,) * 8)
    said = counts.numbers(0.5)
    assert (said["precision"], said["recall"], said["f1"]) == (0.8, pytest.approx(2 / 3), pytest.approx(8 / 11))
    assert said["false_per_hour"] == 4.0
    assert said["delay_median_s"] == pytest.approx(0.35)
    assert said["delay_95_s"] == pytest.approx(np.quantile(np.arange(8) / 10, 0.95))
    assert (counts + counts).true == 16
    nothing = Counts(0, 0, 0, (), ()).numbers(1.0)
    assert nothing["precision"] is None
    assert nothing["f1"] is None
