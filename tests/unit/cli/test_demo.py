"""The demo, with less of everything than even the demo has."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from recurra.base import config
from recurra.cli.demo import SETTINGS
from recurra.tasks.text.settings import TextSettings
from unit.cli.command_line import Recurra

LESS = ["--set", "train.iterations=3", "--set", "model.hidden_size=8", "--set", "data.train=0.99"]


def test_its_settings_are_settings() -> None:
    chosen = config.parse(TextSettings, {}, SETTINGS)
    assert chosen.train.minutes < 3
    assert 5 <= chosen.data.baseline_order <= 7


@pytest.mark.slow
def test_it_trains_compares_writes_and_reports(recurra: Recurra, tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    ended = recurra("demo", "--out", folder, *LESS)
    assert ended.code == 0
    for part in ("lstm 8 x 1", "6-gram, modified Kneser-Ney", "It writes\nThe ", str(folder / "report.html")):
        assert part in ended.out
    assert (folder / "report.html").exists()
    again = json.loads(recurra("demo", "--out", folder, *LESS, "--json").out)
    assert again["iteration"] == 3


def test_it_takes_no_folder_that_is_not_its_own(recurra: Recurra, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    ended = recurra("demo", "--out", tmp_path)
    assert ended.code == 2
    assert "exists and is no earlier demo" in ended.err
    assert (tmp_path / "mine.txt").read_text() == "mine"
