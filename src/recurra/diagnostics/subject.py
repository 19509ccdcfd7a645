"""What the diagnostics look at: a trained model with an example to run it on, whatever task it was trained for."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from recurra.base.errors import DataError, ShapeError, message
from recurra.layers.recurrent import Recurrent

__all__ = ["Inspectable", "Subject"]


def _as_it_is(_: nn.Module, inputs: Tensor) -> Tensor:
    return inputs


def _whole_model(model: nn.Module, x: Tensor, lengths: Tensor | None) -> Tensor:
    return model(x, None, lengths=lengths)[0]


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A model and an example; every diagnostic takes one of these and nothing else of a run.

    A run of any task gives one by its method `subject` (see `Inspectable`). All tensors are batch first.

        x = subject.x                         # embed(model, inputs): what the recurrent layer reads, (B, T, F)
        outputs = subject.outputs(x)          # answer(model, x, lengths): (B, T, K), or (B, K) for one a sequence
        loss = subject.loss(outputs)          # losses(outputs, targets): (B, T), 0 where a step has none

    `embed` and `answer` get the model as an argument, so that a copy of it (in float64) can stand in.

    Args:
        name: how this run is called in a legend: the name of its folder.
        model: the trained network, put into evaluation mode here.
        inputs: what the run reads: token numbers (B, T) int64, or features (B, T, F).
        targets: what the losses compare with, rows first: (B, T), (B, T, K), (B,) or (B, K).
        losses: `losses(outputs, targets)` -> (B, T), differentiable; the loss of each row at each step, 0 where a step
            has none. A task with one answer a sequence gives (B, 1).
        lengths: (B,) valid steps of each row; None where all T are.
        embed: from `inputs` to the layer's input (B, T, F); the default hands features through.
        answer: from the layer's input to the outputs; the default calls `model(x, None, lengths=lengths)`.
        steps: the name of each step, row by row: characters, words, time stamps; numbers where it is empty.
        names: of the K outputs: symbols, classes; numbers where it is empty.
        unit: what one step is called in a sentence: "character", "step", "hour".
        lead: one sentence about the run, for the head of a page.
        shown: the output that is explained where one must be chosen; None: the highest, as classes and symbols have it.
        by_step: whether the recurrent layers read the steps of x; where they read something else (channels), they are
            not looked into.

    """

    name: str
    model: nn.Module
    inputs: Tensor
    targets: Tensor
    losses: Callable[[Tensor, Tensor], Tensor]
    lengths: Tensor | None = None
    embed: Callable[[nn.Module, Tensor], Tensor] = _as_it_is
    answer: Callable[[nn.Module, Tensor, Tensor | None], Tensor] = _whole_model
    steps: Sequence[Sequence[str]] = ()
    names: Sequence[str] = ()
    unit: str = "step"
    lead: str = ""
    shown: int | None = None
    by_step: bool = True

    def __post_init__(self) -> None:
        """Raise ShapeError or DataError where the example does not fit together."""
        where = f"Subject {self.name}"
        if self.inputs.dim() < 2:
            raise ShapeError(message(where, f"inputs must be (B, T) or (B, T, F), got {tuple(self.inputs.shape)}"))
        rows, steps = self.inputs.shape[:2]
        if not rows or not steps:
            raise DataError(message(where, f"the example is empty: {rows} rows of {steps} steps"))
        if self.targets.shape[:1] != (rows,):
            raise ShapeError(message(where, f"targets must have B = {rows} rows, got {tuple(self.targets.shape)}"))
        if self.lengths is not None and tuple(self.lengths.shape) != (rows,):
            raise ShapeError(message(where, f"lengths must be (B,) = ({rows},), got {tuple(self.lengths.shape)}"))
        if self.steps and [len(row) for row in self.steps] != [steps] * rows:
            raise ShapeError(message(where, f"steps must be {rows} rows of {steps} names"))
        if self.inputs.is_floating_point() and not bool(torch.isfinite(self._valid_inputs()).all()):
            raise DataError(message(where, "the example has values that are not finite"))
        self.model.eval()

    def _valid_inputs(self) -> Tensor:
        if self.lengths is None:
            return self.inputs
        return torch.cat([row[: int(size)] for row, size in zip(self.inputs, self.lengths, strict=True)])

    @property
    def x(self) -> Tensor:
        """The example as the recurrent layer reads it, (B, T, F); no gradient reaches the embedding."""
        with torch.no_grad():
            return self.embed(self.model, self.inputs)

    def outputs(self, x: Tensor) -> Tensor:
        """What the model answers to a layer input (B, T, F): (B, T, K) or (B, K)."""
        return self.answer(self.model, x, self.lengths)

    def loss(self, outputs: Tensor) -> Tensor:
        """The loss of each row at each step, (B, T) or (B, 1)."""
        return self.losses(outputs, self.targets)

    @cached_property
    def layers(self) -> Mapping[str, Recurrent]:
        """The recurrent layers in the model by their path in it, in the order of the model; none in some models."""
        if not self.by_step:
            return {}
        return {name: part for name, part in self.model.named_modules() if isinstance(part, Recurrent)}

    @property
    def valid(self) -> list[int]:
        """How many steps of each row are valid."""
        rows, steps = self.inputs.shape[:2]
        return [steps] * rows if self.lengths is None else [int(size) for size in self.lengths]

    def step_names(self, row: int = 0) -> list[str]:
        """The names of a row's valid steps."""
        size = self.valid[row]
        return list(self.steps[row][:size]) if self.steps else [str(step) for step in range(size)]

    def output_name(self, index: int) -> str:
        """The name of one output."""
        return self.names[index] if self.names else str(index)

    def double(self) -> Subject:
        """The same in float64, weights copied."""
        return self.to(torch.float64)

    def to(self, dtype: torch.dtype) -> Subject:
        """The same in another float type, weights copied."""
        made = replace(self, model=copy.deepcopy(self.model).to(dtype), inputs=_cast(self.inputs, dtype))
        return replace(made, targets=_cast(self.targets, dtype))

    def row(self, index: int) -> Subject:
        """One row by itself, as long as its valid steps; `lengths` stays where it was given."""
        size, whole = self.valid[index], self.inputs.shape[1]
        targets = self.targets[index : index + 1]
        if targets.dim() > 1 and targets.shape[1] == whole:
            targets = targets[:, :size]
        return replace(
            self,
            inputs=self.inputs[index : index + 1, :size],
            targets=targets,
            lengths=None if self.lengths is None else self.lengths[index : index + 1],
            steps=[self.steps[index][:size]] if self.steps else (),
        )

    def part(self, rows: int, steps: int) -> Subject:
        """The first rows and steps of the example; the rest is as it was. Targets per step are cut alike."""
        rows, steps = min(rows, self.inputs.shape[0]), min(steps, self.inputs.shape[1])
        whole = self.inputs.shape[1]
        targets = self.targets[:rows]
        if targets.dim() > 1 and targets.shape[1] == whole:
            targets = targets[:, :steps]
        return replace(
            self,
            inputs=self.inputs[:rows, :steps],
            targets=targets,
            lengths=None if self.lengths is None else self.lengths[:rows].clamp(max=steps),
            steps=[row[:steps] for row in self.steps[:rows]],
        )


def _cast(values: Tensor, dtype: torch.dtype) -> Tensor:
    return values.to(dtype) if values.is_floating_point() else values


@runtime_checkable
class Inspectable(Protocol):
    """A trained run that can be looked at; `recurra.load(folder)` gives one for the tasks that have it."""

    def subject(self, data: Sequence[Path | str] = (), *, rows: int = 8, steps: int = 512) -> Subject:
        """The model with an example of at most `rows` rows of `steps` steps.

        data: files of the user's; without any, the run's own held-out excerpt or a fresh draw of its task, always the
        same one. Raises DataError where the data is empty, too short, or has symbols the run never saw.
        """
        ...
