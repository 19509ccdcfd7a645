"""One run that is looked at, with what several parts of a page need of it computed once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import torch

from recurra.diagnostics.history import Moment
from recurra.diagnostics.observe import Observation, Track, observe
from recurra.diagnostics.report import Figure
from recurra.diagnostics.subject import Subject

__all__ = ["Case", "Part"]


class Part(NamedTuple):
    """figures: for the page; none where a run has nothing to show. numbers: by run."""

    figures: list[Figure]
    numbers: dict[str, Any]


# A state of this many numbers costs as much as it may; wider ones are looked at over fewer steps.
_WIDTH, _STEPS, _FEWEST = 320, 48, 10
_LAYERS = 3
_WHOLE = 800


@dataclass
class Case:
    """A subject and what its run wrote down.

    metrics, events: the records of metrics.jsonl and events.jsonl. spectra: what a SpectrumRecord kept.
    """

    subject: Subject
    metrics: Sequence[Mapping[str, Any]] = ()
    events: Sequence[Mapping[str, Any]] = ()
    spectra: Sequence[Moment] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Of the run."""
        return self.subject.name

    @property
    def row(self) -> int:
        """The row that is shown: from the middle, where a text has no title; a whole row where rows are ragged."""
        sizes = self.subject.valid
        middle = len(sizes) // 2
        return middle if sizes[middle] == max(sizes) else sizes.index(max(sizes))

    @property
    def once(self) -> bool:
        """Whether the task has one answer a sequence: then its beginning alone would be another task."""
        return self.seen.outputs.dim() == 2

    def stretch(self, steps: int) -> Subject:
        """The first steps of that row; all of them (within reason) where the answer comes once."""
        return self.subject.row(self.row).part(1, self._enough(steps))

    def some(self, rows: int, steps: int) -> Subject:
        """The first rows, and of those as much as `stretch` gives."""
        return self.subject.part(rows, self._enough(steps))

    def _enough(self, steps: int) -> int:
        """So many steps; of one answer a sequence its whole, which a net without recurrence may not do without."""
        if not self.once:
            return steps
        return max(steps, _WHOLE) if self.subject.layers else self.subject.inputs.shape[1]

    @cached_property
    def seen(self) -> Observation:
        """The whole example, watched, in the model's own precision."""
        return observe(self.subject)

    @cached_property
    def exact(self) -> Subject:
        """A short stretch of the shown row in float64, as long as the width of the model allows."""
        widest = max(
            (sum(unit.state_sizes) for layer in self.subject.layers.values() for unit in layer.units), default=1
        )
        steps = max(_FEWEST, min(_STEPS, round(_STEPS * (_WIDTH / widest) ** 2)))
        return self.subject.row(self.row).part(1, steps).double()

    @cached_property
    def exact_tracks(self) -> dict[str, Track]:
        """The units over that stretch; of a deep stack the first, a middle and the last layer."""
        if not self.subject.layers:
            return {}
        tracks = observe(self.exact).tracks
        names = list(tracks)
        if len(names) > _LAYERS:
            names = [names[0], names[len(names) // 2], names[-1]]
        return {name: tracks[name] for name in names}

    @cached_property
    def jacobians(self) -> dict[str, Any]:
        """The step Jacobians of those units, (T, S, S)."""
        from recurra.diagnostics.jacobian import track_jacobians

        return {name: track_jacobians(track) for name, track in self.exact_tracks.items()}

    def called(self, what: str, cases: Sequence[Case]) -> str:
        """A name for a legend: with the run's where there are several."""
        return f"{self.name}: {what}" if len(cases) > 1 else what

    @cached_property
    def finite(self) -> bool:
        """Whether outputs and losses are finite where the example is valid."""
        return bool(torch.isfinite(self.seen.losses).all())
