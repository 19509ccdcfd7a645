"""Mains hum that wanders between 47 and 53 Hz, cancelled in a real electrocardiogram.

    python -m recipes.filters.ecg_mains_hum --data DATA

Signal: 60 s of lead MLII of MIT-BIH record 100 (360 Hz), begun at a place that the seed draws. Noise, added here: hum
of about 0.35 mV with a third harmonic, its frequency wandering from 47 to 53 Hz, its strength by 30 %. Reference: a
sensor near the mains with another gain, other phases, a weaker harmonic and noise of its own. The settings were chosen
on seeds 100 to 102.
"""

from __future__ import annotations

import sys
from functools import cache, partial
from pathlib import Path

import numpy as np
import scipy.signal
from recipes.filters.comparison import Recipe, Recording

from recurra.classical.filters import LMS, NLMS, RLS, SignErrorLMS, cancel, sine_pair
from recurra.data.sets import ecg_mitdb

SECONDS = 60
FIXED = {"notch at 50 Hz": (49.0, 51.0), "band-stop 46.5 to 53.5 Hz": (46.5, 53.5)}


@cache
def heart(folder: Path) -> ecg_mitdb.Record:
    """Record 100."""
    return ecg_mitdb.record(folder / "ecg_mitdb")


def record(folder: Path, seed: int) -> Recording:
    """The heart, the hum, the sensor."""
    found = heart(folder)
    rate, chance = found.rate_hz, np.random.default_rng(seed)
    steps = int(SECONDS * rate)
    start = chance.integers(0, len(found.signals) - steps)
    clean = found.signals[start : start + steps, 0]
    clean = clean - clean.mean()
    time = np.arange(steps) / rate
    wander = sum(np.sin(2 * np.pi * time / period + chance.uniform(0, 2 * np.pi)) for period in (23.0, 11.0, 5.3))
    # Both ends of the range are reached.
    wander = 2 * (wander - np.min(wander)) / np.ptp(wander) - 1
    angle = 2 * np.pi * np.cumsum(50 + 3 * wander) / rate
    phases = chance.uniform(0, 2 * np.pi, size=5)
    strength = 0.5 * (1 + 0.3 * np.sin(2 * np.pi * time / 17 + phases[0]))
    hum = strength * (np.sin(angle + phases[1]) + 0.15 * np.sin(3 * angle + phases[2]))
    sensed = np.sin(angle + phases[3]) + 0.1 * np.sin(3 * angle + phases[4])
    reference = chance.uniform(0.5, 3) * sensed + 0.01 * chance.normal(size=steps)
    return Recording(clean, hum, reference, rate)


def stopped(recording: Recording, edges: tuple[float, float]) -> np.ndarray:
    """A fixed filter, forwards and backwards so that it has no phase: what one would do without a sensor."""
    sections = scipy.signal.butter(2, edges, "bandstop", fs=recording.rate_hz, output="sos")
    return scipy.signal.sosfiltfilt(sections, recording.noisy)


def without_sensor(recording: Recording) -> np.ndarray:
    """LMS with a sine and a cosine of 50 Hz: a notch that is wide enough to follow."""
    pair = sine_pair([50.0, 150.0], recording.rate_hz, len(recording.clean))
    return cancel(recording.noisy, pair, LMS(step=0.1)).signal


RECIPE = Recipe(
    name="ecg_mains_hum",
    subject="an electrocardiogram",
    lead="Mains hum wandering from 47 to 53 Hz in a real electrocardiogram, cancelled with a second sensor.",
    record=record,
    fixed={name: partial(stopped, edges=edges) for name, edges in FIXED.items()}
    | {"LMS, 50 and 150 Hz, no sensor": without_sensor},
    adaptive={
        "sign-error LMS, 4 taps": SignErrorLMS(taps=4, step=0.002),
        "NLMS, 4 taps": NLMS(taps=4, step=0.05),
        "RLS, 4 taps": RLS(taps=4, forgetting=0.99),
    },
    best="RLS, 4 taps",
    settle_s=5.0,
    suffix="csv",
)

if __name__ == "__main__":
    sys.exit(RECIPE.run())
