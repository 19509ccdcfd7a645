"""The statistics of a comparison against formulas written out here and against SciPy."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from recurra.tasks.compare import CompareSettings, table
from recurra.tasks.compare.picture import Group, dot_chart, rate_chart
from recurra.tasks.compare.table import holm, lines, p_value

SETTINGS = CompareSettings(task="chorales", trials=2, low=0.01, high=0.1)


def record(cell: str, stage: str, rate: float, seed: int, value: float | None) -> dict:
    facts = {"cell": cell, "hidden": 3, "stage": stage, "rate": rate, "seed": seed, "parameters": 99, "seconds": 2.0}
    return {**facts, "value": value, "watched": value, "failed": None if value is not None else "ran away"}


def test_welch_by_hand():
    one, other = [8.1, 8.3, 8.2, 8.5], [8.6, 8.9, 8.4]
    a, b = np.array(one), np.array(other)
    square_a, square_b = a.var(ddof=1) / len(a), b.var(ddof=1) / len(b)
    t = (a.mean() - b.mean()) / math.sqrt(square_a + square_b)
    freedom = (square_a + square_b) ** 2 / (square_a**2 / (len(a) - 1) + square_b**2 / (len(b) - 1))
    assert p_value(one, other) == pytest.approx(2 * stats.t.sf(abs(t), freedom), rel=1e-12)


def test_mann_and_whitney_by_counting():
    one, other = [1.0, 2.0, 4.0], [3.0, 5.0, 6.0, 7.0]

    def wins(chosen: tuple[float, ...]) -> int:
        rest = [value for value in (*one, *other) if value not in chosen]
        return sum(a > b for a in chosen for b in rest)

    every = [wins(chosen) for chosen in itertools.combinations((*one, *other), 3)]
    seen, middle = wins(tuple(one)), 3 * 4 / 2
    expected = sum(abs(count - middle) >= abs(seen - middle) for count in every) / len(every)
    assert p_value(one, other, "mann-whitney") == pytest.approx(expected)


def test_samples_that_say_nothing():
    assert math.isnan(p_value([1.0], [2.0, 3.0]))
    assert p_value([1.0, 1.0], [1.0, 1.0]) == 1.0
    assert 0 < p_value([1.0, 1.0, 1.0], [0.0, 0.0, 0.0]) < 0.2


def test_holm_against_its_definition():
    raw = [0.04, 0.001, 0.3, 0.02, math.nan]
    order = sorted(range(4), key=lambda index: raw[index])
    expected = {order[k]: max((4 - j) * raw[order[j]] for j in range(k + 1)) for k in range(4)}
    found = holm(raw)
    assert found[:4] == pytest.approx([min(1.0, expected[index]) for index in range(4)])
    assert math.isnan(found[4])


def test_rows_stand_by_their_mean_and_those_with_failures_below():
    from recurra.tasks.compare.trial import rates

    low, high = rates(SETTINGS)
    records = []
    for cell, values in {"gru": [8.5, 8.6, 8.7], "lstm": [8.3, 8.4, 8.5], "elman": [8.0, None, 8.1]}.items():
        records += [record(cell, "search", low, 1000, 8.9), record(cell, "search", high, 1000, 8.4)]
        records += [record(cell, "seed", high, seed, value) for seed, value in enumerate(values)]
        # Of another rate, before more trials were asked for: not compared.
        records.append(record(cell, "seed", low, 0, 7.0))
    rows = table(SETTINGS, records)
    assert [row.cell for row in rows] == ["lstm", "gru", "elman"]
    assert rows[0].mean == pytest.approx(8.4)
    assert rows[0].spread == pytest.approx(0.1)
    assert (rows[0].best, rows[0].worst, rows[0].p) == (8.3, 8.5, None)
    assert (rows[2].values, rows[2].failed) == ((8.0, 8.1), 1)
    raw = [p_value(rows[0].values, row.values) for row in rows[1:]]
    assert [row.p for row in rows[1:]] == pytest.approx(holm(raw))
    shown = lines(SETTINGS, rows)
    assert shown[0] == "chorales: test (lower is better)"
    assert shown[2].split()[:7] == ["lstm", "3", "99", f"{high:.2g}", "3", "8.4", "0.1"]
    assert "2/3" in shown[4]
    assert shown[-1].startswith("seeds 4/5")


def test_pictures_hold_a_dot_per_value_and_survive_odd_values():
    dots = dot_chart([Group("a<b", [1.0, 2.0, 3.0], "4 units"), Group("same", [2.0, 2.0]), Group("none", [])], "error")
    assert dots.count("<circle") == 5
    assert "a&lt;b" in dots
    assert dots.count("<rect") == 1
    curves = {"lstm": [(0.1, 5.0), (0.01, 1.0), (0.02, 1.2)], "gru": [(0.1, 1e9), (0.01, 1.1), (0.02, 1.0)], "x": []}
    picture = rate_chart(curves, "error", {"lstm": 0.01, "gru": 0.02})
    # Three points a curve, two rings, two legends.
    assert picture.count("<circle") == 6 + 2 + 2
    assert "nan" not in picture
    assert rate_chart({"one": [(0.1, 1.0)]}, "error", {}).count("<circle") == 2
    assert "<svg" in dot_chart([], "nothing")
