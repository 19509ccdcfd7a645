"""Heart beats in an electrocardiogram as they come: MIT-BIH record 100, the last third held out.

    python recipes/events/ecg.py FOLDER --out runs/ecg [--seeds 3] [--classes]

Beats are found within 150 ms (ANSI/AAMI EC57), from lead MLII alone, causally: the net reads 4 samples (11 ms) at a
time (the lead less its running mean, and its slope) and may answer 100 ms late. Of the half hour the first half
teaches, the next sixth chooses weights and thresholds, and the rest is the test. Beside it on the same test part, both
with the whole recording at hand: scipy's find_peaks with a height and distance found on the first two thirds, and the
detector of Pan and Tompkins (1985), written after the paper with scipy's filters. --classes tells normal from
premature beats (33 in the record) too.

The record has 2,239 normal beats, 33 premature ones of the atria and one of the ventricles, too few to learn.
"""

from __future__ import annotations

import argparse
import sys
import time
from itertools import product
from pathlib import Path

import numpy as np
import scipy.signal
import torch

from recurra.data.series.series_set import SeriesSet
from recurra.data.sets import ecg_mitdb
from recurra.tasks.events.match import match
from recurra.tasks.events.run import load, train_run
from recurra.tasks.events.settings import EventSettings
from recurra.tasks.events.truth import Truth
from recurra.tasks.report import write_report
from recurra.tasks.settings import settings_from
from recurra.training.progress import Progress

RATE_HZ = 360
TOLERANCE_S = 0.15
TEST, VALIDATION = 1 / 3, 1 / 6
SETTINGS = (
    *(f"data.rate_hz={RATE_HZ}", f"data.test={TEST:.6f}", f"data.validation={VALIDATION:.6f}"),
    *(f"decode.tolerance_s={TOLERANCE_S}", "model.frame=4", "model.look_ahead_s=0.1", "model.widen_s=0.05"),
    *("model.hidden=32", "batch=16", "chunk=256", "train.iterations=500", "train.evaluate_every=50"),
)
# Pauses, notes and changes of rhythm are no beats: codes of the database's annotations.
OTHER = {14, 16, 18, 19, 22, 23, 24, 28, 32, 33, 39, 40}


def main() -> None:
    """Train, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where 100.hea, 100.dat and 100.atr are")
    parser.add_argument("--out", type=Path, default=Path("runs/ecg"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--classes", action="store_true")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    record = ecg_mitdb.record(arguments.folder)
    signal = record.signals[:, 0]
    samples, codes = annotations(arguments.folder / "100.atr")
    truth = beats(samples, codes, arguments.classes)
    stream = SeriesSet.of([channels(signal)], names=[record.leads[0], "slope"]), truth
    first = round(len(signal) * (1 - TEST))
    say(
        f"{len(samples)} beats; test: {int((samples >= first).sum())} in {(len(signal) - first) / RATE_HZ / 60:.1f} min"
    )
    for name, detector in (("find_peaks", peaks), ("Pan-Tompkins", pan_tompkins)):
        say(f"{name}: {told(*compared(detector(signal, samples, first), samples, first))}")
    for seed in range(arguments.seeds):
        folder = arguments.out / f"{'classes' if arguments.classes else 'beats'}-{seed}"
        began = time.process_time()
        if not (folder / "weights.safetensors").exists():
            settings = settings_from(EventSettings, [*SETTINGS, f"seed={seed}", *arguments.set])
            train_run(settings, folder, stream=stream, progress=Progress("plain"), resume=folder.exists())
            write_report(folder)
        detector = load(folder)
        # As everything else here it counts from the border on, and has read what came before.
        found = detector.evaluate(*stream, [first]).numbers(detector.classes)
        any_ = found["any_class"]
        line = told(any_["true"], any_["false"], any_["missed"])
        line += f"; {any_['false_per_hour']:.1f} false/h; known {any_['delay_median_s']:.3f} s after the beat"
        line += f" (95 %: {any_['delay_95_s']:.3f})"
        say(f"GRU, seed {seed}: {line}; {time.process_time() - began:.0f} CPU s")
        if arguments.classes:
            for name, row in found["by_class"].items():
                say(f"  {name}: {told(row['true'], row['false'], row['missed'])}")


def channels(signal: np.ndarray) -> np.ndarray:
    """The lead less its mean so far (forgetting over half a second), and its slope: (T, 2), from the past alone."""
    rate = 1 / (0.5 * RATE_HZ)
    level = scipy.signal.lfilter([rate], [1, rate - 1], signal, zi=[(1 - rate) * signal[0]])[0]
    return np.stack([signal - level, np.diff(signal, prepend=signal[0])], axis=1)


def annotations(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Samples and codes of the beats in an annotation file of the database (two bytes each: code and interval)."""
    words = np.frombuffer(path.read_bytes(), "<u2")
    samples, codes, now, place = [], [], 0, 0
    while place < len(words) and words[place]:
        code, interval = int(words[place]) >> 10, int(words[place]) & 1023
        place += 1
        if code == 59:
            # A long interval follows, its high half first.
            now += int(words[place]) << 16 | int(words[place + 1])
            place += 2
        elif code == 63:
            place += (interval + 1) // 2
        elif code < 59:
            now += interval
            if code not in OTHER:
                samples.append(now)
                codes.append(code)
    return np.array(samples), np.array(codes)


