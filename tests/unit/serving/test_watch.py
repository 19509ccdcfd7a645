"""Rows from lines, answers in order, faults told and passed over, a state that goes on."""

from __future__ import annotations

import json

import numpy as np
import pytest

from recurra.base.errors import CheckpointError, ConfigError, DataError
from recurra.data.clock import moment
from recurra.serving.rows import Fault, Row, RowReader
from recurra.serving.watch import Watch, dumped


class Sums:
    """The running sum of each stream; refuses the value 13."""

    columns = ("y",)

    def __init__(self) -> None:
        self.sums: dict[str, np.ndarray] = {}
        self.batches: list[int] = []

    def step(self, ids, stamps, values):
        if (values == 13).any():
            raise DataError("Sums: 13 is refused.")
        self.batches.append(len(ids))
        for one, value in zip(ids, values, strict=True):
            self.sums[one] = self.sums.get(one, np.zeros(1)) + np.nan_to_num(value)
        return [[{"sum": float(self.sums[one][0]), "alarm": bool(self.sums[one][0] > 100)}] for one in ids]

    def state(self):
        return {"sums": dict(self.sums)}

    def load_state(self, state):
        self.sums = {name: np.array(part) for name, part in state["sums"].items()}


def rows(text, **options):
    reader = RowReader(options.pop("columns", ("y",)), **options)
    return [row for line in text.splitlines() if (row := reader.read(line)) is not None]


def answers(watch, text, **options):
    return [(one.record, one.fault) for one in watch.push(rows(text, **options))]


@pytest.mark.parametrize(
    "text",
    [
        "unique_id,ds,y\na,2024-01-01,1\nb,2024-01-01,2\n",
        "y;unique_id;ds\n1;a;2024-01-01\n\n2;b;2024-01-01\n",
        "unique_id\tds\ty\textra\na\t2024-01-01\t1\tx\nb\t2024-01-01\t2\ty\n",
        '{"unique_id": "a", "ds": "2024-01-01", "y": 1}\n{"y": 2.0, "ds": "2024-01-01", "unique_id": "b"}\n',
    ],
)
def test_csv_and_json_are_one(text):
    found = rows(text)
    assert [(row.id, row.stamp, row.values) for row in found] == [
        ("a", "2024-01-01", (1.0,)),
        ("b", "2024-01-01", (2.0,)),
    ]


def test_heads():
    assert [row.values for row in rows("1\n2\nNA\n")][:2] == [(1.0,), (2.0,)]
    assert rows("timestamp,value\n2024-01-01,3\n")[0].values == (3.0,)
    assert rows("2024-01-01,3\n", names=("ds", "y"))[0].values == (3.0,)
    twice = rows("ds,y\n2024-01-01,3\nds,y\n2024-01-02,4\n")
    assert [row.values[0] for row in twice] == [3, 4]
    with pytest.raises(DataError, match="has no column y"):
        rows("ds,a,b\n1,2,3\n")
    with pytest.raises(ConfigError, match="'when' is no column"):
        rows("ds,y\n1,2\n", time="when")


def test_stamps_become_moments():
    assert moment("2024-01-01 00:00:00+02:00")[0] == moment("2023-12-31 22:00")[0]
    assert moment("2024-01-01T00:00:00Z", "Europe/Berlin")[0] == moment("2024-01-01 01:00")[0]
    assert moment("12") == (12.0, False)
    with pytest.raises(DataError, match="no date and no number"):
        moment("soon")


def test_faults_are_told_with_their_line_and_passed_over():
    text = "\n".join(
        [
            "unique_id,ds,y",
            "a,2024-01-01,1",
            "a,2024-01-02,high",
            "a,2024-01-02,inf",
            "a,2024-01-02",
            "a,soon,1",
            "a,,1",
            "a,2024-01-01,5",
            "a,2023-01-01,5",
            "a,2024-01-02,13",
            "a,7,1",
            "a,2024-01-02,nan",
            "a,2024-01-03,4",
        ]
    )
    watch = Watch(Sums())
    found = answers(watch, text)
    faults = [record for record, fault in found if fault]
    assert [fault["line"] for fault in faults] == [3, 4, 5, 6, 7, 8, 9, 10, 11]
    parts = (
        "no number",
        "infinite",
        "cells",
        "no date",
        "no ds",
        "repeats",
        "before the one before",
        "refused",
        "a number",
    )
    for fault, part in zip(faults, parts, strict=True):
        assert part in fault["error"]
    assert [record["sum"] for record, fault in found if not fault] == [1, 1, 5]
    assert watch.counts() == {"rows": 3, "bad": 9, "known": 0, "series": 1}
    assert answers(watch, '{"y": 1')[0][0]["error"].startswith("is no JSON")


def test_answers_stand_in_the_order_of_rows_and_streams_go_together():
    model = Sums()
    text = "unique_id,ds,y\n" + "".join(f"{one},{t},1\n" for t in range(3) for one in "abc")
    found = answers(Watch(model), text)
    assert [(record["unique_id"], record["ds"]) for record, _ in found] == [
        (o, str(t)) for t in range(3) for o in "abc"
    ]
    assert model.batches == [3, 3, 3]
    assert all(json.loads(dumped(record)) == record for record, _ in found)


def test_one_bad_row_costs_the_others_nothing():
    found = answers(Watch(Sums()), "unique_id,ds,y\na,1,1\nb,1,13\nc,1,3\n")
    assert [record.get("sum") for record, _ in found] == [1.0, None, 3.0]


def test_every_so_many_and_alarms_always():
    found = answers(Watch(Sums(), every=3), "y\n" + "1\n" * 7 + "100\n")
    assert [record["sum"] for record, _ in found] == [3, 6, 107]
    with pytest.raises(ConfigError, match="--every"):
        Watch(Sums(), every=0)


def test_a_state_goes_on_and_known_rows_are_passed_over(tmp_path):
    text = "unique_id,ds,y\n" + "".join(f"{one},{t},{t}\n" for t in range(1, 9) for one in "ab")
    whole = answers(Watch(Sums()), text)
    first = Watch(Sums())
    head = answers(first, "\n".join(text.splitlines()[:8]))
    first.save(tmp_path / "state", {"offset": 7})
    second = Watch(Sums())
    assert second.restore(tmp_path / "state") == {"offset": 7}
    # The stream comes again from its beginning: what was answered is not answered again.
    rest = answers(second, text)
    assert head + rest == whole
    assert second.counts() == {"rows": 16, "bad": 0, "known": 7, "series": 2}
    assert answers(second, "unique_id,ds,y\na,3,1\n")[0][1]
    broken = (tmp_path / "state").read_bytes()
    (tmp_path / "state").write_bytes(broken[:-5])
    with pytest.raises(CheckpointError, match="damaged"):
        Watch(Sums()).restore(tmp_path / "state")


def test_a_state_of_another_run_is_refused(tmp_path):
    Watch(Sums()).save(tmp_path / "state", {})
    other = Sums()
    other.columns = ("y", "z")
    with pytest.raises(CheckpointError, match="this run reads y, z"):
        Watch(other).restore(tmp_path / "state")


def test_kinds():
    assert isinstance(rows("y\n1\n")[0], Row)
    assert isinstance(rows("y\nx\n")[0], Fault)
