"""Scales, the calendar, and the files of the archives."""

from __future__ import annotations

import numpy as np
import pytest

from recurra.base.errors import ConfigError, DataError
from recurra.data.series import (
    Frequency,
    SeriesSet,
    calendar_features,
    instance_scale,
    read_ts,
    series_scale,
)


@pytest.mark.parametrize("kind", ["standard", "robust", "mean", "none"])
def test_there_and_back(kind):
    series = SeriesSet.of([np.array([1.0, np.nan, 5.0, 9.0]), np.full(4, 3.0)])
    scale = series_scale(series, kind)
    values = series.values.reshape(2, 4, 1)
    moved = scale.forward(values.transpose(1, 0, 2))
    np.testing.assert_allclose(scale.back(moved).transpose(1, 0, 2), values, rtol=1e-12)
    # A constant series is not blown up.
    assert np.isfinite(moved[:, 1]).all()


def test_standard_is_scikit_learns():
    preprocessing = pytest.importorskip("sklearn.preprocessing")
    values = np.random.default_rng(0).normal(3, 2, (50, 2))
    scale = series_scale(SeriesSet.of([values]))
    np.testing.assert_allclose(scale.forward(values), preprocessing.StandardScaler().fit_transform(values), atol=1e-12)


def test_unknown_kind():
    with pytest.raises(ConfigError, match="kind must be"):
        series_scale(SeriesSet.of([np.arange(3.0)]), "log")


def test_instance_normalisation_ignores_what_is_missing():
    window = np.array([[1.0, np.nan, 3.0, np.nan], [np.nan] * 4])[..., None]
    last = instance_scale(window, "last")
    assert last.location[:, 0, 0].tolist() == [3, 0]
    standard = instance_scale(window, "standard")
    assert (standard.location[0, 0, 0], standard.scale[0, 0, 0]) == (2, 1)
    assert np.isfinite(standard.forward(window)[0, [0, 2]]).all()


def test_calendar_follows_the_zone():
    stamps = np.array(["2024-06-30T22:30"], "datetime64[us]")
    found, names = calendar_features(stamps, Frequency(30, "min"), "Europe/Berlin")
    # Half past midnight on Monday the first of July.
    said = dict(zip(names, found[0] + 0.5, strict=True))
    assert said["calendar.hour"] == 0
    assert said["calendar.weekday"] == 0
    assert said["calendar.day"] == 0
    np.testing.assert_allclose(said["calendar.minute"], 30 / 59)
    assert calendar_features(np.arange(3), Frequency(1, ""))[1] == ()


def test_ts_of_unequal_length(tmp_path):
    path = tmp_path / "a.ts"
    path.write_text("# told\n@problemName a\n@classLabel true x y\n@data\n1,2,?:4,5,6:y\n1:2:x\n")
    found = read_ts(path)
    assert found.lengths.tolist() == [3, 1]
    assert found.labels.tolist() == [1, 0]
    assert found.label_names == ("x", "y")
    np.testing.assert_array_equal(found["0"].values, [[1, 4], [2, 5], [np.nan, 6]])
    with pytest.raises(DataError, match="classes x, y are not among"):
        read_ts(path, ("z",))


@pytest.mark.parametrize(
    ("text", "said"), [("@data\n1,b:x\n", "line 2"), ("@data\n", "no series"), ("@data\n1:2\n1\n", "channels")]
)
def test_ts_refused(tmp_path, text, said):
    path = tmp_path / "a.ts"
    path.write_text(text)
    with pytest.raises(DataError, match=said):
        read_ts(path)


def test_the_archives(data_dir):
    vowels = data_dir / "ucr" / "JapaneseVowels_TRAIN.ts.gz"
    coffee = data_dir / "ucr" / "Coffee_TRAIN.txt"
    if not (vowels.exists() and coffee.exists()):
        pytest.skip("no UCR files")
    found = read_ts(vowels)
    assert (len(found), len(found.names), int(found.lengths.min()), int(found.lengths.max())) == (270, 12, 7, 26)
    assert len(found.label_names) == 9
    plain = read_ts(coffee)
    assert (len(plain), set(plain.lengths.tolist()), plain.label_names) == (28, {286}, ("0", "1"))
