"""The online detector: each part against its definition written out, streams apart, constant memory, exact states."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from recurra.base.errors import ConfigError, DataError
from recurra.tasks.anomaly.expectation import ErrorTail, Expectation
from recurra.tasks.anomaly.novelty import DailyEnvelope, RunningLevel, RunningRange
from recurra.tasks.anomaly.online import PARTS, OnlineDetector, Peaks

ONE = np.array([0])


def fed(bank, values, *more):
    bank.grow(1)
    extra = [np.broadcast_to(part, (len(values),)) for part in more]
    return np.array([bank.step(ONE, values[[t]], *(part[[t]] for part in extra))[0] for t in range(len(values))])


def test_range_is_that_of_all_before():
    x = np.random.default_rng(0).normal(size=60)
    margin = fed(RunningRange(), x)
    for t in range(2, 60):
        low, high = x[:t].min(), x[:t].max()
        assert margin[t] == pytest.approx(max(x[t] - high, low - x[t]) / (high - low), abs=1e-12)
    assert fed(RunningRange(), np.array([5.0, 5, 5, 6])).tolist() == [-1, -1, -1, 1]


def test_level_is_at_first_the_mean():
    x = np.random.default_rng(1).normal(size=30)
    level = fed(RunningLevel(10), x)
    np.testing.assert_allclose(level[:10], [x[: t + 1].mean() for t in range(10)], atol=1e-12)
    np.testing.assert_allclose(level[20], 0.9 * level[19] + 0.1 * x[20], atol=1e-12)


def test_daily_envelope_against_all_rows():
    # 48 rows a day for ten days; some rows are missing, which moves no clock.
    g = np.random.default_rng(2)
    keep = np.sort(g.choice(480, 440, replace=False))
    keep[:12] = np.arange(12)
    keep = np.unique(keep)
    x, clock = g.normal(size=len(keep)), keep * 1800.0 + 5 * 86400
    found = fed(DailyEnvelope(), x, clock)
    for row in range(30, len(keep)):
        # How many rows a day has is known after nine stamps: rows before that are in no envelope.
        days = keep[row] - keep[9:row] if row > 9 else np.array([], int)
        near = np.isin(days, [48 * day + beside for day in range(1, 8) for beside in (-1, 0, 1)])
        before = x[9:row][near]
        wanted = 0.0
        if len(before):
            wanted = max(x[row] - before.max(), 0) + min(x[row] - before.min(), 0)
        # The row at which the spacing was settled may be in or out.
        if keep[row] - keep[8] not in [48 * d + b for d in range(1, 8) for b in (-1, 0, 1)]:
            assert found[row] == pytest.approx(wanted, abs=1e-12), row


def test_without_a_clock_there_is_no_envelope():
    x = np.random.default_rng(3).normal(size=100)
    assert not fed(DailyEnvelope(), x, np.full(100, np.nan)).any()
    # Daily rows have no time of day.
    assert not fed(DailyEnvelope(), x, np.arange(100) * 86400.0).any()


def test_errors_tail_is_the_normal_one():
    e = np.abs(np.random.default_rng(4).normal(size=300))
    e[250:253] = 6
    tail = fed(ErrorTail(short=3, memory=10_000), e)
    means = np.array([e[max(0, t - 2) : t + 1].mean() for t in range(300)])
    mean, variance, wanted = 0.0, 1.0, []
    for t, recent in enumerate(means):
        wanted.append(-norm.logsf((recent - mean) / np.sqrt(variance + 1e-12)) / np.log(10))
        size, gap = max(t, 1), recent - mean
        mean += gap / size
        variance = max(variance + (gap * (recent - mean) - variance) / size, 0)
    np.testing.assert_allclose(tail[50:], np.minimum(wanted[50:], 100), rtol=1e-9)
    assert not tail[:50].any()
    assert tail[252] > 8 > tail[240]


def test_readout_is_recursive_least_squares():
    # Ridge regression with exponential forgetting in steps, solved anew from all rows.
    from recurra.tasks.anomaly.expectation import LAGS, _calendar

    g = np.random.default_rng(5)
    bank = Expectation(1, 3, memory=1000, seed=1)
    bank.grow(1)
    x = np.cumsum(g.normal(size=40))
    rows, targets, errors = [], [], []
    past = np.zeros(max(LAGS))
    for t in range(40):
        state = bank.units_[0, 0].copy()
        error, _ = bank.step(ONE, x[[t]], np.array([np.nan]))
        z = bank.past[0, -1]
        rows.append(np.concatenate([[1.0], [past[-lag] for lag in LAGS], state, _calendar(np.array([np.nan]))[0]]))
        targets.append(z)
        errors.append(error[0])
        past = np.append(past[1:], z)
    F, y = np.array(rows), np.array(targets)
    for t in (5, 20, 39):
        forget = bank.forgetting
        gram, right = np.eye(F.shape[1]), np.zeros(F.shape[1])
        for f, target in zip(F[:t], y[:t], strict=True):
            gram, right = gram + np.outer(f, f) / forget, right + f * target / forget
        weights = np.linalg.solve(gram, right)
        assert errors[t] == pytest.approx(y[t] - F[t] @ weights, abs=1e-8)


def test_peaks_are_above_all_of_the_last():
    scores = np.array([0.3, 0.5, 0.5, 0.2, 0.4, 0.45, 0.6])
    assert fed(Peaks(3), scores).tolist() == [True, True, False, False, False, False, True]
    assert fed(Peaks(0), scores).all()


def stream(detector, values, clock=None, row=0):
    said = [
        detector.step(np.array([row]), values[[t]], None if clock is None else clock[[t]]) for t in range(len(values))
    ]
    return np.array([one.score[0] for one in said]), np.array([one.alarm[0] for one in said])


def wave(n=600, seed=0, spike=None):
    g = np.random.default_rng(seed)
    x = np.sin(np.arange(n) / 5) + 0.1 * g.normal(size=n)
    if spike:
        x[spike] += 2
    return x


@pytest.mark.parametrize(
    ("spoil", "part"),
    [
        (lambda x: x.__setitem__(400, 3.0), "range"),
        (lambda x: x.__setitem__(slice(400, 440), 1.0), "level"),
        (lambda x: x.__setitem__(slice(400, 402), -x[400:402]), "forecast"),
    ],
)
def test_what_is_odd_is_found_and_named(spoil, part):
    # It begins downwards: the level, at first the mean of few values, has then been low but not high.
    x = -wave()
    spoil(x)
    detector = OnlineDetector(tail=1e-5, quiet=0)
    parts = {}
    for t in range(len(x)):
        found = detector.step(ONE, x[[t]])
        if found.alarm[0]:
            parts[t] = PARTS[found.part[0]]
    assert any(name == part and 400 <= t <= 440 for t, name in parts.items()), parts
    assert sum(t < 400 for t in parts) <= 4


def test_streams_do_not_touch_each_other_and_grouping_changes_no_bit():
    a, b = wave(seed=1, spike=300), 50 * wave(400, seed=2)
    clock = np.arange(600) * 600.0
    alone = OnlineDetector()
    scores_a, _ = stream(alone, a, clock)
    scores_b, _ = stream(OnlineDetector(), b, clock[:400])
    both = OnlineDetector()
    together = np.full((2, 600), np.nan)
    for t in range(600):
        rows = np.array([0, 1] if t < 400 and t % 3 else [0])
        found = both.step(rows, np.array([a[t], b[t]])[rows] if t < 400 else a[[t]], clock[[t]].repeat(len(rows)))
        together[rows, t] = found.score
        if t < 400 and t % 3 == 0:
            together[1, t] = both.step(np.array([1]), b[[t]], clock[[t]]).score[0]
    np.testing.assert_array_equal(together[0], scores_a)
    np.testing.assert_array_equal(together[1, :400], scores_b)


def test_channels_are_scored_by_the_oddest():
    a, b = wave(seed=1, spike=300), wave(seed=2)
    detector = OnlineDetector(2)
    found = [detector.step(ONE, np.array([[x, y]])) for x, y in zip(a, b, strict=True)]
    one, _ = stream(OnlineDetector(), a)
    two, _ = stream(OnlineDetector(), b)
    np.testing.assert_array_equal([f.score[0] for f in found], np.maximum(one, two))
    assert found[300].channel[0] == 0
    assert found[300].alarm[0]


def test_missing_values_are_passed_over():
    x = wave(spike=300)
    holes = np.insert(x, [50, 50, 200], np.nan)
    scores, _ = stream(OnlineDetector(), x)
    with_holes, alarms = stream(OnlineDetector(), holes)
    np.testing.assert_array_equal(with_holes[~np.isnan(holes)], scores)
    assert np.isnan(with_holes[np.isnan(holes)]).all()
    assert alarms[303]


@pytest.mark.parametrize("x", [np.zeros(300), np.full(300, 1e12), np.full(300, np.nan)])
def test_constants_and_nothing_raise_no_alarm(x):
    scores, alarms = stream(OnlineDetector(), x)
    assert not alarms.any()
    assert not (scores[1:] > 0.5).any()


def test_memory_is_constant():
    detector = OnlineDetector()
    size = []
    for t, x in enumerate(wave(900)):
        detector.step(ONE, np.array([x]), np.array([600.0 * t]))
        size.append(sum(array.nbytes for bank in detector.state().values() for array in bank.values()))
    assert size[0] == size[-1]


def test_a_state_goes_on_to_the_bit():
    x = wave(spike=450)
    first, second = OnlineDetector(), OnlineDetector()
    stream(first, x[:400])
    second.load_state(
        {name: {key: array.copy() for key, array in part.items()} for name, part in first.state().items()}
    )
    np.testing.assert_array_equal(stream(first, x[400:])[0], stream(second, x[400:])[0])
    other = OnlineDetector(units=7)
    with pytest.raises(DataError, match="other settings"):
        other.load_state(first.state())


def test_what_cannot_be_is_refused():
    for options in ({"margin": 0}, {"tail": 1.0}, {"quiet": -1}, {"memory": 1}, {"threshold": 0}):
        with pytest.raises(ConfigError, match="OnlineDetector"):
            OnlineDetector(**options)
    with pytest.raises(DataError, match="infinite"):
        OnlineDetector().step(ONE, np.array([np.inf]))
    with pytest.raises(DataError, match=r"\(1, 2\)"):
        OnlineDetector().step(ONE, np.zeros((1, 2)))
