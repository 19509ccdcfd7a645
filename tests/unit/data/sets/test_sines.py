"""Sums of sines: they obey the linear recurrence whose roots are their frequencies."""

from __future__ import annotations

import numpy as np
import pytest

from recurra.base.errors import DataError
from recurra.data.sets.sines import MSO, sines


@pytest.mark.parametrize("count", [1, 2, 5, 8])
def test_the_series_has_the_frequencies_it_should(count):
    series = sines(200, count).ravel()
    rule = np.array([1.0])
    for frequency in MSO[:count]:
        rule = np.convolve(rule, [1.0, -2 * np.cos(frequency), 1.0])
    assert np.abs(np.convolve(series, rule, mode="valid")).max() < 1e-9
    # And with one frequency less it would not hold.
    assert np.abs(np.convolve(series, rule[: -2 or None], mode="valid")).max() > 1e-3


def test_normalised():
    series = sines(500, 3, normalise=True)
    assert series.min() == -1
    assert series.max() == 1


@pytest.mark.parametrize(
    ("options", "part"),
    [({"frequencies": 0}, "12 MSO"), ({"frequencies": 13}, "12 MSO"), ({"frequencies": []}, "finite")],
)
def test_what_cannot_be_is_an_error(options, part):
    with pytest.raises(DataError, match=part):
        sines(10, **options)
