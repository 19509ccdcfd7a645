"""The command that cancels noise: results, report, JSON, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from recurra.data.signals import read_signal, write_signal
from unit.cli.command_line import Recurra


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    chance = np.random.default_rng(0)
    noise = 0.1 * chance.normal(size=4000)
    clean = 0.1 * np.sin(0.05 * np.arange(4000))
    noisy = clean + np.convolve(noise, [0.7, -0.4, 0.2])[:4000]
    for name, values in (("noisy", noisy), ("noise", noise), ("clean", clean)):
        write_signal(tmp_path / f"{name}.wav", values, 8000)
    write_signal(tmp_path / "all.csv", np.stack([noisy, noise, clean], axis=1), None)
    return tmp_path


def test_a_recording_is_cleaned_and_shown(recurra: Recurra, sounds: Path) -> None:
    ended = recurra(
        *("filter", sounds / "noisy.wav", "--reference", sounds / "noise.wav", "--clean", sounds / "clean.wav"),
        *("--algorithm", "rls", "--taps", "3", "--set", "forgetting=1.0", "--settle", "0.1"),
        *("--out", sounds / "out.wav", "--report", sounds / "report.html"),
    )
    assert ended.code == 0
    assert ended.err == ""
    assert "RLS(taps=3, forgetting=1.0" in ended.out
    before, after = (float(ended.out.split(f" dB {when}")[0].split()[-1]) for when in ("before", "after"))
    assert before < 2
    assert after > 25
    assert len(read_signal(sounds / "out.wav").values) == 4000
    page = (sounds / "report.html").read_text()
    assert page.count("<svg") == 5
    assert "recurra filter" in page


@pytest.mark.parametrize("algorithm", ["nlms", "lms", "ap", "sign-error", "gngd", "vslms-mathews"])
def test_columns_of_a_table_and_json(recurra: Recurra, sounds: Path, algorithm: str) -> None:
    ended = recurra(
        *("filter", sounds / "all.csv", "--column", "0", "--reference-column", "1", "--clean-column", "2"),
        *("--algorithm", algorithm, "--taps", "3", "--set", "step=0.05", "--json"),
    )
    facts = json.loads(ended.out)
    assert facts["samples"] == 4000
    assert facts["rate_hz"] is None
    # Steps suit some of them better than others; each learns.
    assert facts["snr_after_db"] > facts["snr_before_db"] - 1


def test_hum_without_a_sensor_and_what_repeats(recurra: Recurra, sounds: Path) -> None:
    chance = np.random.default_rng(1)
    hum, rest = np.sin(2 * np.pi * 50 / 1000 * np.arange(5000) + 1), 0.3 * chance.normal(size=5000)
    write_signal(sounds / "hum.csv", np.stack([hum + rest, rest], axis=1), None)
    how = ("--clean-column", "1", "--rate", "1000", "--settle", "1", "--json")
    ended = recurra("filter", sounds / "hum.csv", "--mains", "50", "--algorithm", "lms", "--set", "step=0.01", *how)
    assert json.loads(ended.out)["snr_after_db"] > 15
    ended = recurra("filter", sounds / "hum.csv", "--enhance", "3", "--keep", "noise", "--out", sounds / "kept.csv")
    assert ended.code == 0
    kept = read_signal(sounds / "kept.csv").values[2000:, 0]
    assert np.corrcoef(kept, hum[2000:])[0, 1] > 0.9


@pytest.mark.parametrize(
    ("words", "fact"),
    [
        (["noisy.wav"], "nothing was asked for"),
        (["noisy.wav", "--out", "o.wav"], "name one source of the noise"),
        (["noisy.wav", "--out", "o.wav", "--mains", "50", "--enhance", "2"], "2 were given"),
        (["none.wav", "--out", "o.wav", "--mains", "50"], "no such file"),
        (["all.csv", "--out", "o.csv", "--mains", "50"], "--rate 360"),
        (["noisy.wav", "--out", "o.wav", "--mains", "5000"], "half the rate of 8000 Hz"),
        (["noisy.wav", "--out", "o.wav", "--reference", "noise.wav", "--algorithm", "nmls"], "There are: nlms"),
        (["noisy.wav", "--out", "o.wav", "--reference", "noise.wav", "--set", "stpe=1"], "There are: step"),
        (["noisy.wav", "--out", "o.wav", "--reference", "noise.wav", "--set", "step=x"], "step must be a number"),
        (["noisy.wav", "--out", "o.wav", "--reference", "noise.wav", "--set", "step=-1"], "step must be above 0"),
        (["noisy.wav", "--out", "o.wav", "--reference", "noise.wav", "--taps", "0"], "taps must be a whole number"),
        (["noisy.wav", "--out", "o.wav", "--reference", "short.csv"], "has 2 samples"),
        (["all.csv", "--out", "o.csv", "--reference-column", "7"], "has no channel '7'"),
        (["noisy.wav", "--out", "o.wav", "--reference", "noise.wav", "--settle", "9"], "--settle must leave something"),
        (
            ["noisy.wav", "--out", "o.wav", "--reference", "noise.wav", "--algorithm", "lms", "--set", "step=900"],
            "the weights ran away at sample",
        ),
    ],
)
def test_what_is_refused(recurra: Recurra, sounds: Path, words: list[str], fact: str) -> None:
    (sounds / "short.csv").write_text("1\n2\n")
    ended = recurra("filter", *(sounds / word if word.endswith((".wav", ".csv")) else word for word in words))
    assert ended.code == 2
    assert fact in ended.err
    assert "Traceback" not in ended.err
    assert not (sounds / "o.wav").exists()
