"""The golden runs: commands of the release before the contract of tasks, and what is recorded of the runs they made.

Folders and records were written by `python tests/golden/make.py` with the code of commit 4828f32, and are never written
anew: they hold later code to reading old runs with the same predictions.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import NamedTuple

import numpy as np

__all__ = ["GOLDEN", "RUNS", "Golden", "write_data"]

GOLDEN = Path(__file__).parent


class Golden(NamedTuple):
    """The words behind `recurra train` and the commands whose output is recorded; RUN stands for the folder."""

    train: list[str]
    commands: list[list[str]]


_SHORT = ["--iterations", "20", "--quiet", "--threads", "1"]
_TEXT = ["--hidden", "8", "--layers", "1", "--batch", "4", "--chunk", "10", "--set", "data.baseline_order=3", *_SHORT]
_WRITE = [["eval", "RUN", "data/text.txt", "--json"], ["generate", "RUN", "--length", "40", "--seed", "1", "--json"]]
_CLASSES = [["eval", "RUN", "data/cases.csv", "--json"], ["classify", "RUN", "data/cases.csv", "--json"]]
_CASES = ["classify", "data/cases.csv", "--hidden", "8", *_SHORT]
_EVENTS = ["events", "data/signal.csv", "--hidden", "8", "--tolerance", "3", "--rate", "0.02", *_SHORT]
_FOUND = [["detect", "RUN", "data/signal.csv", "--json"], ["watch", "RUN", "data/signal.csv", "--quiet"]]
_SERIES = ["forecast", "data/waves.csv", "--horizon", "6", "--hidden", "8", "--test", "12", *_SHORT]
_FORECAST = [
    ["forecast", "RUN", "data/waves.csv", "--json"],
    ["backtest", "RUN", "data/waves.csv", "--origins", "3", "--json"],
]
_ANOMALY = ["anomaly", "data/odd.csv", "--hidden", "8", "--window", "8", *_SHORT]
_JUDGE = [["eval", "RUN", "data/odd.csv", "--json"], ["watch", "RUN", "data/odd.csv", "--quiet"]]

RUNS: dict[str, Golden] = {
    "text-char": Golden(["text", "data/text.txt", "--embedding", "4", *_TEXT], _WRITE),
    "text-byte": Golden(
        ["text", "data/text.txt", "--level", "byte", "--embedding", "0", "--cell", "gru", *_TEXT], _WRITE
    ),
    "text-tied": Golden(["text", "data/text.txt", "--embedding", "8", "--set", "model.tied=true", *_TEXT], _WRITE),
    **{f"classify-{name}": Golden([*_CASES, "--model", name], _CLASSES) for name in ("recurrent", "esn")},
    **{
        f"classify-{name}": Golden(
            [*_CASES, "--model", name, "--set", "model.filters=[8, 8]", "--set", "model.kernels=[5, 3]"], _CLASSES
        )
        for name in ("fcn", "lstm_fcn")
    },
    "classify-members": Golden([*_CASES, "--members", "2", "--pooling", "mean"], _CLASSES),
    "classify-live": Golden(
        [*_CASES, "--set", "model.bidirectional=false"], [*_CLASSES, ["watch", "RUN", "data/cases.csv", "--quiet"]]
    ),
    "events-table": Golden(
        [*_EVENTS, "--events", "data/pulses.csv"],
        [["eval", "RUN", "data/signal.csv", "data/pulses.csv", "--json"], *_FOUND],
    ),
    "events-overlap": Golden([*_EVENTS, "--events", "data/pulses.csv", "--set", "model.overlap=true"], _FOUND),
    "events-column": Golden(
        ["events", "data/states.csv", *_EVENTS[2:], "--frame", "2"],
        [["eval", "RUN", "data/states.csv", "--json"], ["detect", "RUN", "data/states.csv", "--json"]],
    ),
    **{
        f"forecast-{name}": Golden([*_SERIES, "--model", name], _FORECAST)
        for name in (
            *("segment", "direct", "recursive", "attention", "narx", "tdnn", "esn", "ridge"),
            *("naive", "seasonal_naive", "drift"),
        )
    },
    "forecast-members": Golden(
        [*_SERIES, "--members", "2", "--quantiles", "0.1,0.5,0.9", "--set", "model.blend=auto"], _FORECAST
    ),
    "forecast-student": Golden([*_SERIES, "--model", "direct", "--set", "model.loss=student"], _FORECAST),
    "forecast-past": Golden(
        ["forecast", "data/wind.csv", *_SERIES[2:], "--target", "y", "--past", "wind"],
        [["forecast", "RUN", "data/wind.csv", "--json"]],
    ),
    **{
        f"anomaly-{name}": Golden([*_ANOMALY, "--model", name], _JUDGE)
        for name in ("online", "forecast", "autoencoder")
    },
    "task-reber": Golden(["task", "reber", *_SHORT], []),
    "task-adding": Golden(["task", "adding", "--set", "length=24", "--hidden", "8", *_SHORT], []),
    "task-ntm_copy": Golden(["task", "ntm_copy", "--hidden", "8", "--iterations", "3", "--quiet"], []),
    "task-syllables": Golden(["task", "syllables", *_SHORT], []),
}
"""Name -> how it was made. Those of classic tasks are compared by `recurra.load(RUN).evaluate()`."""


def write_data(folder: Path) -> None:
    """Write the inputs, seeded."""
    chance, rng = random.Random(0), np.random.default_rng(0)
    words = "the cat sat on a mat and the dog ran to see what the cat had seen there again".split()  # noqa: SIM905
    _lines(folder / "text.txt", [" ".join(chance.choices(words, k=8)) for _ in range(60)])
    rows = []
    for case in range(24):
        ramp = (1 if case % 2 else -1) * np.arange(int(rng.integers(8, 15))) / 5
        for step, value in enumerate(ramp):
            noise = rng.normal(size=2)
            rows.append(f"c{case},{step},{value + 0.1 * noise[0]:.4f},{noise[1]:.4f},{'up' if case % 2 else 'down'}")
    _lines(folder / "cases.csv", ["unique_id,ds,x,z,label", *rows])
    begins, signal = np.arange(30, 590, 47), 0.2 * rng.normal(size=600)
    for begin in begins:
        signal[begin : begin + 12] += 2
    _lines(folder / "signal.csv", ["ds,y", *(f"{step},{value:.4f}" for step, value in enumerate(signal))])
    _lines(folder / "pulses.csv", ["start,end,label", *(f"{begin},{begin + 11},pulse" for begin in begins)])
    states = np.array(["none", "low", "high"])[np.repeat(rng.integers(0, 3, 60), 10)]
    levels = np.select([states == "low", states == "high"], [1.0, 2.0]) + 0.1 * rng.normal(size=600)
    _lines(
        folder / "states.csv",
        ["ds,x,label", *(f"{step},{x:.4f},{s}" for step, (x, s) in enumerate(zip(levels, states, strict=True)))],
    )
    hours = np.datetime64("2024-01-01T00", "h") + np.arange(24 * 10)
    stamps = [f"{str(hour).replace('T', ' ')}:00" for hour in hours]
    wave = np.sin(np.arange(240) * np.pi / 12)
    rows = [
        f"{name},{stamp},{level + value + 0.1 * rng.normal():.4f}"
        for name, level in (("north", 5.0), ("south", 9.0))
        for stamp, value in zip(stamps, wave, strict=True)
    ]
    _lines(folder / "waves.csv", ["unique_id,ds,y", *rows])
    wind = rng.normal(size=240)
    series = wave + 0.3 * wind
    _lines(
        folder / "wind.csv",
        ["ds,y,wind", *(f"{s},{y:.4f},{w:.4f}" for s, y, w in zip(stamps, series, wind, strict=True))],
    )
    values, labels = np.sin(np.arange(400) / 5) + 0.05 * rng.normal(size=400), np.zeros(400, int)
    for row in (250, 380):
        values[row] += 4
        labels[row] = 1
    _lines(
        folder / "odd.csv",
        ["ds,y,label", *(f"{step},{v:.4f},{k}" for step, (v, k) in enumerate(zip(values, labels, strict=True)))],
    )


def _lines(path: Path, lines: list[str]) -> None:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
