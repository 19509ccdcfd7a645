"""Eigenvalues over training: a callback that records them, and what it wrote read back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recurra.diagnostics.jacobian import track_jacobians
from recurra.diagnostics.observe import observe
from recurra.diagnostics.spectrum import spectrum, step_spectrum
from recurra.diagnostics.subject import Subject
from recurra.layers.recurrent import Recurrent

__all__ = ["FILE", "Moment", "SpectrumRecord", "read_spectra"]

FILE = "spectrum.jsonl"
"""Where a run folder keeps the record."""


class Moment(NamedTuple):
    """The eigenvalues at one iteration, by matrix (`0.U.i`) or by layer (`layer 0 step`)."""

    iteration: int
    eigenvalues: dict[str, NDArray[np.complex128]]


class SpectrumRecord:
    """A training callback that records the eigenvalues of the recurrent matrices, and of linearised steps.

    >>> Callback(at(1, 100, 1000, then=1000), SpectrumRecord())                                # doctest: +SKIP

    Args:
        subject: whose model is the one that is trained; with it the linearised step of every layer at the first steps
            of its example is recorded too (all states as one vector, eigenvalues of all those steps together).
        steps: how many steps that are.
        widest: matrices and states wider than this are left out: their eigenvalues take seconds.

    `moments` holds what was recorded; in a run with a folder it is also appended to spectrum.jsonl there, which
    `recurra inspect` shows.

    """

    def __init__(self, subject: Subject | None = None, *, steps: int = 4, widest: int = 512) -> None:
        self.subject, self.steps, self.widest = subject, steps, widest
        self.moments: list[Moment] = []

    def __call__(self, trainer: Any) -> None:
        """Record the model as it is now (in a run with averaged weights, their average)."""
        layers = [part for part in trainer.model.modules() if isinstance(part, Recurrent)]
        found: dict[str, NDArray[np.complex128]] = {}
        for place, layer in enumerate(layers):
            prefix = f"{place}." if len(layers) > 1 else ""
            matrices = {name: value for name, value in layer.recurrent_matrices().items() if len(value) <= self.widest}
            found |= {prefix + name: values for name, values in spectrum(matrices).items()}
        if self.subject is not None:
            for name, track in observe(self.subject.part(1, self.steps)).tracks.items():
                if sum(track.unit.state_sizes) <= self.widest:
                    found[f"{name} step"] = step_spectrum(track_jacobians(track)).ravel()
        self.moments.append(Moment(trainer.iteration, found))
        if trainer.folder is not None and found:
            line = {"iteration": trainer.iteration, **{name: _pairs(values) for name, values in found.items()}}
            with (trainer.folder / FILE).open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")


def read_spectra(folder: Path) -> list[Moment]:
    """What the callback wrote into a run folder, by iteration; of one that was trained again the last; none: empty."""
    path = folder / FILE
    if not path.exists():
        return []
    moments: dict[int, Moment] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            record = json.loads(line)
            iteration = int(record.pop("iteration"))
            values = {name: np.array([complex(*pair) for pair in pairs]) for name, pairs in record.items()}
        except (ValueError, TypeError, KeyError, AttributeError):
            # The last line of a run that was killed may be half of one.
            continue
        # What a resumed run trains again lies behind where it began again.
        moments = {at: moment for at, moment in moments.items() if at < iteration}
        moments[iteration] = Moment(iteration, values)
    return list(moments.values())


def _pairs(values: Sequence[complex] | NDArray[np.complex128]) -> list[list[float]]:
    return [[float(f"{value.real:.6g}"), float(f"{value.imag:.6g}")] for value in values]