def beats(samples: np.ndarray, codes: np.ndarray, classes: bool) -> Truth:
    """As events of one step; the one ventricular beat counts as premature."""
    names = ("normal", "premature") if classes else ("beat",)
    label = (codes != 1).astype(np.int64) if classes else np.zeros(len(codes), np.int64)
    return Truth(names, np.zeros(len(samples), np.int64), samples, samples, label)


def peaks(signal: np.ndarray, samples: np.ndarray, first: int) -> np.ndarray:
    """scipy.signal.find_peaks; height and distance are the best of a grid on what lies before the test."""
    grid = product(
        np.quantile(signal[samples[samples < first]], 0.05) * np.array([0.3, 0.5, 0.7, 0.9]), (0.2, 0.3, 0.4)
    )
    best = max(grid, key=lambda pair: score(compared(_peaks(signal[:first], *pair), samples[samples < first], 0)))
    return _peaks(signal, *best)


def _peaks(signal: np.ndarray, height: float, distance_s: float) -> np.ndarray:
    return scipy.signal.find_peaks(signal, height=height, distance=round(distance_s * RATE_HZ))[0]


def pan_tompkins(signal: np.ndarray, samples: np.ndarray, first: int) -> np.ndarray:
    """5 to 15 Hz, derivative, square, mean over 150 ms, two running thresholds (Pan and Tompkins 1985)."""
    del samples, first
    band = scipy.signal.sosfiltfilt(scipy.signal.butter(1, (5, 15), "bandpass", fs=RATE_HZ, output="sos"), signal)
    width = round(0.15 * RATE_HZ)
    energy = np.convolve(np.gradient(band) ** 2, np.ones(width) / width, "same")
    candidates, _ = scipy.signal.find_peaks(energy, distance=round(0.2 * RATE_HZ))
    level, noise, found = energy[: 2 * RATE_HZ].max() * 0.5, energy[: 2 * RATE_HZ].mean(), []
    for place in candidates:
        height = energy[place]
        if height > noise + 0.25 * (level - noise):
            level = 0.125 * height + 0.875 * level
            begin = max(0, place - width // 2)
            found.append(begin + int(np.argmax(np.abs(band[begin : place + width // 2]))))
        else:
            noise = 0.125 * height + 0.875 * noise
    return np.array(found)


def compared(found: np.ndarray, samples: np.ndarray, first: int) -> tuple[int, int, int]:
    """True, false and missed beats from sample `first` on."""
    pairs = match(samples.astype(float), found.astype(float), TOLERANCE_S * RATE_HZ + 0.5)
    true = int((samples[pairs[:, 0]] >= first).sum())
    alone = np.delete(found, pairs[:, 1])
    return true, int((alone >= first).sum()), int((np.delete(samples, pairs[:, 0]) >= first).sum())


def score(counts: tuple[int, int, int]) -> float:
    """F1."""
    true, false, missed = counts
    return 2 * true / max(1, 2 * true + false + missed)


def told(true: int, false: int, missed: int) -> str:
    """One line."""
    sensitivity, predictive = true / max(1, true + missed), true / max(1, true + false)
    return f"{true} found, {missed} missed, {false} false: Se {100 * sensitivity:.2f} %, +P {100 * predictive:.2f} %"


def say(text: str) -> None:
    """At once, also into a file."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
