"""recurra train classify, eval, classify: files in, files out, one line for what is wrong."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from recurra.cli.main import main


def written(path, seed, count=24, classes=("up", "down")):
    """Ramps with noise, long."""
    rng = np.random.default_rng(seed)
    rows = ["unique_id,ds,x,z,label"]
    for k in range(count):
        label, length = k % len(classes), int(rng.integers(8, 15))
        ramp = (1 - 2 * (label % 2)) * np.arange(length) / 5 + 0.1 * rng.normal(size=length)
        rows += [f"c{k},{t},{value:.4f},{rng.normal():.4f},{classes[label]}" for t, value in enumerate(ramp)]
    path.write_text("\n".join(rows) + "\n")
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cases")
    return written(folder / "train.csv", 0), written(folder / "test.csv", 1)


@pytest.fixture(scope="module")
def trained(files):
    folder = files[0].parent / "run"
    words = ["train", "classify", str(files[0]), "--test", str(files[1]), "--out", str(folder)]
    assert main([*words, "--hidden", "8", "--iterations", "60", "--rate", "0.01", "--quiet"]) == 0
    return folder


def test_training_says_how_good_it_is(files, capsys):
    folder = files[0].parent / "esn"
    words = ["train", "classify", str(files[0]), "--model", "esn", "--hidden", "30", "--out", str(folder), "--json"]
    assert main(words) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["part"] == "validation"
    assert said["classes"] == ["down", "up"]
    assert said["accuracy"] > 0.7
    assert "Confusion" in (folder / "report.html").read_text()


def test_classes_to_a_file(trained, files, capsys):
    out = files[0].parent / "classes.csv"
    assert main(["classify", str(trained), str(files[1]), "--out", str(out)]) == 0
    rows = list(csv.DictReader(out.read_text().splitlines()))
    assert list(rows[0]) == ["unique_id", "class", "p_down", "p_up"]
    assert [row["unique_id"] for row in rows] == [f"c{k}" for k in range(24)]
    assert main(["classify", str(trained), str(files[1]), "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["class"] for line in lines] == [row["class"] for row in rows]
    assert lines[0]["probabilities"]["up"] == pytest.approx(float(rows[0]["p_up"]), abs=1e-5)


def test_measuring(trained, files, capsys):
    assert main(["eval", str(trained), str(files[1]), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["accuracy"] == json.loads((trained / "held_out.json").read_text())["accuracy"]
    assert main(["eval", str(trained), str(files[0]), str(files[1])]) == 0
    assert capsys.readouterr().out.count("accuracy") == 2
    assert main(["report", str(trained)]) == 0


def test_classes_that_are_new(trained, tmp_path, capsys):
    other = written(tmp_path / "new.csv", 2, classes=("up", "down", "odd"))
    assert main(["eval", str(trained), str(other)]) == 2
    assert "class odd was not in training" in capsys.readouterr().err
    assert main(["classify", str(trained), str(other), "--out", str(tmp_path / "out.csv"), "--quiet"]) == 0
    words = ["train", "classify", str(written(tmp_path / "a.csv", 0)), "--test", str(other), "--out"]
    assert main([*words, str(tmp_path / "run"), "--quiet"]) == 2
    assert not (tmp_path / "run" / "members").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--label", "kind"], "no column is called 'kind'"),
        (["--model", "svm"], "model.name"),
        (["--pooling", "sum"], "pooling"),
        (["--cell", "grue"], "gru"),
        (["--channels", "y"], "no column is called 'y'"),
        (["--validation", "1"], "validation"),
        (["--set", "model.filters=[8]"], "as many kernels as filters"),
        (["--config", "none.toml"], "none.toml"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_wrong_is_said(files, tmp_path, capsys, words, said):
    assert main(["train", "classify", str(files[0]), "--out", str(tmp_path / "run"), "--quiet", *words]) == 2
    found = capsys.readouterr().err
    assert said in found
    assert "Traceback" not in found


def test_no_file_no_run(tmp_path, capsys):
    assert main(["train", "classify", "--out", str(tmp_path / "run")]) == 2
    assert "no file was named" in capsys.readouterr().err
    assert main(["classify", str(tmp_path / "none"), "x.csv"]) == 2
    assert "no such run" in capsys.readouterr().err


def test_an_option_leaves_the_other_defaults(capsys, tmp_path):
    assert main(["train", "classify", "--out", str(tmp_path), "--iterations", "7", "--show-config"]) == 0
    shown = capsys.readouterr().out
    assert "iterations = 7" in shown
    assert 'name = "cosine"' in shown
