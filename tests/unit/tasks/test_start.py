"""`--from RUN`: each member starts from the member of the same number, and says what it took."""

from __future__ import annotations

import json

import pytest
import torch

from recurra.cli.main import main
from recurra.tasks.folder import MEMBERS, WEIGHTS
from recurra.tasks.registry import task_named
from recurra.tasks.start import start_from
from recurra.training.checkpoint import load_weights


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("start")
    words = task_named("tag").example(folder)
    assert main(["train", "tag", *words, "--members", "2", "--quiet", "--out", str(folder / "run")]) == 0
    return folder / "run", words


def test_members_start_from_members(run):
    folder, _ = run
    start = start_from(folder, task_named)
    assert len(start.weights) == 2
    for number, weights in enumerate(start.weights, 1):
        own, _ = load_weights(folder / MEMBERS / str(number) / WEIGHTS)
        assert {name: tensor.tolist() for name, tensor in weights.items()} == {
            name: tensor.tolist() for name, tensor in own.items()
        }


def test_a_run_takes_all_and_says_so(run, tmp_path, capsys):
    folder, words = run
    more = ["--members", "3", "--seed", "5", "--rate", "1e-30", "--iterations", "1", "--quiet"]
    assert main(["train", "tag", *words, *more, "--from", str(folder), "--out", str(tmp_path / "next")]) == 0
    notes = json.loads((tmp_path / "next" / "run.json").read_text(encoding="utf-8"))
    assert [facts["new"] for facts in notes["start"].values()] == [[], [], []]
    before, _ = load_weights(folder / WEIGHTS)
    after, _ = load_weights(tmp_path / "next" / WEIGHTS)
    for member, source in ((0, 0), (1, 1), (2, 0)):
        name = "body.units.0.U.f"
        torch.testing.assert_close(after[f"members.{member}.{name}"], before[f"members.{source}.{name}"])


def test_a_run_without_a_fitting_weight_is_refused(run, tmp_path, capsys):
    folder, words = run
    changed = ["--hidden", "5", "--embedding", "3", "--characters", "0", "--set", "model.crf=false"]
    changed += ["--take", "body=nothing", "--take", "output=nothing", "--take", "words=nothing"]
    assert main(["train", "tag", *words, *changed, "--from", str(folder), "--out", str(tmp_path / "x")]) == 2
    assert "no weight of that run" in capsys.readouterr().err
    assert not (tmp_path / "x" / "config.toml").exists()
