"""Frequencies: inferred as pandas infers them, and grids without holes."""

from __future__ import annotations

import numpy as np
import pytest

from recurra.base.errors import DataError
from recurra.data.series import infer_frequency, parse_frequency


@pytest.mark.parametrize("name", ["h", "15min", "D", "B", "W", "MS", "ME", "QS", "YS", "30s", "2h"])
def test_like_pandas(name):
    pandas = pytest.importorskip("pandas")
    stamps = pandas.date_range("2023-01-31", periods=40, freq=name).to_numpy().astype("datetime64[us]")
    found = infer_frequency(stamps)
    assert found == parse_frequency(name)
    np.testing.assert_array_equal(found.places(stamps), np.arange(40))
    np.testing.assert_array_equal(found.stamps(stamps[0], np.arange(40)), stamps)


def test_the_commonest_step_wins():
    stamps = np.array(["2024-01-01", "2024-01-02", "2024-01-03", "2024-01-07"], "datetime64[us]")
    assert str(infer_frequency(stamps)) == "D"
    assert infer_frequency(stamps[:1]) is None
    assert str(infer_frequency(np.array([10, 20, 40, 50]))) == "10"


@pytest.mark.parametrize(
    ("name", "season"),
    [("h", 24), ("15min", 96), ("D", 7), ("W", 52), ("M", 12), ("Q", 4), ("Y", 1), ("s", 3600), ("1", 1)],
)
def test_seasons(name, season):
    assert parse_frequency(name).season == season


@pytest.mark.parametrize("name", ["", "fortnight", "0h", "-1"])
def test_refused(name):
    with pytest.raises(DataError, match="frequency"):
        parse_frequency(name)
