"""Tables become series: gaps, duplicates, zones, covariates, and what is refused."""

from __future__ import annotations

import gzip

import numpy as np
import pytest

from recurra.base.errors import DataError
from recurra.data.series import as_frame, read_columns, read_series, series_from_rows

LONG = "unique_id,ds,y,promo,kind\nb,2024-01-01,1,0,x\nb,2024-01-02,2,1,x\na,2024-01-01,5,0,z\na,2024-01-03,7,1,z\n"


def written(tmp_path, text, name="data.csv"):
    path = tmp_path / name
    path.write_text(text)
    return path


def test_long_table_with_a_gap(tmp_path):
    found = read_series(written(tmp_path, LONG), known=["promo"], static=["kind"])
    assert found.ids == ("b", "a")
    assert found.lengths.tolist() == [2, 3]
    np.testing.assert_array_equal(found["a"].values[:, 0], [5, np.nan, 7])
    np.testing.assert_array_equal(found["a"].known[:, 0], [0, np.nan, 1])
    assert str(found.frequency) == "D"
    assert found.levels == (("x", "z"),)
    assert found.categories[:, 0].tolist() == [0, 1]
    assert [str(stamp)[:10] for stamp in found["a"].stamps] == ["2024-01-01", "2024-01-02", "2024-01-03"]


def test_wide_table_gzipped(tmp_path):
    path = tmp_path / "wide.csv.gz"
    path.write_bytes(gzip.compress(b"date,A,B\n2024-01-01 00:00,1,2\n2024-01-01 00:15,NA,4\n"))
    found = read_series(path)
    assert found.names == ("A", "B")
    assert str(found.frequency) == "15min"
    single = found.univariate()
    assert single.ids == ("A", "B")
    np.testing.assert_array_equal(single["A"].values[:, 0], [1, np.nan])


def test_unsorted_rows_are_sorted(tmp_path):
    found = read_series(written(tmp_path, "ds,y\n3,30\n1,10\n2,20\n"))
    assert found.values[:, 0].tolist() == [10, 20, 30]


def test_no_head_and_tabs(tmp_path):
    found = read_series(written(tmp_path, "1.0\t2.0\n3.0\t4.0\n", "plain.txt"))
    assert found.values.tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(("how", "wanted"), [("first", 1.0), ("last", 3.0), ("mean", 2.0), ("sum", 4.0)], ids=str)
def test_duplicates(tmp_path, how, wanted):
    path = written(tmp_path, "ds,y\n2024-01-01,1\n2024-01-01,3\n2024-01-02,5\n")
    with pytest.raises(DataError, match="1 rows repeat a stamp, the first 2024-01-01 of series 'series'"):
        read_series(path)
    assert read_series(path, duplicates=how).values[0, 0] == wanted


def test_summer_time(tmp_path):
    # In Berlin the hour from 2 to 3 came twice on that night; the wall clock repeats, UTC does not.
    clock = ["01:00", "02:00", "02:00", "03:00"]
    rows = "".join(f"2024-10-27 {hour},{value}\n" for value, hour in enumerate(clock))
    found = read_series(written(tmp_path, "ds,y\n" + rows), zone="Europe/Berlin")
    assert found.values[:, 0].tolist() == [0, 1, 2, 3]
    assert [str(stamp)[11:16] for stamp in found.stamps] == ["23:00", "00:00", "01:00", "02:00"]


def test_offsets_become_utc(tmp_path):
    text = "ds,y\n2024-03-31T01:00+01:00,1\n2024-03-31T03:00+02:00,2\n"
    found = read_series(written(tmp_path, text))
    assert str(found.frequency) == "h"
    assert found.zone == "UTC"
    assert str(found.stamps[0])[:16] == "2024-03-31T00:00"


