"""A run as a whole: it repeats, it resumes to the bit, it stops when it may, and its folder gives the net back."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch

import recurra
from recurra.base.errors import CheckpointError, ConfigError, DataError
from recurra.diagnostics.subject import Inspectable
from recurra.tasks.classic import TASKS, run_task, task_settings
from recurra.tasks.classic.trained import load
from recurra.tasks.report import write_report
from recurra.training.callback import Callback, every

TINY = ["strings=16", "stop=false", "train.evaluate_every=5", "train.checkpoint_every=5", "train.log_every=5"]


def reber(*more: str):
    return task_settings("embedded_reber", [*TINY, *more])


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_the_same_seed_gives_the_same_net_and_another_does_not() -> None:
    first, again, other = (run_task("embedded_reber", settings=reber(), iterations=10, seed=s) for s in (1, 1, 2))
    assert first.model is not None
    assert again.model is not None
    assert other.model is not None
    assert same(first.model, again.model)
    assert not same(first.model, other.model)
    assert first.metrics == again.metrics


def test_a_run_that_is_continued_ends_as_one_that_was_not_stopped(tmp_path: Path) -> None:
    whole = run_task("embedded_reber", settings=reber(), iterations=20, folder=tmp_path / "whole")
    run_task("embedded_reber", settings=reber(), iterations=10, folder=tmp_path / "parts")
    parts = run_task("embedded_reber", settings=reber(), iterations=20, folder=tmp_path / "parts", resume=True)
    assert whole.model is not None
    assert parts.model is not None
    assert same(whole.model, parts.model)
    assert (whole.metrics, whole.updates, whole.sequences) == (parts.metrics, parts.updates, parts.sequences)


def test_it_ends_when_solved_and_stays_ended(tmp_path: Path) -> None:
    settings = task_settings("syllables", ["train.evaluate_every=25"])
    result = run_task("syllables", settings=settings, folder=tmp_path / "run")
    assert result.solved
    assert result.reason == "solved"
    assert result.updates % 25 == 0
    assert result.updates < settings.train.iterations
    again = run_task("syllables", settings=settings, folder=tmp_path / "run", resume=True)
    assert again.updates == result.updates


def test_the_weights_that_solved_it_are_kept_though_others_had_a_lower_loss(tmp_path: Path, monkeypatch) -> None:
    """Of temporal order the loss is watched: here it is lowest at the first evaluation, and the fourth is right."""
    settings = task_settings("temporal_order", ["length=20", "train.evaluate_every=2", "train.iterations=20"])
    task = TASKS["temporal_order"]
    judged: list[torch.Tensor] = []

    def build(settings, streams):
        problem = task.build(settings, streams)

        def evaluate(model: torch.nn.Module) -> dict[str, float]:
            weights = next(model.parameters()).detach().clone()
            judged.append(weights)
            seen = next(place for place, one in enumerate(judged) if torch.equal(one, weights))
            return {"loss": float(1 + seen), "wrong": float(5 - seen), "error": 0.0}

        return dataclasses.replace(problem, evaluate=evaluate)

    monkeypatch.setattr(TASKS, "_things", {**dict(TASKS.items()), task.name: dataclasses.replace(task, build=build)})
    result = run_task("temporal_order", settings=settings, folder=tmp_path / "run")
    assert (result.updates, result.best_update, result.reason) == (8, 8, "solved")
    assert result.solved
    again = run_task("temporal_order", settings=settings, folder=tmp_path / "run", resume=True)
    assert (again.updates, again.solved) == (8, True)


def test_without_stop_it_goes_on() -> None:
    result = run_task("syllables", settings=task_settings("syllables", ["stop=false", "train.iterations=400"]))
    assert (result.updates, result.reason) == (400, "iterations")
    assert result.solved


def test_callbacks_see_the_trainer() -> None:
    seen: list[int] = []
    run_task(
        "embedded_reber",
        settings=reber(),
        iterations=12,
        callbacks=[Callback(every(4), lambda trainer: seen.append(trainer.iteration))],
    )
    assert seen == [4, 8, 12]


def test_a_folder_gives_the_net_back(tmp_path: Path) -> None:
    result = run_task("embedded_reber", settings=reber(), iterations=10, folder=tmp_path / "run")
    run = recurra.load(tmp_path / "run")
    assert result.model is not None
    assert same(run.model, result.model)
    assert run.evaluate() == result.metrics
    assert run.predict(torch.zeros(2, 4, 7)).shape == (2, 4, 7)
    note = json.loads((tmp_path / "run" / "run.json").read_text())
    assert note["result"]["value"] == result.value
    assert note["result"]["reason"] == "iterations"


@pytest.mark.parametrize(
    ("name", "sets"),
    [
        ("embedded_reber", ["strings=16"]),
        ("temporal_order", ["length=20"]),
        ("measure_spikes", ["period=5", "tested=10"]),
        ("copy_memory", ["wait=5", "hidden=8"]),
    ],
)
def test_a_run_can_be_looked_at(name: str, sets: list[str], tmp_path: Path) -> None:
    settings = task_settings(name, [*sets, "train.iterations=2"])
    run_task(name, settings=settings, folder=tmp_path / "run")
    run = load(tmp_path / "run")
    assert isinstance(run, Inspectable)
    subject = run.subject(rows=4)
    assert subject.inputs.shape[0] == 4
    losses = subject.loss(subject.outputs(subject.x))
    assert torch.isfinite(losses).all()
    assert len(subject.step_names()) == subject.valid[0]
    with pytest.raises(DataError, match=r"reads no files, got a\.txt"):
        run.subject(["a.txt"])


def test_padding_is_asked_nothing(tmp_path: Path) -> None:
    run_task("embedded_reber", settings=reber(), iterations=2, folder=tmp_path / "run")
    subject = load(tmp_path / "run").subject(rows=8)
    losses = subject.loss(subject.outputs(subject.x))
    for row, valid in enumerate(subject.valid):
        assert bool((losses[row, :valid] > 0).all())
        assert not losses[row, valid:].any()
    assert subject.step_names(0)[0] == "B"


@pytest.mark.parametrize("name", ["embedded_reber", "temporal_order", "random_walk", "ntm_copy"])
def test_a_report_of_every_kind_of_task(name: str, tmp_path: Path) -> None:
    sets = {
        "embedded_reber": ["strings=16"],
        "temporal_order": ["length=20"],
        "random_walk": ["learned=300", "validated=100", "tested=300"],
        "ntm_copy": ["longest=3", "hidden=8", "locations=16", "width=4"],
    }[name]
    settings = task_settings(name, [*sets, "train.iterations=4", "train.evaluate_every=2"])
    run_task(name, settings=settings, folder=tmp_path / "run", command="recurra train task it")
    page = write_report(tmp_path / "run").read_text()
    assert "Outputs" in page
    assert "recurra train task it" in page
    assert page.count("<svg") >= 4
    if name == "random_walk":
        assert "can not be predicted" in page


def test_a_run_that_has_only_begun_has_a_report(tmp_path: Path) -> None:
    run_task("embedded_reber", settings=reber(), iterations=5, folder=tmp_path / "run")
    for name in ("weights.safetensors", "metrics.jsonl", "run.json", "held_out.json"):
        (tmp_path / "run" / name).unlink()
    page = write_report(tmp_path / "run").read_text()
    assert "Not finished" in page
    with pytest.raises(CheckpointError, match="this run has no weights yet"):
        load(tmp_path / "run")


def test_a_folder_is_not_overwritten_nor_continued_otherwise(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run_task("embedded_reber", settings=reber(), iterations=5, folder=folder)
    before = (folder / "weights.safetensors").read_bytes()
    with pytest.raises(CheckpointError, match="holds a run already"):
        run_task("embedded_reber", settings=reber(), iterations=5, folder=folder)
    with pytest.raises(CheckpointError, match="hidden: 12 then, 13 now"):
        run_task("embedded_reber", settings=reber(), iterations=9, hidden=13, folder=folder, resume=True)
    with pytest.raises(CheckpointError, match="holds no run that could be continued"):
        run_task("embedded_reber", folder=tmp_path / "none", resume=True)
    with pytest.raises(CheckpointError, match="without a folder cannot be continued"):
        run_task("embedded_reber", resume=True)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(CheckpointError, match="is a file"):
        run_task("embedded_reber", folder=tmp_path / "file")
    assert (folder / "weights.safetensors").read_bytes() == before


def test_folders_that_are_no_run_of_a_task(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such run"):
        load(tmp_path / "none")
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "config.toml").write_text('task = "text"\n')
    (tmp_path / "text" / "config.toml").write_text("task = \n")
    with pytest.raises(ConfigError, match="is not TOML"):
        load(tmp_path / "text")


def test_elmans_procedure_by_two_ways() -> None:
    """One step back, as windows of one step or as e-prop, which for an Elman net leaves out the same products."""
    ways = (["style=exact", "k1=64", "k2=1"], ["style=eprop", "k1=64"])
    models = [
        run_task(
            "embedded_reber",
            settings=reber(*(f"train.gradient.{word}" for word in words)),
            cell="elman",
            iterations=10,
        ).model
        for words in ways
    ]
    whole = run_task("embedded_reber", settings=reber(), cell="elman", iterations=10).model
    one, other, full = (
        [value.double() for value in model.state_dict().values()] for model in (*models, whole) if model
    )
    for a, b in zip(one, other, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    assert any(float((a - b).abs().max()) > 1e-2 for a, b in zip(one, full, strict=True))
