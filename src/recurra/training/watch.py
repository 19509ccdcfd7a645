"""Looks at every loss and gradient before the weights see them; says what went wrong, where, and what to do.

A NaN or an infinity never reaches the weights: training stops with a TrainingError, or leaves the update out.
"""

from __future__ import annotations

import math
import statistics
from collections import deque
from typing import Any, NamedTuple

import torch
from torch import nn

from recurra.base.errors import TrainingError, message
from recurra.base.state import leaves
from recurra.data.batch import Batch
from recurra.training.config import WatchConfig
from recurra.training.gradient import Carry, Model

__all__ = ["Verdict", "Watch", "bad_entries", "first_bad_step", "spike_score"]

_FLOOR = 0.02  # of the median: where the recent losses are all but equal, a hair's breadth is no spike


class Verdict(NamedTuple):
    """What to do with an update, and what to tell of it."""

    update: bool
    event: str | None = None
    """`nonfinite` or `spike` where something happened."""
    text: str = ""


class Watch:
    """The guard of one run; its memory of recent losses goes into the checkpoint."""

    def __init__(self, config: WatchConfig | None = None) -> None:
        self.config = config or WatchConfig()
        self._recent: deque[float] = deque(maxlen=self.config.window)
        self._skipped = 0

    def look(
        self, iteration: int, loss: float, norm: float, model: nn.Module, batch: Batch, carry: Carry | None
    ) -> Verdict:
        """Judge the update before it is made: `loss` per position, `norm` of the accumulated gradient.

        `batch` and `carry` are what it came from, to find the time step. Raises TrainingError where the run must stop.
        """
        if not (math.isfinite(loss) and math.isfinite(norm)):
            return self._nonfinite(iteration, loss, norm, model, batch, carry)
        self._skipped = 0
        score = spike_score(loss, self._recent)
        verdict = Verdict(True)
        if self.config.spike != "ignore" and score > self.config.spike_threshold:
            verdict = self._spike(iteration, loss, norm, score)
        # A spike is remembered too: when the loss stays up, that is the new level and no event any more.
        self._recent.append(loss)
        return verdict

    def _nonfinite(
        self, iteration: int, loss: float, norm: float, model: nn.Module, batch: Batch, carry: Carry | None
    ) -> Verdict:
        self._skipped += 1
        what = f"the loss is {loss}" if not math.isfinite(loss) else f"the gradient norm is {norm}"
        fact = f"{what} at iteration {iteration}"
        details, hint = _diagnosis(model, batch, carry, loss)
        details = [f"Losses before it: {self._history()}.", *details]
        if self.config.nonfinite == "skip" and self._skipped <= self.config.most_skips:
            return Verdict(False, "nonfinite", message("training", f"{fact}; the update is left out", *details))
        if self.config.nonfinite == "skip":
            fact += f", the {self._skipped}th update in a row that cannot be made"
        raise TrainingError(message("training", fact, *details, "The weights are as they were.", hint=hint))

    def _spike(self, iteration: int, loss: float, norm: float, score: float) -> Verdict:
        median = statistics.median(self._recent)
        fact = (
            f"the loss jumped to {loss:.4g} at iteration {iteration}, {score:.1f} robust standard deviations above the "
            f"median {median:.4g} of the last {len(self._recent)}; gradient norm {norm:.3g}"
        )
        details = f"Losses before it: {self._history()}."
        hint = "clip.norm lower, a longer schedule.warmup, or a lower optim.learning_rate; watch.spike = 'skip' leaves "
        hint += "such updates out."
        if self.config.spike == "stop":
            raise TrainingError(message("training", fact, details, "The weights are as they were.", hint=hint))
        return Verdict(self.config.spike != "skip", "spike", message("training", fact, details, hint=hint))

    def _history(self) -> str:
        return ", ".join(f"{value:.4g}" for value in list(self._recent)[-6:]) or "none, it is the first"

    def state_dict(self) -> dict[str, Any]:
        """The recent losses and the number of skips in a row."""
        return {"recent": list(self._recent), "skipped": self._skipped}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict`."""
        self._recent = deque(state["recent"], maxlen=self.config.window)
        self._skipped = state["skipped"]


def spike_score(loss: float, recent: deque[float] | list[float]) -> float:
    """How many robust standard deviations (1.4826 MAD) `loss` lies above the median; 0 before ten losses are known.

    >>> round(spike_score(3.0, [2.0, 2.1, 1.9, 2.0, 2.1, 1.9, 2.0, 2.1, 1.9, 2.0]), 1)
    6.7
    """
    if len(recent) < 10:
        return 0.0
    median = statistics.median(recent)
    deviation = 1.4826 * statistics.median(abs(value - median) for value in recent)
    return (loss - median) / max(deviation, _FLOOR * abs(median), 1e-12)


def bad_entries(model: nn.Module, of_gradient: bool) -> list[str]:
    """`name (shape): 3 of 12 entries` for each parameter, or each gradient, that is not finite throughout."""
    found: list[str] = []
    for name, parameter in model.named_parameters():
        values = parameter.grad if of_gradient else parameter
        if values is None:
            continue
        bad = int((~torch.isfinite(values)).sum())
        if bad:
            found.append(f"{name} {tuple(values.shape)}: {bad} of {values.numel()} entries")
    return found


@torch.no_grad()
def first_bad_step(model: Model, batch: Batch, carry: Carry | None) -> tuple[int, int] | None:
    """(row, step) of the first output that is not finite in a forward pass over the batch, None where all are."""
    state = carry.state if carry and carry.x is None else None
    outputs, _ = model(batch.x, state, lengths=batch.lengths, resets=batch.resets)
    for leaf in leaves(outputs):
        if leaf.dim() < 2 or leaf.shape[:2] != batch.x.shape[:2]:
            continue
        bad = ~torch.isfinite(leaf).flatten(2).all(-1) if leaf.dim() > 2 else ~torch.isfinite(leaf)
        if bad.any():
            step = int(bad.any(0).nonzero()[0])
            return int(bad[:, step].nonzero()[0]), step
    return None


def _diagnosis(model: nn.Module, batch: Batch, carry: Carry | None, loss: float) -> tuple[list[str], str]:
    """What can be found out after the fact, and what to do about it."""
    if batch.x.is_floating_point() and not bool(torch.isfinite(batch.x).all()):
        row, step = (int(index) for index in (~torch.isfinite(batch.x)).flatten(2).any(-1).nonzero()[0][:2])
        return [f"The input is not finite: row {row}, step {step}."], "mend the data; a missing value needs a number."
    weights = bad_entries(model, of_gradient=False)
    if weights:
        return [f"Weights that are not finite already: {_few(weights)}."], "go back to a checkpoint from before."
    details: list[str] = []
    was_training = model.training
    model.eval()
    place = first_bad_step(model, batch, carry)
    model.train(was_training)
    if place:
        details.append(f"The first output that is not finite: row {place[0]}, step {place[1]} of the batch.")
    gradients = bad_entries(model, of_gradient=True)
    if gradients:
        details.append(f"Gradients that are not finite: {_few(gradients)}.")
    elif math.isfinite(loss):
        details.append("Every entry of the gradient is finite: it is so large that its norm overflows.")
    hint = "lower optim.learning_rate, clip.norm = 1 or less, or a longer schedule.warmup"
    if not place and not math.isfinite(loss):
        return details, f"the outputs are finite, so look at the loss first (log of 0, division by 0); then {hint}."
    return details, f"{hint}; watch.nonfinite = 'skip' leaves such updates out."


def _few(names: list[str]) -> str:
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return "; ".join(names[:4]) + more
