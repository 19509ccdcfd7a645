"""A classic task's trained net, loaded from its folder: it answers, it is measured, it can be looked at."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from recurra.base.errors import DataError, message
from recurra.base.rng import Streams
from recurra.data.batch import Batch
from recurra.diagnostics.subject import Subject
from recurra.layers.sequence import valid_mask
from recurra.tasks.classic.settings import ClassicSettings
from recurra.tasks.load import load

__all__ = ["ClassicRun", "load"]


class ClassicRun:
    """A network with its task and settings; `load(folder)` makes one.

    >>> run = load("runs/reber")                                       # doctest: +SKIP
    >>> run.evaluate()["right"]                                        # doctest: +SKIP
    1.0
    """

    prepared = None

    def __init__(self, task: Any, net: nn.Module, settings: ClassicSettings, folder: Path | None = None) -> None:
        self.task, self.net, self.settings, self.folder = task, net.eval(), settings, folder

    @property
    def model(self) -> nn.Module:
        """The net."""
        return self.net

    @cached_property
    def problem(self) -> Any:
        """The task with the data that the run had; raises DataError where that is gone."""
        return self.task.build(self.settings, Streams(self.settings.seed))

    @torch.no_grad()
    def predict(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """The outputs for x (B, T, I): (B, T, O), or (B, O) for a task with one answer a sequence."""
        return self.model(x, None, lengths=lengths)[0]

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """The task's numbers, as during training."""
        return self.problem.evaluate(self.model)

    @property
    def solved(self) -> bool:
        """Whether the task counts as solved."""
        return bool(self.task.solved(self.evaluate(), self.settings))

    def subject(self, data: Sequence[Path | str] = (), *, rows: int = 8, steps: int = 512) -> Subject:
        """The net with held-out sequences of its task, for the diagnostics; files of the user's are not understood."""
        if data:
            fact = f"draws its own sequences and reads no files, got {', '.join(map(str, data))}"
            raise DataError(message(f"task {self.task.name}", fact, hint="leave them out."))
        batch = self.problem.examples.map(lambda tensor: tensor[:rows])
        targets, names = _asked(batch), self._step_names(batch)
        one = Subject(
            name=self.folder.resolve().name if self.folder else self.task.name,
            model=self.model,
            inputs=batch.x,
            targets=targets,
            losses=self.problem.losses,
            lengths=batch.lengths,
            steps=names,
            names=self.problem.outputs,
            lead=self.task.title[:1].upper() + self.task.title[1:] + ".",
        )
        # A single answer stands at the end of the sequence, which must then not be cut.
        return one if targets.dim() < 2 or targets.shape[1] != batch.x.shape[1] else one.part(rows, steps)

    def _step_names(self, batch: Batch) -> list[list[str]]:
        """Each step by its symbol, where the input is one of several."""
        names = list(self.problem.inputs)
        if len(names) < 2 or not bool((batch.x.count_nonzero(-1) <= 1).all()):
            return []
        return [[names[index] for index in row] for row in batch.x.argmax(-1).tolist()]


def _asked(batch: Batch) -> Any:
    """The targets, with nothing asked on the padding, nor before an answer that stands at the end."""
    y = batch.y
    if y.dim() == 3 and y.shape[1] < batch.x.shape[1]:
        return functional.pad(y, (0, 0, batch.x.shape[1] - y.shape[1], 0), value=torch.nan)
    if batch.lengths is None or y.dim() < 2 or y.shape[1] != batch.x.shape[1]:
        return y
    padding = ~valid_mask(batch.lengths, y.shape[1])
    if y.is_floating_point():
        return y.masked_fill(padding.unsqueeze(-1), torch.nan)
    return y.masked_fill(padding, -100)
