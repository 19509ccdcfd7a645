"""The recipes run and print what they say; at small sizes here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

FOLDER = Path(__file__).resolve().parents[3] / "recipes" / "reservoir"


def run(name, *arguments):
    line = [sys.executable, str(FOLDER / f"{name}.py"), *map(str, arguments), "--json"]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(row) for row in done.stdout.splitlines()]


@pytest.mark.slow
def test_mackey_glass(tmp_path):
    picture = tmp_path / "curve.svg"
    (found,) = run("mackey_glass", "--units", 120, "--seeds", 2, "--trials", 5, "--steps", 1500, "--svg", picture)
    assert found["median"] < 0.1
    assert len(found["seeds"]) == 2
    assert len(ElementTree.parse(picture).findall(".//{*}path[@class='s1 line']")) == 1


@pytest.mark.slow
def test_lorenz(tmp_path):
    picture = tmp_path / "forecast.svg"
    (found,) = run("lorenz", "--units", 300, "--seeds", 1, "--steps", 3000, "--starts", 5, "--svg", picture)
    assert found["median"] > 8
    assert picture.exists()


def test_narma():
    (found,) = run("narma", "--units", 60, "--seeds", 1)
    assert found["median"] < 0.5


@pytest.mark.slow
def test_memory(tmp_path):
    found = run("memory", "--units", 20, "--svg", tmp_path / "memory.svg")
    assert len(found) == 4
    assert all(0 < row["capacity"] <= 20 for row in found)


@pytest.mark.slow
def test_digits(data_dir):
    archive = data_dir / "fsdd" / "fsdd_4_speakers.tar.gz"
    if not archive.exists():
        pytest.skip("the spoken digits are not there")
    (found,) = run("digits", archive, "--limit", 7, "--column", 2, 3, 10)
    assert found["liquid"] > 0.6
