"""What holds of every classic task: it builds, learns a little, says its numbers, and its parts agree."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from recurra.base.errors import ConfigError, DataError, UnknownName
from recurra.base.rng import Streams
from recurra.tasks.classic import TASKS, ClassicSettings, parameter_count, run_task, task_settings

SMALL: dict[str, list[str]] = {
    "embedded_reber": ["strings=16"],
    "reber": ["strings=16"],
    "temporal_order": ["length=20"],
    "adding": ["length=24"],
    "copy_memory": ["wait=10", "hidden=8"],
    "counting": ["tested=20"],
    "measure_spikes": ["period=5", "tested=20"],
    "generate_spikes": ["tested=20"],
    "periodic": ["tested=20"],
    "pixel_digits": ["first=80", "hidden=8"],
    "permuted_digits": ["first=80", "hidden=8"],
    "mackey_glass": ["learned=400", "validated=200", "tested=200", "window=150", "hidden=8"],
    "lorenz": ["learned=400", "validated=200", "tested=200", "window=150", "hidden=8"],
    "sines": ["learned=400", "validated=200", "tested=200", "hidden=8"],
    "narma10": ["learned=400", "validated=200", "tested=200", "hidden=8"],
    "random_walk": ["learned=400", "validated=200", "tested=400"],
    "ntm_copy": ["longest=3", "hidden=8", "locations=16", "width=4"],
    "repeat_copy": ["longest=2", "repeats=2", "hidden=8", "locations=16", "width=4"],
    "associative_recall": ["items=2", "hidden=8", "locations=16", "width=4"],
    "chorales": ["hidden=8"],
}


def small(name: str, data: Path | None = None, *more: str) -> ClassicSettings:
    if name.endswith("digits"):
        pytest.importorskip("sklearn")
    if name == "chorales":
        path = data / "polyphonic_music" / "JSB_Chorales.mat" if data else None
        if path is None or not path.exists():
            pytest.skip("needs JSB_Chorales.mat")
        more = (*more, f"data={path}")
    return task_settings(name, [*SMALL.get(name, []), "stop=false", *more])


@pytest.mark.parametrize("name", list(TASKS))
def test_a_task_runs_and_its_parts_agree(name: str, request: pytest.FixtureRequest) -> None:
    data = request.getfixturevalue("data_dir") if name == "chorales" else None
    settings = small(name, data, "train.iterations=2", "train.evaluate_every=1")
    task = TASKS[name]
    result = run_task(name, settings=settings)
    assert (result.updates, result.reason) == (2, "iterations")
    assert result.sequences >= settings.batch * 2 or name == "chorales"
    assert result.value == result.metrics[task.metric]
    assert (task.monitor or task.metric) in result.metrics
    assert all(math.isfinite(value) for value in result.metrics.values())
    assert result.parameters == parameter_count(name, settings=settings)
    problem = task.build(settings, Streams(settings.seed))
    examples, model = problem.examples, problem.model.eval()
    outputs, _ = model(examples.x, None, lengths=examples.lengths)
    total, count = problem.objective(outputs, examples)
    assert count > 0
    each = problem.losses(outputs, _asked(examples))
    torch.testing.assert_close(each.sum(), total, rtol=1e-5, atol=1e-5)
    shown = problem.shown(outputs)
    assert shown.shape == outputs.shape
    assert len(problem.inputs) in (0, examples.x.shape[-1])
    assert len(problem.outputs) in (0, outputs.shape[-1])


def _asked(batch):
    from recurra.tasks.classic.trained import _asked as asked

    return asked(batch)


@pytest.mark.parametrize("name", list(TASKS))
def test_a_task_says_what_it_is_and_where_it_comes_from(name: str) -> None:
    task = TASKS[name]
    assert task.name == name
    assert task.settings().task == name
    assert task.title
    assert task.rule
    assert task.paper
    assert any(character.isdigit() for character in task.source), "a source has a year"
    baseline = task.baseline(task.settings())
    assert baseline is None or math.isfinite(baseline)


@pytest.mark.parametrize("name", ["embedded_reber", "adding", "measure_spikes", "ntm_copy"])
def test_the_data_that_is_judged_is_the_same_for_every_evaluation(name: str) -> None:
    settings = small(name)
    problem = TASKS[name].build(settings, Streams(0))
    model = problem.model.eval()
    assert problem.evaluate(model) == problem.evaluate(model)


def test_named_options_go_over_the_settings() -> None:
    chosen = task_settings("reber", ["hidden=5", "strings=9"], cell="gru", hidden=6, seed=3, rate=0.5, iterations=7)
    assert (chosen.cell, chosen.hidden, chosen.seed, chosen.strings) == ("gru", 6, 3, 9)
    assert (chosen.train.optim.learning_rate, chosen.train.iterations) == (0.5, 7)
    # What was not named stays as the task has it.
    assert chosen.train.clip.norm == TASKS["reber"].settings().train.clip.norm


def test_mistakes_are_told_at_once() -> None:
    with pytest.raises(UnknownName, match="no task is called 'rebre'"):
        run_task("rebre")
    with pytest.raises(ConfigError, match="2 settings are wrong") as told:
        task_settings("adding", ["length=3", "hiden=4"])
    assert "hidden" in str(told.value)
    with pytest.raises(UnknownName, match="no cell is called 'lstn'"):
        run_task("reber", cell="lstn")
    with pytest.raises(DataError, match="no file of piano rolls was named"):
        run_task("chorales")
    with pytest.raises(ConfigError, match="washout < window"):
        task_settings("sines", ["washout=300"])
    with pytest.raises(ConfigError, match="has one layer, got layers = 2"):
        run_task("ntm_copy", settings=task_settings("ntm_copy", ["layers=2"]))
    with pytest.raises(DataError, match="neither train-images-idx3-ubyte"):
        run_task("pixel_digits", settings=task_settings("pixel_digits", ["mnist=nowhere"]))


def test_gates_start_where_the_settings_say() -> None:
    model = TASKS["adding"].model(task_settings("adding", ["chrono=0", "forget_bias=2.5", "input_bias=-1"]), None)
    named = dict(model.named_parameters())
    assert set(named["recurrent.units.0.b.f"].tolist()) == {2.5}
    assert set(named["recurrent.units.0.b.i"].tolist()) == {-1.0}
    chrono = TASKS["adding"].model(task_settings("adding", ["chrono=400"]), torch.Generator().manual_seed(0))
    bias = dict(chrono.named_parameters())["recurrent.units.0.b.f"].detach()
    assert 0 < float(bias.min()) < float(bias.max()) < math.log(399)
    given = TASKS["adding"].model(task_settings("adding", ["chrono=0", 'initial=["W=ones", "b.o=-1"]']), None)
    assert set(dict(given.named_parameters())["recurrent.units.0.W.g"].flatten().tolist()) == {1.0}
    assert set(dict(given.named_parameters())["recurrent.units.0.b.o"].tolist()) == {-1.0}
    with pytest.raises(ConfigError, match="has no parameter Q"):
        TASKS["adding"].model(task_settings("adding", ['initial=["Q=ones"]']), None)
    # A net without gates has none that could start anywhere.
    assert parameter_count("adding", cell="relu_rnn", hidden=4) == 4 * (4 + 2 + 1) + 5


def test_a_jordan_net_has_its_output_layer_inside() -> None:
    assert parameter_count("syllables", hidden=16) == 16 * (8 + 7 + 1) + 7 * (16 + 1)
