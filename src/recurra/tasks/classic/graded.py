"""Tasks that can be made easier, and so learnt through a curriculum: shorter, fewer, not so often.

A level is one number, the last one that of the task itself; all but `full` go through `recurra.training.curriculum`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Generator, nn

from recurra.base.rng import Streams, stream
from recurra.data.batch import Batch
from recurra.tasks.classic.settings import ClassicSettings, Positive
from recurra.tasks.classic.stream import Drawn
from recurra.training.callback import Callback
from recurra.training.config import NonNegative
from recurra.training.curriculum import Curriculum, Strategy

__all__ = ["GradedSettings", "climbing", "graded", "levels", "with_level"]

# Sequences of a level on which it is judged whether learning goes on.
_JUDGED = 64


class GradedSettings(ClassicSettings, frozen=True):
    """Of all tasks that can be made easier."""

    curriculum: Strategy = "full"
    """full: the task as it is from the beginning; naive: its easiest form first, a harder one when learning stops
    making progress; mixed: any form, drawn anew for every batch; combined: naive or mixed, by a coin."""
    levels: Positive = 5
    """Of a curriculum: how many forms."""
    patience: Positive = 2
    """Of naive and combined: evaluations in a row without a lower loss at the present level, after which the next one
    comes."""
    until: NonNegative = 0.0
    """Of naive and combined: the loss of a step (of a sequence, where the task counts those) at which it comes at
    once."""


def levels(easiest: int, hardest: int, most: int) -> list[int]:
    """At most so many numbers from `easiest` to `hardest`, each about the same factor above the one before.

    >>> levels(1, 10, 5), levels(20, 400, 4), levels(3, 3, 4), levels(1, 10, 1)
    ([1, 2, 3, 6, 10], [20, 54, 147, 400], [3], [10])
    """
    if most == 1 or easiest >= hardest:
        return [hardest]
    factor = (hardest / easiest) ** (1 / (most - 1))
    return sorted({round(easiest * factor**place) for place in range(most - 1)} | {hardest})


def graded(
    settings: GradedSettings,
    streams: Streams,
    draw: Callable[[int, Generator], Batch],
    easiest: int,
    hardest: int,
) -> Drawn | Curriculum:
    """Training batches drawn by `draw(level, generator)` as the settings want them."""
    if settings.curriculum == "full":
        return Drawn(lambda generator: draw(hardest, generator), streams["data"])
    steps = levels(easiest, hardest, settings.levels)
    return Curriculum(draw, steps, settings.curriculum, streams["data"])


def with_level(problem: Any, settings: ClassicSettings) -> Callable[[nn.Module], dict[str, float]]:
    """The problem's evaluation; where levels are climbed also the present `level` and the loss there, `level_loss`."""
    climbed = problem.stream
    if not isinstance(climbed, Curriculum) or not _climbs(settings):
        return problem.evaluate

    def evaluate(model: nn.Module) -> dict[str, float]:
        found = problem.evaluate(model)
        seeded, total, count, rows = stream(0, f"level {climbed.level}"), 0.0, 0, 0
        while rows < _JUDGED:
            batch = climbed.sample(seeded)
            loss, asked = problem.objective(model(batch.x, lengths=batch.lengths)[0], batch)
            total, count, rows = total + float(loss), count + asked, rows + len(batch.x)
        return found | {"level": float(climbed.level), "level_loss": total / max(1, count)}

    return evaluate


def climbing(problem: Any, settings: ClassicSettings) -> list[Callback]:
    """What makes a curriculum advance; nothing where no levels are climbed."""
    if not isinstance(problem.stream, Curriculum) or not isinstance(settings, GradedSettings) or not _climbs(settings):
        return []
    return [problem.stream.callback("level_loss", patience=settings.patience, until=settings.until or None)]


def _climbs(settings: ClassicSettings) -> bool:
    return isinstance(settings, GradedSettings) and settings.curriculum in ("naive", "combined")
