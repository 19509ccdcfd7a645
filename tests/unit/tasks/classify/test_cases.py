"""Cases from files, frames and arrays, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from recurra.base.errors import DataError
from recurra.data.series.cases import cases_of, read_cases
from recurra.tasks.classify.prepare import prepare, stratified
from recurra.tasks.classify.settings import CaseSettings, ClassifySettings

PLAIN = CaseSettings()


def table(text, tmp_path, name="cases.csv"):
    path = tmp_path / name
    path.write_text(text)
    return read_cases(PLAIN, str(path))


LONG = "unique_id,ds,x,z,label\n" + "".join(
    f"{one},{t},{t * scale},{-t},{label}\n"
    for one, scale, label in (("p", 1, "up"), ("q", -1, "down"))
    for t in range(4)
)


def test_a_long_table(tmp_path):
    cases = table(LONG, tmp_path)
    assert cases.ids == ("p", "q")
    assert cases.names == ("x", "z")
    assert [cases.label_names[code] for code in cases.labels] == ["up", "down"]
    assert cases["q"].values[:, 0].tolist() == [0, -1, -2, -3]


def test_classes_that_are_numbers(tmp_path):
    cases = table(LONG.replace("up", "10").replace("down", "9"), tmp_path)
    assert cases.label_names == ("9", "10")


def test_numpy_files(tmp_path):
    X = np.arange(24.0).reshape(2, 3, 4)
    X[1, :, 3] = np.nan
    np.savez(tmp_path / "a.npz", X=X, y=np.array([1, 0]))
    cases = read_cases(PLAIN, str(tmp_path / "a.npz"))
    assert cases.lengths.tolist() == [4, 3]
    assert cases["0"].values[:, 1].tolist() == [4, 5, 6, 7]
    assert cases.labels.tolist() == [1, 0]
    np.save(tmp_path / "b.npy", X)
    assert read_cases(PLAIN, str(tmp_path / "b.npy")).labels is None


def test_archive_tables_and_ts(tmp_path):
    (tmp_path / "a.tsv").write_text("1\t0.5\t0.25\t1\n2\t1\t2\tNaN\n")
    cases = read_cases(PLAIN, str(tmp_path / "a.tsv"))
    assert cases.lengths.tolist() == [3, 2]
    (tmp_path / "b.ts").write_text("@classLabel true a b\n@data\n1,2,3:4,5,6:a\n1,?,3,4:0,0,0,0:b\n")
    cases = read_cases(PLAIN, str(tmp_path / "b.ts"))
    assert cases.values.shape == (7, 2)
    assert np.isnan(cases["1"].values[1, 0])
    with pytest.raises(DataError, match="class b was not in training, which had a, c"):
        read_cases(PLAIN, str(tmp_path / "b.ts"), ("a", "c"))
    # Told, not measured: its classes do not matter.
    assert len(read_cases(PLAIN, str(tmp_path / "b.ts"), ("a", "c"), labelled=False)) == 2


def test_frames():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"unique_id": ["a"] * 3 + ["b"] * 3, "y": range(6), "class": ["u"] * 3 + ["v"] * 3})
    cases = read_cases(PLAIN, frame)
    assert cases.label_names == ("u", "v")
    assert cases["b"].values[:, 0].tolist() == [3, 4, 5]


def test_codes_are_those_of_the_model():
    cases = read_cases(PLAIN, cases_of(np.eye(3), ["b", "c", "b"]), ("a", "b", "c"))
    assert cases.labels.tolist() == [1, 2, 1]
    assert cases.label_names == ("a", "b", "c")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("x,label\n1,a\n2,b\n", "no column tells the cases apart"),
        ("unique_id,x,label\na,1,u\na,2,v\n", "case 'a' is of class 'u' and of class 'v'"),
        ("unique_id,x,label\na,1,u\nb,2,\n", "1 cases have no class in column 'label', the first 'b'"),
        ("unique_id,x,label\na,inf,u\nb,2,v\n", "infinit"),
        ("unique_id,x,label\na,,u\nb,2,v\n", "1 of 2 cases have no value, the first 'a'"),
        ("unique_id,x,label\na,one,u\nb,2,v\n", "no column holds values"),
    ],
)
def test_tables_that_are_refused(text, said, tmp_path):
    with pytest.raises(DataError, match=said):
        table(text, tmp_path)


def test_other_things_that_are_refused(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read_cases(PLAIN, str(tmp_path / "none.npz"))
    (tmp_path / "bad.npz").write_bytes(b"nothing of the kind")
    with pytest.raises(DataError, match="could not be read"):
        read_cases(PLAIN, str(tmp_path / "bad.npz"))
    np.savez(tmp_path / "words.npz", X=np.array([["a"]]))
    with pytest.raises(DataError, match="X must be"):
        read_cases(PLAIN, str(tmp_path / "words.npz"))
    with pytest.raises(DataError, match="3 cases, but 2 classes"):
        cases_of(np.eye(3), [0, 1])
    with pytest.raises(DataError, match="a case must be"):
        cases_of(np.zeros((2, 3, 4, 5)))
    with pytest.raises(DataError, match="not one case"):
        cases_of([])
    with pytest.raises(DataError, match="every case is of class 'a'"):
        prepare(cases_of(np.eye(3), ["a"] * 3), ClassifySettings())
    with pytest.raises(DataError, match="have no classes"):
        prepare(cases_of(np.eye(3)), ClassifySettings())


def test_validation_takes_its_share_of_every_class():
    labels = np.repeat([0, 1, 2, 3], [50, 10, 2, 1])
    learnt, held = stratified(labels, 0.2, 0)
    assert np.bincount(labels[held], minlength=4).tolist() == [10, 2, 1, 0]
    assert sorted([*learnt, *held]) == list(range(63))
    assert len(stratified(labels, 0.0, 0)[1]) == 0
    assert stratified(labels, 0.2, 1)[1].tolist() != held.tolist()


def test_scales_are_those_of_what_is_observed():
    X = [np.array([[1.0, np.nan, 3.0], [10, 10, 10]]), np.array([[5.0], [10]])]
    cases = cases_of(X, [0, 1])
    made = prepare(cases, ClassifySettings())
    assert made.masked
    assert made.location == (3.0, 10.0)
    assert made.scale == (pytest.approx(np.sqrt(8 / 3)), 1.0)
    x, lengths = made.pack(cases)
    assert x.shape == (2, 3, 4)
    assert lengths.tolist() == [3, 1]
    assert x[0, :, 2].tolist() == [1, 0, 1]
    assert x[1, 1:].abs().sum() == 0
    blind = prepare(cases_of(np.eye(2), [0, 1]), ClassifySettings())
    with pytest.raises(DataError, match="1 cases have missing values"):
        blind.pack(cases_of([[1.0, np.nan, 2.0], [1.0, 2.0]]))
    with pytest.raises(DataError, match="2 channels, the model was trained with 1"):
        blind.pack(cases)
