"""What the recipes of this folder share: several ways to clean the same recordings, their SNR over seeds, pictures."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recurra.classical.filters import AdaptiveFilter, Cancelled, cancel, snr_db
from recurra.cli.filter_report import Filtering, write_report
from recurra.data.signals import write_signal

__all__ = ["Recipe", "Recording"]


@dataclass(frozen=True)
class Recording:
    """A signal whose noise is known, and a second sensor."""

    clean: np.ndarray
    noise: np.ndarray
    reference: np.ndarray
    rate_hz: float

    @property
    def noisy(self) -> np.ndarray:
        """What the sensor at the signal records."""
        return self.clean + self.noise


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How recordings are made, and what they are cleaned with."""

    name: str
    subject: str
    lead: str
    record: Callable[[Path, int], Recording]
    """From the folder of corpora and a seed."""
    fixed: Mapping[str, Callable[[Recording], np.ndarray]]
    """What does without the second sensor."""
    adaptive: Mapping[str, AdaptiveFilter]
    best: str
    """The adaptive one that the report shows."""
    settle_s: float
    """Seconds at the start that no figure counts."""
    suffix: str
    """Of the files: wav or csv."""

    def run(self) -> int:
        """Clean each seed's recording in every way, print the table, write the files and the report of the first."""
        parser = argparse.ArgumentParser(description=self.lead)
        parser.add_argument("--data", required=True, type=Path, help="the folder of corpora")
        parser.add_argument("--out", type=Path, default=Path("runs") / self.name, help=f"default runs/{self.name}")
        parser.add_argument("--seeds", type=int, default=5)
        parser.add_argument("--json", action="store_true", help="print the figures as JSON, nothing else")
        arguments = parser.parse_args()
        rows: dict[str, list[float]] = {}
        for seed in range(arguments.seeds):
            recording = self.record(arguments.data, seed)
            self._add(rows, "before", recording, recording.noisy)
            for way, clean in self.fixed.items():
                self._add(rows, way, recording, clean(recording))
            for way, algorithm in self.adaptive.items():
                began = time.perf_counter()
                found = cancel(recording.noisy, recording.reference, algorithm)
                spent = time.perf_counter() - began
                self._add(rows, way, recording, found.signal)
                if seed == 0 and way == self.best:
                    self._write(arguments.out, recording, found, spent)
        if arguments.json:
            sys.stdout.write(json.dumps(rows) + "\n")
            return 0
        sys.stdout.write(f"SNR in dB, seeds 0 to {arguments.seeds - 1}, without the first {self.settle_s:g} s\n")
        width = max(map(len, rows))
        for way, values in rows.items():
            each = "  ".join(f"{value:6.2f}" for value in values)
            spread = f"{min(values):.2f} .. {max(values):.2f}"
            sys.stdout.write(f"  {way:<{width}}  median {statistics.median(values):6.2f}  ({spread})   {each}\n")
        sys.stdout.write(f"Recordings of seed 0 and the report are in {arguments.out}\n")
        return 0

    def _add(self, rows: dict[str, list[float]], way: str, recording: Recording, result: np.ndarray) -> None:
        skip = round(self.settle_s * recording.rate_hz)
        rows.setdefault(way, []).append(snr_db(recording.clean[skip:], result[skip:]))

    def _write(self, folder: Path, recording: Recording, found: Cancelled, spent: float) -> None:
        parts = {"noisy": recording.noisy, "reference": recording.reference, "clean": recording.clean}
        parts["result"] = found.signal
        # Sound files end at 1.
        most = max(np.abs(recording.noisy).max(), np.abs(recording.reference).max())
        scale = 0.9 / most if self.suffix == "wav" else 1.0
        for what, values in parts.items():
            write_signal(folder / f"{what}.{self.suffix}", values * scale, recording.rate_hz)
        skip = round(self.settle_s * recording.rate_hz)
        facts = {
            "samples": len(found.signal),
            "seconds": spent,
            "snr_before_db": snr_db(recording.clean[skip:], recording.noisy[skip:]),
            "snr_after_db": snr_db(recording.clean[skip:], found.signal[skip:]),
        }
        shown = Filtering(
            name=self.subject,
            noisy=recording.noisy,
            result=found.signal,
            clean=recording.clean,
            rate_hz=recording.rate_hz,
            weights=np.asarray(found.state.weights)[0],
            algorithm=self.adaptive[self.best],
            show_s=None,
            settle=skip,
            facts=facts,
            command=f"python -m recipes.filters.{self.name} --data DATA",
            lead=self.lead,
        )
        write_report(shown, folder / "report.html")
