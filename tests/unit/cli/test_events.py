"""recurra train events, eval, detect: files in, files out, one line for what is wrong."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from recurra.cli.main import main


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A stream of a step a minute with its classes in a column, the same without, and its events by themselves."""
    folder, rng = tmp_path_factory.mktemp("stream"), np.random.default_rng(0)
    x, label = 0.2 * rng.normal(size=1600), np.zeros(1600, int)
    t = 20
    while t < 1550:
        size = int(rng.integers(10, 20))
        x[t : t + size] += 2
        label[t : t + size] = 1
        t += size + int(rng.integers(20, 50))
    stamps = np.datetime64("2024-01-01", "m") + np.arange(1600)
    texts = [str(stamp).replace("T", " ") for stamp in stamps]
    whole = [f"{s},{v:.4f},{'high' if c else ''}" for s, v, c in zip(texts, x, label, strict=True)]
    (folder / "labelled.csv").write_text("\n".join(["ds,y,label", *whole]) + "\n")
    (folder / "plain.csv").write_text("\n".join(["ds,y", *(row.rsplit(",", 1)[0] for row in whole)]) + "\n")
    edges = np.flatnonzero(np.diff(label, prepend=0, append=0))
    rows = [f"{texts[a]},{texts[b - 1]},high" for a, b in zip(edges[::2], edges[1::2], strict=True)]
    (folder / "events.csv").write_text("\n".join(["start,end,label", *rows]) + "\n")
    return folder


FEW = ["--hidden", "8", "--iterations", "80", "--rate", "0.02", "--tolerance", "240", "--test", "0.2", "--quiet"]


@pytest.fixture(scope="module")
def trained(files):
    words = ["train", "events", str(files / "plain.csv"), "--events", str(files / "events.csv")]
    assert main([*words, "--out", str(files / "run"), *FEW]) == 0
    return files / "run"


def test_a_run_of_another_task(trained, files, capsys):
    assert main(["classify", str(trained), str(files / "plain.csv")]) == 2
    assert "is a run of the task events, which detects events, streams" in capsys.readouterr().err


def test_a_column_and_a_table_are_the_same(files, trained, capsys):
    out = files / "by_column"
    assert main(["train", "events", str(files / "labelled.csv"), "--out", str(out), *FEW, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    kept = json.loads((trained / "held_out.json").read_text())
    assert said["f1"] == kept["f1"]
    assert said["f1"] > 0.9
    assert said["part"] == "test"
    assert said["hours"] == pytest.approx(320 / 60)
    assert "Precision and recall" in (out / "report.html").read_text()


def test_events_to_a_file(trained, files, capsys):
    out = files / "found.csv"
    assert main(["detect", str(trained), str(files / "plain.csv"), "--out", str(out)]) == 0
    rows = list(csv.DictReader(out.read_text().splitlines()))
    assert list(rows[0]) == ["unique_id", "start", "end", "time", "label", "probability", "decided"]
    truth = list(csv.DictReader((files / "events.csv").read_text().splitlines()))
    assert abs(len(rows) - len(truth)) <= 2
    assert rows[0]["start"][:10] == "2024-01-01"
    assert main(["detect", str(trained), str(files / "plain.csv"), "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["start"] for line in lines] == [row["start"] for row in rows]


def test_measuring(trained, files, capsys):
    words = ["eval", str(trained), str(files / "plain.csv")]
    assert main([*words, str(files / "events.csv"), "--json"]) == 0
    one = json.loads(capsys.readouterr().out)
    assert main(["eval", str(trained), str(files / "labelled.csv"), "--json"]) == 0
    other = json.loads(capsys.readouterr().out)
    assert {**one, "file": ""} == {**other, "file": ""}
    assert one["f1"] > 0.9
    assert main([*words, str(files / "events.csv")]) == 0
    assert "false/h" in capsys.readouterr().out
    assert main(words) == 2
    assert "has no events to learn from or to compare with" in capsys.readouterr().err
    assert main(["report", str(trained)]) == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--label", "kind"], "no column is called 'kind'"),
        (["--events", "none.csv"], "no such file"),
        (["--test", "0.9"], "leave nothing to learn"),
        (["--frame", "5000"], "a frame has 5000"),
        (["--set", "decode.high=0.2", "--set", "decode.low=0.4"], "must not lie above"),
        ([], "no events to learn from"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_wrong_is_said(files, tmp_path, capsys, words, said):
    file = files / ("labelled.csv" if "--frame" in words else "plain.csv")
    assert main(["train", "events", str(file), "--out", str(tmp_path / "run"), "--quiet", *words]) == 2
    found = capsys.readouterr().err
    assert said in found
    assert "Traceback" not in found