def test_months_keep_their_end(tmp_path):
    found = read_series(written(tmp_path, "ds,y\n2024-01-31,1\n2024-02-29,2\n2024-04-30,4\n"), frequency="M")
    assert [str(stamp)[:10] for stamp in found.stamps] == ["2024-01-31", "2024-02-29", "2024-03-31", "2024-04-30"]
    assert np.isnan(found.values[2, 0])


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        ("ds,y\n1,inf\n2,3\n", {}, "1 infinities, the first in row 1"),
        ("ds,y\n1,a\n2,b\n", {}, "holds no numbers"),
        ("ds,y\n1,2\n", {"target": "z"}, "no column is called 'z'"),
        ("ds,y\n", {}, "holds no row"),
        ("", {}, "is empty"),
        ("ds,y\n1,2\n2\n", {}, "line 3 has 1 cells, the head has 2"),
        ("ds,y\n2024-01-01,1\nsoon,2\n", {}, "no date and no whole number: 'soon'"),
        ("ds,y\n2024-01-01,1\n2024-01-02,1\n2024-01-03 05:00,1\n", {}, "not spaced by D"),
        (
            "unique_id,ds,y\na,1,1\na,2,1\na,3,1\na,4,1\nb,1,1\nb,3,1\nb,5,1\nb,7,1\n",
            {},
            r"different frequencies: 1 \(1 series\), 2",
        ),
        ("unique_id,ds,y,s\na,1,1,3\na,2,1,4\n", {"static": ["s"]}, "changes within series 'a'"),
        ("ds,y\n2024-01-01T00:00Z,1\n2024-01-01T01:00,1\n", {}, "1 of 2 stamps have an offset"),
        ("y,y\n1,2\n", {}, "two columns are called y"),
    ],
    ids=lambda value: value if isinstance(value, str) and "\n" not in value else "",
)
def test_what_is_refused(tmp_path, text, options, said):
    with pytest.raises(DataError, match=said):
        read_series(written(tmp_path, text), **options)


def test_a_missing_file_and_a_folder(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read_series(tmp_path / "none.csv")
    with pytest.raises(DataError, match="is a folder"):
        read_series(tmp_path)


def test_text_covariates_become_columns(tmp_path):
    found = read_series(written(tmp_path, "ds,y,wind\n1,1,N\n2,2,S\n3,3,\n"), past=["wind"])
    assert found.past_names == ("wind=N", "wind=S")
    np.testing.assert_array_equal(found.past, [[1, 0], [0, 1], [np.nan, np.nan]])


def test_pandas_in_and_out():
    pandas = pytest.importorskip("pandas")
    stamps = pandas.date_range("2024-01-01", periods=3, freq="D")
    frame = pandas.DataFrame({"unique_id": ["a"] * 3, "ds": stamps, "y": [1.0, None, 3.0]})
    found = read_series(frame)
    np.testing.assert_array_equal(found.values[:, 0], [1, np.nan, 3])
    assert str(found.frequency) == "D"
    back = as_frame({"unique_id": np.array(["a"]), "y": np.array([1.0])}, "pandas")
    assert isinstance(back, pandas.DataFrame)
    aware = frame.assign(ds=stamps.tz_localize("Europe/Berlin"))
    assert str(read_series(aware).stamps[0])[:16] == "2023-12-31T23:00"
    with pytest.raises(DataError, match="no rows"):
        read_columns(frame.iloc[:0])


def test_polars_in():
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame({"ds": [1, 2, 3], "y": [1.0, None, 3.0]})
    np.testing.assert_array_equal(read_series(frame).values[:, 0], [1, np.nan, 3])


def test_parquet(tmp_path):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    path = tmp_path / "data.parquet"
    pandas.DataFrame({"ds": [1, 2], "y": [1.0, 2.0]}).to_parquet(path)
    assert read_series(path).values[:, 0].tolist() == [1, 2]


def test_rows_of_a_competition(tmp_path):
    found = series_from_rows(written(tmp_path, '"V1","V2","V3","V4"\n"H1","5","6",""\n"H2","1","2","3"\n'))
    assert found.ids == ("H1", "H2")
    assert found.lengths.tolist() == [2, 3]


def test_a_thousandfold_grid_is_a_wrong_frequency(tmp_path):
    path = written(tmp_path, "ds,y\n2024-01-01,1\n2024-01-02,2\n2034-01-03,3\n")
    with pytest.raises(DataError, match="is the frequency right"):
        read_series(path, frequency="s")
