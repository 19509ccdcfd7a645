"""Spoken digits by a liquid of spiking neurons: FSDD, its official split (recordings 0 to 4 of each speaker held out).

    python recipes/reservoir/digits.py PATH/fsdd_4_speakers.tar.gz

Sound (8 kHz) becomes 20 log-mel bands, 10 ms apart; each band the most regular spike train with its rate. The liquid's
spikes go through 30 ms filters, averaged over each sixth of the word, to a ridge readout. Beside it: the same readout
on the input spikes, without a liquid.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import tarfile
import time
import wave
from itertools import pairwise

import numpy as np

from recurra.reservoir.encoding import integrate_and_fire
from recurra.reservoir.liquid import Liquid, traces
from recurra.reservoir.ridge import Ridge

RATE_HZ, HOP, WINDOW, BANDS = 8000, 80, 200, 20
STEPS_PER_FRAME = 5
PARTS = 6
HELD_OUT = 5


def main() -> None:
    """Print the accuracy with and without the liquid."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", help="fsdd_4_speakers.tar.gz")
    parser.add_argument("--column", type=int, nargs=3, default=[4, 5, 20])
    parser.add_argument("--weight-scale", type=float, default=0.2)
    parser.add_argument("--rate", type=float, default=150.0, help="spikes per second of the loudest band")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=int, default=0, help="only recordings with an index below this")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    begin = time.perf_counter()
    sounds, labels, held = read(arguments.archive, arguments.limit)
    frames = [log_mel(sound) for sound in sounds]
    liquid = Liquid(
        BANDS, column=tuple(arguments.column), weight_scale=arguments.weight_scale, dt_ms=2.0, seed=arguments.seed
    )
    inside, outside = [], []
    for at in range(0, len(frames), 50):
        spikes, lengths = encoded(frames[at : at + 50], arguments.rate)
        inside.append(summary(liquid(spikes, lengths=lengths)[0], lengths))
        outside.append(summary(spikes, lengths))
    found = {"neurons": liquid.units, "learnt": int((~held).sum()), "judged": int(held.sum())}
    for name, features in (("liquid", inside), ("input", outside)):
        found[name] = accuracy(np.concatenate(features), labels, held)
    found["seconds"] = round(time.perf_counter() - begin, 1)
    text = f"liquid of {found['neurons']} neurons {found['liquid']:.3f}, input alone {found['input']:.3f}"
    text += f"  ({found['learnt']} recordings learnt, {found['judged']} judged)"
    sys.stdout.write((json.dumps(found) if arguments.json else text) + "\n")


def read(archive: str, limit: int) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Sounds in [-1, 1], their digits, and which are held out."""
    sounds, labels, held = [], [], []
    with tarfile.open(archive) as files:
        for member in sorted(files.getmembers(), key=lambda m: m.name):
            if not member.name.endswith(".wav"):
                continue
            digit, _, index = member.name.rsplit("/", 1)[-1][:-4].split("_")
            content = files.extractfile(member)
            if content is None or (limit and int(index) >= limit):
                continue
            with wave.open(io.BytesIO(content.read())) as sound:
                samples = np.frombuffer(sound.readframes(sound.getnframes()), dtype="<i2")
            sounds.append(samples / 32768)
            labels.append(int(digit))
            held.append(int(index) < HELD_OUT)
    return sounds, np.array(labels), np.array(held)


def log_mel(sound: np.ndarray) -> np.ndarray:
    """(frames, BANDS) in [0, 1]: 0 is 60 dB and more below the loudest of the recording."""
    padded = np.pad(sound, (0, max(0, WINDOW - len(sound))))
    windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP] * np.hanning(WINDOW)
    power = np.abs(np.fft.rfft(windows, 256)) ** 2
    corners = np.linspace(mel(100.0), mel(3800.0), BANDS + 2)
    centres = mel(np.arange(129) * RATE_HZ / 256)
    rising = (centres - corners[:-2, None]) / (corners[1:-1] - corners[:-2])[:, None]
    falling = (corners[2:, None] - centres) / (corners[2:] - corners[1:-1])[:, None]
    bands = 10 * np.log10(power @ np.clip(np.minimum(rising, falling), 0, None).T + 1e-12)
    return np.clip((bands - bands.max()) / 60 + 1, 0, 1)


def mel(hertz: float | np.ndarray) -> np.ndarray:
    """The mel scale of O'Shaughnessy (1987)."""
    return 2595 * np.log10(1 + np.asarray(hertz) / 700)


def encoded(frames: list[np.ndarray], rate: float) -> tuple[np.ndarray, np.ndarray]:
    """Spikes (B, T, BANDS) and lengths (B,), in steps of 2 ms."""
    lengths = np.array([len(frame) * STEPS_PER_FRAME for frame in frames])
    rates = np.zeros((len(frames), lengths.max(), BANDS))
    for row, frame in enumerate(frames):
        rates[row, : lengths[row]] = np.repeat(frame, STEPS_PER_FRAME, axis=0) * rate
    return integrate_and_fire(rates, dt_ms=2.0), lengths


def summary(spikes: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """(B, PARTS N): filtered spikes, averaged over equal parts of each row."""
    filtered = traces(spikes, dt_ms=2.0)
    rows = []
    for row, length in zip(filtered, lengths, strict=True):
        cuts = np.linspace(0, length, PARTS + 1).astype(int)
        rows.append(np.concatenate([row[a:b].mean(0) for a, b in pairwise(cuts)]))
    return np.array(rows)


def accuracy(features: np.ndarray, labels: np.ndarray, held: np.ndarray) -> float:
    """Share of held-out recordings whose digit scores best; the ridge is chosen on the others alone."""
    aims = np.eye(10)[labels]
    fitted = Ridge(features[~held], aims[~held])
    ridges = np.logspace(-2, 5, 22).tolist()
    readout = fitted.leave_one_out(features[~held], aims[~held], ridges).readout
    return float((readout(features[held]).argmax(1) == labels[held]).mean())


if __name__ == "__main__":
    main()
