"""The report of `recurra filter`: before and after, spectra, SNR over time, the weights it ended with."""

from __future__ import annotations

import itertools
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.signal

from recurra.classical.filters import AdaptiveFilter, snr_db
from recurra.diagnostics.chart import Axis, Line, line_chart
from recurra.diagnostics.report import Figure, Key, Report, write

__all__ = ["Filtering", "write_report"]

# As many samples as a chart shows one by one.
_CLOSE = 580
_PIECES = 120


@dataclass(frozen=True, kw_only=True)
class Filtering:
    """What was filtered and what came out; signals are (T,)."""

    name: str
    noisy: np.ndarray
    result: np.ndarray
    clean: np.ndarray | None
    rate_hz: float | None
    weights: np.ndarray
    algorithm: AdaptiveFilter
    show_s: float | None
    settle: int
    """Samples at the start that the figures leave out."""
    facts: dict[str, Any]
    command: str = ""
    lead: str = ""

    @property
    def named(self) -> list[tuple[str, np.ndarray]]:
        """The signals that are shown; the clean one last, over the others."""
        found = [("before", self.noisy), ("after", self.result)]
        return found if self.clean is None else [*found, ("without noise", self.clean)]


def write_report(filtering: Filtering, path: Path) -> None:
    """Write the page."""
    facts = filtering.facts
    keys = []
    if "snr_after_db" in facts:
        gain = facts["snr_after_db"] - facts["snr_before_db"]
        keys.append(Key("SNR after", f"{facts['snr_after_db']:.1f} dB", f"before: {facts['snr_before_db']:.1f} dB"))
        keys.append(Key("gain", f"{gain:.1f} dB"))
    keys.append(Key("filter", type(filtering.algorithm).__name__, f"{len(filtering.weights)} weights"))
    keys.append(Key("speed", f"{facts['samples'] / facts['seconds'] / 1e6:.2f} M samples/s"))
    figures = [_close(filtering, "Before", filtering.named[:1]), _close(filtering, "After", filtering.named[1:])]
    figures += [_over_time(filtering), _spectrum(filtering), _weights(filtering)]
    write(
        Report(
            title=f"Noise cancelled in {filtering.name}",
            lead=filtering.lead,
            keys=keys,
            figures=figures,
            settings={"algorithm": type(filtering.algorithm).__name__, **asdict(filtering.algorithm)},
            command=filtering.command,
        ),
        path,
    )


def _close(filtering: Filtering, title: str, signals: list[tuple[str, np.ndarray]]) -> Figure:
    rate, total = filtering.rate_hz or 1.0, len(filtering.noisy)
    start = total // 2 if filtering.show_s is None else int(filtering.show_s * rate)
    start = max(0, min(start, total - _CLOSE))
    places = slice(start, min(total, start + _CLOSE))
    time = (np.arange(places.start, places.stop) / rate).tolist()
    lines = [Line(name, time, values[places].tolist()) for name, values in signals]
    chart = line_chart(lines, _time_axis(filtering), Axis("value"), label=f"{title}: {signals[0][0]}")
    return Figure(title, chart, "A piece of the recording, sample by sample.")


def _over_time(filtering: Filtering) -> Figure:
    total = len(filtering.noisy)
    edges = np.unique(np.linspace(0, total, min(_PIECES, total) + 1).astype(int))
    middle = ((edges[:-1] + edges[1:]) / 2 / (filtering.rate_hz or 1.0)).tolist()
    pieces = [slice(a, b) for a, b in itertools.pairwise(edges)]
    if filtering.clean is None:
        lines = [
            Line(name, middle, [10 * float(np.log10((values[p] ** 2).mean() + 1e-20)) for p in pieces])
            for name, values in filtering.named
        ]
        chart = line_chart(lines, _time_axis(filtering), Axis("level (dB)"), label="level over time")
        return Figure("Level over time", chart, "Mean power of pieces of the recording.")
    clean = filtering.clean
    # How far the error lies below the signal as a whole: pauses of the signal would make a ratio of pieces jump.
    power = (clean**2).mean()
    lines = [
        Line(name, middle, [10 * float(np.log10(power / (((values - clean)[p] ** 2).mean() + 1e-20))) for p in pieces])
        for name, values in filtering.named[:2]
    ]
    chart = line_chart(lines, _time_axis(filtering), Axis("signal over error (dB)"), label="SNR over time")
    whole = snr_db(clean[filtering.settle :], filtering.result[filtering.settle :])
    note = f"Mean power of the signal over that of the error in each piece; {whole:.1f} dB over the whole"
    return Figure("Learning", chart, note + (" after settling." if filtering.settle else "."))


def _spectrum(filtering: Filtering) -> Figure:
    rate = filtering.rate_hz or 1.0
    size = min(1024, len(filtering.noisy))
    lines = []
    for name, values in filtering.named:
        frequency, power = scipy.signal.welch(values[filtering.settle :], rate, nperseg=size)
        lines.append(Line(name, frequency[1:].tolist(), (10 * np.log10(power[1:] + 1e-20)).tolist()))
    label = "frequency (Hz)" if filtering.rate_hz else "frequency (per sample)"
    chart = line_chart(lines, Axis(label), Axis("power density (dB)"), label="spectrum")
    return Figure("Spectrum", chart, "Welch's estimate, windows of up to 1024 samples.")


def _weights(filtering: Filtering) -> Figure:
    values = np.real(filtering.weights)
    chart = line_chart(
        [Line("weights at the end", list(range(len(values))), values.tolist())],
        Axis("tap (0: newest sample)"),
        Axis("weight"),
        label="weights",
    )
    return Figure("What it learned", chart, "The weights after the last sample: its estimate of the path of the noise.")


def _time_axis(filtering: Filtering) -> Axis:
    return Axis("time (s)" if filtering.rate_hz else "sample")
