"""recurra train anomaly, eval of its runs, and watch: streams, growing files, and a watch that is killed."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from recurra.cli.main import main

ROWS = 500
RECURRA = "import sys; from recurra.cli.main import main; sys.exit(main())"


def lines(n=ROWS, ids=("a", "b"), seed=0):
    g = np.random.default_rng(seed)
    head = ["unique_id,ds,y,label"]
    for t in range(n):
        stamp = str(np.datetime64("2024-01-01", "s") + t * np.timedelta64(15, "m"))
        for k, one in enumerate(ids):
            odd = one == "a" and t in (430, 431)
            value = np.sin(t / 8) * (k + 1) + 0.1 * g.normal() + 4 * odd
            head.append(f"{one},{stamp},{value:.5f},{int(odd)}")
    return head


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "data.csv"
    path.write_text("\n".join(lines()) + "\n")
    return path


@pytest.fixture(scope="module")
def online(table):
    folder = table.parent / "online"
    # One net of a few units: what it finds is looked at elsewhere.
    small = ["--set", "online.members=1", "--set", "online.units=5"]
    assert main(["train", "anomaly", str(table), "--out", str(folder), "--quiet", *small]) == 0
    return folder


def test_training_writes_a_report(online, table, capsys):
    page = (online / "report.html").read_text()
    assert "time-line of a" in page
    assert "true anomalies" in page
    assert main(["train", "anomaly", str(table), "--out", str(online)]) == 2
    assert "holds a run already" in capsys.readouterr().err
    assert main(["report", str(online)]) == 0


def test_a_trained_net(table, capsys):
    folder = table.parent / "net"
    words = ["train", "anomaly", str(table), "--out", str(folder), "--model", "forecast", "--hidden", "6", "--json"]
    assert main([*words, "--window", "8", "--iterations", "20"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["windows"] == 1
    assert said["threshold"] > 0
    assert "Loss" in (folder / "report.html").read_text()


def test_eval(online, table, capsys, tmp_path):
    scores, windows = tmp_path / "scores.csv", tmp_path / "windows.json"
    windows.write_text(json.dumps({"a": [["2024-01-05 11:30", "2024-01-05 11:45"]]}))
    words = ["eval", str(online), str(table), "--json", "--scores", str(scores), "--report", str(tmp_path / "r.html")]
    assert main(words) == 0
    by_column = json.loads(capsys.readouterr().out)
    assert main([*words, "--windows", str(windows)]) == 0
    by_windows = json.loads(capsys.readouterr().out)
    assert by_column == by_windows
    assert by_column["found"] == by_column["windows"] == 1
    rows = list(csv.DictReader(scores.read_text().splitlines()))
    assert len(rows) == 2 * ROWS
    assert rows[430]["alarm"] == "1"
    windows.write_text("[1]")
    assert main([*words, "--windows", str(windows)]) == 2
    assert main(["eval", str(online), str(table), "--tolerance", "-1"]) == 2
    assert "tolerance: expected" in capsys.readouterr().err


@pytest.fixture
def watched(tmp_path, monkeypatch, capsys):
    def watch(*words, stdin=None):
        if stdin is not None:
            (tmp_path / "stdin").write_text(stdin)
        capsys.readouterr()
        with (tmp_path / "stdin").open("a+") as file:
            file.seek(0)
            monkeypatch.setattr(sys, "stdin", file)
            code = main(["watch", *map(str, words)])
        return code, *capsys.readouterr()

    return watch


def test_streamed_is_batch(online, table, tmp_path, watched):
    scores = tmp_path / "scores.csv"
    assert main(["eval", str(online), str(table), "--scores", str(scores)]) == 0
    whole = list(csv.DictReader(scores.read_text().splitlines()))
    code, out, err = watched(online, "--cold", stdin=table.read_text())
    assert code == 0, err
    assert "1,000 rows of 2 series, 0 bad" in err
    for one in "ab":
        said = [json.loads(line) for line in out.splitlines() if json.loads(line)["unique_id"] == one]
        part = [row for row in whole if row["unique_id"] == one]
        assert [row["alarm"] for row in part] == [str(int(record["alarm"])) for record in said]
        assert [float(row["score"]) for row in part] == [record["score"] for record in said]


def test_bad_rows_end_nothing(online, watched):
    text = "unique_id,ds,y\na,2025-01-01,1\na,2025-01-02,high\na,2025-01-01,3\na,2025-01-03,inf\na,2025-01-04,1\n"
    code, out, err = watched(online, "--threshold", "0.9", stdin=text)
    assert code == 0
    assert len(out.splitlines()) == 2
    told = [json.loads(line) for line in err.splitlines() if line.startswith("{")]
    assert [fault["line"] for fault in told] == [3, 4, 5]
    assert "2 rows of 1 series, 3 bad" in err


@pytest.mark.parametrize("kill", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_a_killed_watch_goes_on_as_if_nothing_had_been(online, tmp_path, kill, watched):
    text = lines(300)
    whole, out, stream, state = (tmp_path / name for name in ("whole.jsonl", "out.jsonl", "stream.csv", "state"))
    stream.write_text("\n".join(text) + "\n")
    assert watched(online, stream, "--cold", "--out", whole)[0] == 0
    stream.write_text("\n".join(text[:200]) + "\n")
    words = [online, stream, "--cold", "--follow", "--state", state, "--save-every", "0.05", "--out", out]
    command = [sys.executable, "-c", RECURRA, "watch", *map(str, words)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        # The file grows, a row in two pieces, until some of what was added has been answered.
        until = time.monotonic() + 60
        while time.monotonic() < until and (not out.exists() or len(out.read_text().splitlines()) < 150):
            time.sleep(0.05)
        with stream.open("a") as file:
            file.write("\n".join(text[200:350]) + "\n" + text[350][:9])
            file.flush()
            while time.monotonic() < until and len(out.read_text().splitlines()) < 250:
                time.sleep(0.05)
            file.write(text[350][9:] + "\n" + "\n".join(text[351:]) + "\n")
        os.kill(process.pid, kill)
    finally:
        process.wait(60)
        for pipe in (process.stdout, process.stderr):
            if pipe:
                pipe.close()
    assert state.exists()
    code, _, err = watched(online, stream, "--cold", "--state", state, "--out", out)
    assert code == 0, err
    assert out.read_text() == whole.read_text()


def test_what_cannot_be(online, table, tmp_path, capsys):
    assert main(["watch", str(online), "--follow"]) == 2
    assert "--follow needs a FILE" in capsys.readouterr().err
    assert main(["watch", str(online), str(tmp_path / "none.csv")]) == 2
    assert main(["watch", str(tmp_path)]) == 2
    assert main(["watch", str(online), str(table), "--threshold", "0"]) == 2
    assert "threshold must be above 0" in capsys.readouterr().err
    assert main(["watch", str(online), str(table), "--id", "who"]) == 2
    assert "'who' is no column" in capsys.readouterr().err
    empty = tmp_path / "empty.csv"
    empty.write_text("")
    assert main(["watch", str(online), str(empty), "--quiet"]) == 0
    assert main(["train", "anomaly", str(empty), "--out", str(tmp_path / "run")]) == 2
    assert "is empty" in capsys.readouterr().err
