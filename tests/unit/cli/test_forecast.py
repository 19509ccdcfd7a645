"""recurra train forecast, forecast and backtest: files in, files out, one line for what is wrong."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from recurra.cli.main import main


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "data.csv"
    stamps = np.datetime64("2024-01-01T00", "h") + np.arange(200)
    rows = ["unique_id,ds,y"]
    for name, size in (("a", 1.0), ("b", 20.0)):
        wave = size * (2 + np.sin(np.arange(200) * np.pi / 12))
        rows += [f"{name},{stamp},{value:.6g}" for stamp, value in zip(stamps, wave, strict=True)]
    path.write_text("\n".join(rows) + "\n")
    return path


@pytest.fixture(scope="module")
def trained(table):
    folder = table.parent / "run"
    words = ["train", "forecast", str(table), "--out", str(folder), "--horizon", "12", "--iterations", "20"]
    assert main([*words, "--test", "24", "--quantiles", "0.1,0.5,0.9", "--hidden", "8", "--quiet"]) == 0
    return folder


def test_training_says_how_good_it_is(trained, capsys, table):
    folder = table.parent / "ridge"
    words = ["train", "forecast", str(table), "--out", str(folder), "--model", "ridge", "--horizon", "12", "--json"]
    assert main(words) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["part"] == "validation"
    assert said["overall"]["mae"] < said["overall"]["naive.mae"]
    assert len(said["by_step"]["mae"]) == 12
    assert set(said["by_series"]) == {"a", "b"}
    assert "<svg" in (trained / "report.html").read_text()


def test_forecast_to_a_file(trained, table, capsys):
    out = table.parent / "forecast.csv"
    assert main(["forecast", str(trained), str(table), "--out", str(out)]) == 0
    rows = list(csv.DictReader(out.read_text().splitlines()))
    assert len(rows) == 24
    assert rows[0]["ds"] == "2024-01-09 08:00:00"
    assert list(rows[0]) == ["unique_id", "ds", "forecast", "q0.1", "q0.5", "q0.9"]
    assert all(float(row["q0.1"]) <= float(row["forecast"]) <= float(row["q0.9"]) for row in rows)
    assert main(["forecast", str(trained), "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["unique_id"] for line in lines] == ["a", "b"]
    np.testing.assert_allclose(lines[0]["forecast"], [float(row["forecast"]) for row in rows[:12]], rtol=1e-5)


def test_backtest(trained, table, capsys):
    folder = table.parent / "bt"
    words = ["backtest", str(trained), str(table), "--origins", "3", "--stride", "6", "--out", str(folder), "--json"]
    assert main(words) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["origins"] == 6
    assert "coverage_80" in said["overall"]
    assert "<svg" in (folder / "report.html").read_text()
    assert json.loads((folder / "backtest.json").read_text())["levels"] == [0.1, 0.5, 0.9]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--target", "z"], "no column is called 'z'"),
        (["--horizon", "0"], "horizon"),
        (["--horizon", "5000"], "the longest series has 200 rows"),
        (["--quantiles", "0.9,0.5"], "must rise strictly"),
        (["--quantiles", "low"], "quantiles: expected"),
        (["--model", "arima"], "model.name"),
        (["--freq", "7min"], "not spaced by 7min"),
        (["--known", "promo"], "no column is called 'promo'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_wrong_is_said(table, tmp_path, capsys, words, said):
    assert main(["train", "forecast", str(table), "--out", str(tmp_path / "run"), "--quiet", *words]) == 2
    found = capsys.readouterr().err
    assert said in found
    assert "Traceback" not in found


def test_no_file_no_run(tmp_path, capsys):
    assert main(["train", "forecast", "--out", str(tmp_path / "run")]) == 2
    assert "no file was named" in capsys.readouterr().err
    assert main(["forecast", str(tmp_path / "none")]) == 2
    assert "no such run" in capsys.readouterr().err


def test_settings_can_be_seen(capsys, tmp_path):
    assert main(["train", "forecast", "--out", str(tmp_path), "--cell", "lstm", "--show-config"]) == 0
    assert 'cell = "lstm"' in capsys.readouterr().out
