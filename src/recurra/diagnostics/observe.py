"""Watching the recurrent units of a model while it runs: their inputs, and their states before and after each step.

Each `Unit` of the model goes step by step through its equations in eager torch while it is watched, so every state is
in the graph and can be differentiated by; what the model computes is the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor

from recurra.base import state as states
from recurra.diagnostics.subject import Subject
from recurra.layers.recurrent import Recurrent
from recurra.layers.unit import Unit

__all__ = ["Observation", "Track", "observe", "watching"]


class Track:
    """One unit over an example: step j of `before` and `after` is the j-th step that the unit read.

    name: `layer 0`, with the path of the layer before it where a model has several, and `backwards` where it reads so.
    """

    def __init__(self, name: str, unit: Unit, backwards: bool) -> None:
        self.name, self.unit, self.backwards = name, unit, backwards
        self.inputs: list[Tensor] = []
        self.before: list[Any] = []
        self.after: list[Any] = []
        self.lengths: Tensor | None = None

    @property
    def length(self) -> int:
        """T, the steps read."""
        return len(self.inputs)

    @property
    def x(self) -> Tensor:
        """What the unit read, (B, T, I)."""
        return torch.stack(self.inputs, 1)

    def states(self, moment: str = "after") -> dict[str, Tensor]:
        """Each state by its name, (B, T, size), `before` or `after` the steps."""
        history = self.before if moment == "before" else self.after
        names = self.unit.spec.states
        return {name: torch.stack([step[place] for step in history], 1) for place, name in enumerate(names)}

    def valid(self) -> Tensor:
        """(B, T) bool, true on the steps that exist."""
        rows, steps = self.inputs[0].shape[0], self.length
        if self.lengths is None:
            return torch.ones(rows, steps, dtype=torch.bool)
        return torch.arange(steps) < self.lengths.cpu()[:, None]

    def in_time(self, values: Tensor) -> Tensor:
        """(B, T, ...) by the steps of this unit, put in the order of time."""
        if not self.backwards:
            return values
        if self.lengths is None:
            return values.flip(1)
        rows = [torch.cat((row[:size].flip(0), row[size:])) for row, size in zip(values, self.lengths, strict=True)]
        return torch.stack(rows)

    def joined(self, row: int, moment: str = "before") -> Tensor:
        """(T, S) all states of a row one beside the other, S the sum of their sizes."""
        history = self.before if moment == "before" else self.after
        return torch.stack([torch.cat([part[row] for part in step]) for step in history])

    def size_of(self, row: int) -> int:
        """Valid steps of a row."""
        return self.length if self.lengths is None else int(self.lengths[row])


class Observation:
    """What a model did on an example.

    outputs: (B, T, K) or (B, K). losses: (B, T) or (B, 1). tracks: one per unit, in the order of the model.
    """

    def __init__(self, x: Tensor, outputs: Tensor, losses: Tensor, tracks: Mapping[str, Track]) -> None:
        self.x, self.outputs, self.losses, self.tracks = x, outputs, losses, dict(tracks)


def observe(subject: Subject, *, gradient: bool = False) -> Observation:
    """Run the subject's example and watch; units that did nothing are left out.

    gradient: keep the graph: every state of a track, and `x`, can then be differentiated by.
    """
    with torch.set_grad_enabled(gradient), watching(subject.layers) as tracks:
        x = subject.x.detach().requires_grad_() if gradient else subject.x
        outputs = subject.outputs(x)
        losses = subject.loss(outputs)
    return Observation(x, outputs, losses, {name: track for name, track in tracks.items() if track.inputs})


@contextmanager
def watching(layers: Mapping[str, Recurrent]) -> Iterator[dict[str, Track]]:
    """While the block runs, the units of these layers write down what they do; by their names."""
    tracks: dict[str, Track] = {}
    for path, layer in layers.items():
        # The model's main recurrence needs no path before its name.
        prefix = f"{path} " if len(layers) > 1 else ""
        for index, unit in enumerate(layer.units):
            depth, direction = divmod(index, layer.directions)
            backwards = layer.reverse or direction == 1
            name = f"{prefix}layer {depth}{' backwards' if direction else ''}"
            tracks[name] = Track(name, unit, backwards)
    for track in tracks.values():
        # Beside the class's methods, so that taking them away leaves the unit as it was.
        own = vars(track.unit)
        own["forward"], own["step"], own["advance"] = (partial(run, track) for run in (_forward, _step, _advance))
    try:
        yield tracks
    finally:
        for track in tracks.values():
            for name in ("forward", "step", "advance"):
                vars(track.unit).pop(name, None)


def _forward(
    track: Track, x: Tensor, state: Any = None, lengths: Tensor | None = None, resets: Tensor | None = None
) -> tuple[Tensor, Any]:
    unit = track.unit
    initial = unit.initial_state(x.shape[0])
    state = initial if state is None else state
    track.lengths = lengths
    outputs: list[Tensor] = []
    for t in range(x.shape[1]):
        if resets is not None:
            state = states.restart(state, initial, resets[:, t])
        going = None if lengths is None else (t < lengths)[:, None]
        y, state = _step(track, x[:, t], state, going)
        outputs.append(y)
    return (torch.stack(outputs, 1) if outputs else x.new_zeros(x.shape[0], 0, unit.output_size)), state


def _step(track: Track, x: Tensor, state: Any, going: Tensor | None = None) -> tuple[Tensor, Any]:
    unit = track.unit
    if torch.is_grad_enabled():
        # A first state that no parameter touched still has to be differentiated by.
        state = states.map_state(lambda leaf: leaf if leaf.requires_grad else leaf.detach().requires_grad_(), state)
        _, after = type(unit).step(unit, x, state)
    else:
        # Unit.step itself would call the `advance` that is watched.
        _, after = type(unit).advance(unit, x.unsqueeze(1), state)
    track.inputs.append(x)
    track.before.append(state)
    # As it was computed: on the padding, where nothing counts, the state that goes on is another.
    track.after.append(after)
    y = after[0]
    if going is not None:
        held = going
        y = torch.where(held, y, y.new_zeros(()))
        after = states.map_state(lambda new, old: torch.where(held, new, old), after, state)
    return y, after


def _advance(track: Track, x: Tensor, state: Any) -> tuple[Tensor, Any]:
    return _forward(track, x, state)
