"""The benchmark's scoring, against its rules written out row by row."""

import math

import numpy as np
import pytest

from recurra.base.errors import DataError
from recurra.data.sets import nab as corpus_of
from recurra.data.sets.nab import NabFile
from recurra.tasks.anomaly.nab import PROFILES, best_threshold, score, scoreboard

EXACT = 1e-9


def stream(rows: int, windows: tuple[tuple[int, int], ...], name: str = "a.csv") -> NabFile:
    time = np.datetime64("2026-01-01T00:00:00", "s") + np.arange(rows) * 300
    return NabFile(name, time, np.zeros(rows), windows)


def corpus() -> list[NabFile]:
    return [stream(400, ((100, 139), (300, 320))), stream(700, ((650, 680),), "b.csv"), stream(200, (), "c.csv")]


def row_by_row(files, scores, profile, threshold) -> float:
    """nab/sweeper.py's rules, one row after the other."""
    total, wanted = 0.0, 0
    for file, found in zip(files, scores, strict=True):
        best = [-profile.miss] * len(file.windows)
        for row in range(file.probation, len(found)):
            if found[row] < threshold:
                continue
            index = next((k for k, (left, right) in enumerate(file.windows) if left <= row <= right), None)
            if index is not None:
                left, right = file.windows[index]
                y = -(right - row + 1) / (right - left + 1)
                gain = profile.hit * (2 / (1 + math.exp(5 * y)) - 1) / (2 / (1 + math.exp(-5)) - 1)
                best[index] = max(best[index], gain)
                continue
            before = [window for window in file.windows if window[1] < row]
            y = (row - before[-1][1]) / (before[-1][1] - before[-1][0]) if before else math.inf
            total += profile.false_alarm * (-1 if y > 3 else 2 / (1 + math.exp(5 * y)) - 1)
        total += sum(best)
        wanted += len(file.windows)
    null, perfect = -profile.miss * wanted, profile.hit * wanted
    return 100 * (total - null) / (perfect - null)


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_as_the_rules_row_by_row(profile):
    files = corpus()
    draw = np.random.default_rng(0)
    scores = [draw.integers(0, 20, len(file.value)) / 20 for file in files]
    for threshold in (0.0, 0.3, 0.95, 1.0):
        expected = row_by_row(files, scores, profile, threshold)
        assert score(files, scores, profile, threshold) == pytest.approx(expected, abs=EXACT)
    best = best_threshold(files, scores, profile)
    tried = [row_by_row(files, scores, profile, level) for level in (*np.arange(20) / 20, 1.1)]
    assert best.score == pytest.approx(max(tried), abs=EXACT)
    assert best.score == pytest.approx(row_by_row(files, scores, profile, best.threshold), abs=EXACT)


def test_perfect_is_100_and_silence_is_0():
    files = corpus()
    perfect = [np.zeros(len(file.value)) for file in files]
    for file, scores in zip(files, perfect, strict=True):
        scores[[left for left, _ in file.windows]] = 1
    for found in scoreboard(files, perfect).values():
        assert found.score == pytest.approx(100, abs=EXACT)
    for found in scoreboard(files, [np.zeros(len(file.value)) for file in files]).values():
        assert found.score == pytest.approx(0, abs=EXACT)


def test_probation_is_not_scored():
    files = [stream(400, ((100, 139),))]
    early = np.zeros(400)
    early[:60] = 1
    assert score(files, [early], PROFILES["standard"], 0.5) == pytest.approx(0, abs=EXACT)
    early[60] = 1
    assert score(files, [early], PROFILES["standard"], 0.5) == pytest.approx(-100 * 0.11 / 2, abs=EXACT)


def test_scores_that_do_not_fit():
    with pytest.raises(DataError, match=r"a\.csv.*\(400,\) finite numbers, got \(399,\)"):
        scoreboard([stream(400, ())], [np.zeros(399)])
    with pytest.raises(DataError, match="1 files, but scores for 0"):
        scoreboard([stream(400, ())], [])


def test_the_real_corpus(data_dir):
    files = corpus_of.read(data_dir / "nab")
    assert {len(file.value) == len(file.time) for file in files} == {True}
    found = {file.name: file for file in files}["realKnownCause/nyc_taxi.csv"]
    assert len(found.value) == 10320
    assert found.value[0] == 10844
    assert len(found.windows) == 5
    assert found.probation == 750


def test_not_the_corpus(tmp_path):
    with pytest.raises(DataError, match="give the folder of NAB"):
        corpus_of.read(tmp_path)
