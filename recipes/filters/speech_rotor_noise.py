"""Speech under a rotor, cancelled with a second microphone.

    python -m recipes.filters.speech_rotor_noise --data DATA

Signal: 20 s of spoken digits (8 kHz, four speakers, drawn by the seed) with pauses. Noise, made here: 59 harmonics of
a blade rate of about 17 a second that wanders, and wind that the blades modulate; it reaches the speaker's microphone
through a room of 96 samples that the seed draws, 5 dB above the speech. Reference: a microphone at the rotor, with
noise of its own 34 dB below. The settings were chosen on seeds 100 to 102.
"""

from __future__ import annotations

import io
import sys
import tarfile
from functools import cache
from pathlib import Path

import numpy as np
import scipy.io.wavfile
import scipy.signal
from recipes.filters.comparison import Recipe, Recording

from recurra.classical.filters import NLMS, RLS, AffineProjection

SECONDS, RATE_HZ, LOUDER_DB = 20, 8000, 5.0


@cache
def digits(folder: Path) -> list[np.ndarray]:
    """All recordings of spoken digits, each of one loudness."""
    found = []
    with tarfile.open(folder / "fsdd" / "fsdd_4_speakers.tar.gz") as archive:
        for member in sorted((m for m in archive.getmembers() if m.name.endswith(".wav")), key=lambda m: m.name):
            file = archive.extractfile(member)
            _, samples = scipy.io.wavfile.read(io.BytesIO(file.read() if file else b""))
            values = samples.astype(np.float64)
            found.append(0.05 * values / np.sqrt((values**2).mean()))
    return found


def record(folder: Path, seed: int) -> Recording:
    """The speech, the rotor through the room, the microphone at the rotor."""
    chance = np.random.default_rng(seed)
    steps, parts = SECONDS * RATE_HZ, []
    spoken = digits(folder)
    while sum(map(len, parts)) < steps:
        parts += [np.zeros(chance.integers(1000, 3000)), spoken[chance.integers(len(spoken))]]
    clean = np.concatenate(parts)[:steps]
    time = np.arange(steps) / RATE_HZ
    wander = sum(np.sin(2 * np.pi * time / period + chance.uniform(0, 2 * np.pi)) for period in (7.0, 3.1))
    angle = 2 * np.pi * np.cumsum(17 + 0.4 * wander) / RATE_HZ
    blades = sum(
        chance.uniform(0.3, 1) / k**0.6 * np.sin(k * angle + chance.uniform(0, 2 * np.pi)) for k in range(1, 60)
    )
    wind = 0.5 * (1 + 0.8 * np.sin(angle)) * chance.normal(size=steps)
    rotor = blades / np.std(blades) + wind
    room = chance.normal(size=96) * np.exp(-np.arange(96) / 20)
    room[:8] = 0
    noise = scipy.signal.lfilter(room, 1.0, rotor)
    noise *= np.sqrt((clean**2).mean() / (noise**2).mean()) * 10 ** (LOUDER_DB / 20)
    return Recording(clean, noise, 0.3 * (rotor + 0.02 * chance.normal(size=steps)), RATE_HZ)


def high_passed(recording: Recording) -> np.ndarray:
    """A fixed filter: rotors are loudest below 300 Hz, where there is little speech."""
    sections = scipy.signal.butter(4, 300, "highpass", fs=recording.rate_hz, output="sos")
    return scipy.signal.sosfiltfilt(sections, recording.noisy)


RECIPE = Recipe(
    name="speech_rotor_noise",
    subject="speech",
    lead="Speech under a rotor, cancelled with a second microphone at the rotor.",
    record=record,
    fixed={"high-pass at 300 Hz": high_passed},
    adaptive={
        "NLMS, 128 taps": NLMS(taps=128, step=0.02),
        "affine projection of order 4, 128 taps": AffineProjection(taps=128, order=4, step=0.02),
        "RLS, 128 taps": RLS(taps=128, forgetting=0.99995),
    },
    best="RLS, 128 taps",
    settle_s=2.0,
    suffix="wav",
)

if __name__ == "__main__":
    sys.exit(RECIPE.run())
