"""Learning rates by iteration, and the memory of the one that has any."""

from __future__ import annotations

import math

import pytest

from recurra.base.errors import ConfigError, TrainingError
from recurra.training.callback import at, every
from recurra.training.config import ScheduleConfig, StoppingConfig
from recurra.training.schedule import (
    Plateau,
    constant,
    cosine,
    exponential,
    linear,
    schedule,
    step,
    warmed_up,
)
from recurra.training.stopping import Stopping


def test_factors_by_iteration():
    assert [constant()(i) for i in (1, 999)] == [1, 1]
    assert [step(3, 0.5)(i) for i in range(1, 9)] == [1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25]
    assert [step(2, 0.1, after=4)(i) for i in (1, 6, 7, 9)] == [1, 1, 0.1, pytest.approx(0.01)]
    assert [exponential(2, 0.25)(i) for i in (1, 2, 3, 5)] == [1, 0.5, 0.25, 0.0625]
    assert [linear(5, 0.2)(i) for i in (1, 3, 5, 50)] == [1, pytest.approx(0.6), pytest.approx(0.2), pytest.approx(0.2)]


def test_cosine_is_the_formula_and_stays_at_its_end():
    factor = cosine(101, 0.1)
    for i in (1, 26, 51, 101):
        assert factor(i) == pytest.approx(0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * (i - 1) / 100)))
    assert factor(101) == pytest.approx(0.1)
    assert factor(5000) == factor(101)


def test_warm_up_ends_where_the_schedule_begins():
    factor = warmed_up(step(2, 0.5), 4)
    assert [factor(i) for i in range(1, 10)] == [0.25, 0.5, 0.75, 1, 1, 1, 0.5, 0.5, 0.25]


def test_configured_cosine_fills_the_run_after_its_warm_up():
    factor = schedule(ScheduleConfig(name="cosine", warmup=10, final=0.05), iterations=100)
    assert factor(10) == factor(11) == 1
    assert factor(99) > factor(100) == pytest.approx(0.05)
    assert schedule(ScheduleConfig(name="linear", total=50, final=0.0), iterations=100)(50) == 0
    with pytest.raises(ConfigError, match="cosine needs to know its number of iterations"):
        schedule(ScheduleConfig(name="cosine"))


@pytest.mark.parametrize("name", ["constant", "step", "exponential"])
def test_schedules_without_an_end_need_no_length(name):
    assert schedule(ScheduleConfig(name=name, warmup=2))(1) == 0.5


def test_plateau_drops_after_its_patience_and_not_below_its_floor():
    plateau = Plateau(factor=0.5, patience=1, final=0.2)
    drops = [plateau.observe(value) for value in (3.0, 2.0, 2.0, 2.1, 2.0, 2.5, 2.4, 2.2, 2.2, 2.2)]
    assert [n for n, dropped in enumerate(drops) if dropped] == [3, 5, 7]
    assert plateau(1) == 0.2
    assert not Plateau(patience=1).observe(float("nan"))


def test_plateau_goes_through_a_checkpoint():
    one, other = Plateau(patience=0), Plateau(patience=0)
    for value in (2.0, 2.0):
        one.observe(value)
    other.load_state_dict(one.state_dict())
    assert other(1) == one(1) == 0.5
    assert other.observe(1.9) == one.observe(1.9) is False


def test_stopping_maximises_where_told():
    stopping = Stopping(StoppingConfig(monitor="accuracy", mode="max", patience=2, min_delta=0.05))
    improved = [stopping.observe({"accuracy": value}, n) for n, value in enumerate((0.5, 0.54, 0.6, 0.62))]
    assert improved == [True, False, True, False]
    assert (stopping.best, stopping.iteration, stopping.exhausted) == (0.6, 2, False)
    assert not stopping.observe({"accuracy": float("nan")}, 4)
    assert stopping.exhausted


def test_stopping_names_what_evaluation_gave():
    with pytest.raises(TrainingError, match="gave no 'los', which is monitored; it gave loss, accuracy"):
        Stopping(StoppingConfig(monitor="los")).observe({"loss": 1.0, "accuracy": 0.5}, 1)


def test_when():
    assert [i for i in range(1, 13) if every(4)(i)] == [4, 8, 12]
    assert not any(every(0)(i) for i in range(10))
    assert [i for i in range(1, 25) if at(3, 7, then=10)(i)] == [3, 7, 10, 20]
    assert [i for i in range(1, 25) if at(3, 7)(i)] == [3, 7]
