"""Noise cancelling: the parts add up, chunks do not matter, and the recipes reach their figures."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from recurra.base.errors import DataError, ShapeError
from recurra.classical.filters import LMS, NLMS, RLS, cancel, delayed, sine_pair, snr_db

ROOT = Path(__file__).resolve().parents[4]


def scene(seed: int = 0):
    chance = np.random.default_rng(seed)
    noise = chance.normal(size=6000)
    clean = np.sin(0.02 * np.arange(6000))
    return clean, np.convolve(noise, [0.0, 0.8, -0.5, 0.3])[:6000], noise


def test_signal_and_noise_are_parted():
    clean, noise, reference = scene()
    found = cancel(clean + noise, reference, RLS(taps=4, forgetting=1.0))
    assert np.abs(found.signal + found.noise - clean - noise).max() < 1e-14
    assert snr_db(clean[1000:], (clean + noise)[1000:]) < -2
    assert snr_db(clean[1000:], found.signal[1000:]) > 25
    assert np.abs(found.state.weights[0] - [0.0, 0.8, -0.5, 0.3]).max() < 0.05


def test_chunks_and_progress():
    clean, noise, reference = scene()
    seen = []
    whole = cancel(clean + noise, reference, NLMS(taps=4))
    parts = cancel(clean + noise, reference, NLMS(taps=4), chunk=1700, progress=lambda *at: seen.append(at))
    assert np.array_equal(whole.signal, parts.signal)
    assert seen == [(1700, 6000), (3400, 6000), (5100, 6000), (6000, 6000)]


def test_a_line_enhancer_finds_what_repeats():
    chance = np.random.default_rng(1)
    tone, noise = np.sin(0.3 * np.arange(20_000)), chance.normal(size=20_000)
    found = cancel(tone + noise, delayed(tone + noise, 1), LMS(taps=64, step=0.0005))
    assert snr_db(tone[10_000:], found.noise[10_000:]) > snr_db(tone[10_000:], (tone + noise)[10_000:]) + 8


def test_sine_pairs():
    pair = sine_pair([50.0, 150.0], 1000.0, 20)
    assert pair.shape == (20, 4)
    assert np.allclose(pair[5], [0, 1, 0, -1], atol=1e-12)
    with pytest.raises(DataError, match="half the rate"):
        sine_pair(500.0, 1000.0, 5)


def test_snr_is_in_decibels():
    assert snr_db([1.0, -1.0], [1.1, -1.1]) == pytest.approx(20)
    assert snr_db([1.0], [1.0]) == np.inf
    with pytest.raises(ShapeError, match="one shape"):
        snr_db([1.0], [1.0, 2.0])
    with pytest.raises(ShapeError, match="primary must be"):
        cancel(np.zeros(3), np.zeros(4), LMS())
    with pytest.raises(DataError, match="from 1 to 2"):
        delayed(np.zeros(3), 3)


@pytest.mark.parametrize(
    ("recipe", "corpus", "reached", "fixed"),
    [
        pytest.param("ecg_mains_hum", "ecg_mitdb", 20.0, "band-stop 46.5 to 53.5 Hz", marks=pytest.mark.slow),
        pytest.param("speech_rotor_noise", "fsdd", 21.5, None, marks=pytest.mark.slow),
    ],
)
def test_recipes_reach_their_figures(recipe, corpus, reached, fixed, data_dir, tmp_path):
    if not (data_dir / corpus).is_dir():
        pytest.skip(f"no {corpus}")
    words = ["-m", f"recipes.filters.{recipe}", "--data", data_dir, "--out", tmp_path, "--seeds", "1", "--json"]
    done = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, check=True)
    rows = json.loads(done.stdout)
    best = max(map(statistics.median, rows.values()))
    assert best > reached
    assert statistics.median(rows["before"]) < -4
    if fixed:
        assert best > statistics.median(rows[fixed]) + 10
    assert "<svg" in (tmp_path / "report.html").read_text()
    assert len(list(tmp_path.iterdir())) == 5
