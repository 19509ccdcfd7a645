"""The learning rate by iteration, as a factor on the optimiser's own.

A schedule is a pure function of the iteration (counted from 1), so a resumed run needs nothing restored; only the drop
on plateau has a memory, and it goes into the checkpoint.

>>> [round(cosine(total=4, final=0.0)(iteration), 3) for iteration in (1, 2, 3, 4)]
[1.0, 0.75, 0.25, 0.0]
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from recurra.base.errors import ConfigError, message
from recurra.training.config import ScheduleConfig

__all__ = [
    "Plateau",
    "Schedule",
    "constant",
    "cosine",
    "exponential",
    "linear",
    "schedule",
    "step",
    "warmed_up",
]

Schedule = Callable[[int], float]
"""factor = schedule(iteration), iteration = 1 for the first update."""


def constant() -> Schedule:
    """1 throughout."""
    return lambda _: 1.0


def step(every: int, factor: float, after: int = 0) -> Schedule:
    """Multiplied by `factor` after each `every` iterations, counted from iteration `after`."""
    return lambda iteration: factor ** (max(0, iteration - 1 - after) // every)


def exponential(every: int, factor: float, after: int = 0) -> Schedule:
    """The same decay without the steps: `factor` per `every` iterations."""
    return lambda iteration: factor ** (max(0, iteration - 1 - after) / every)


def cosine(total: int, final: float) -> Schedule:
    """From 1 at iteration 1 along half a cosine to `final` at iteration `total`, then level."""
    return lambda iteration: final + (1 - final) * (1 + math.cos(math.pi * _progress(iteration, total))) / 2


def linear(total: int, final: float) -> Schedule:
    """From 1 at iteration 1 along a line to `final` at iteration `total`, then level."""
    return lambda iteration: 1 - (1 - final) * _progress(iteration, total)


def warmed_up(inner: Schedule, iterations: int) -> Schedule:
    """1/n, 2/n, ... 1 over the first n iterations, then `inner` from its beginning."""
    if not iterations:
        return inner

    def factor(iteration: int) -> float:
        return iteration / iterations * inner(1) if iteration <= iterations else inner(iteration - iterations)

    return factor


class Plateau:
    """The rate drops by `factor` when `patience` evaluations in a row, and one more, bring no improvement."""

    def __init__(
        self, factor: float = 0.5, patience: int = 2, min_delta: float = 0.0, final: float = 0.0, warmup: int = 0
    ) -> None:
        self.factor, self.patience, self.min_delta, self.final, self.warmup = factor, patience, min_delta, final, warmup
        self.level, self.best, self.waited = 1.0, math.inf, 0

    def __call__(self, iteration: int) -> float:
        """The factor now; `iteration` matters for the warm-up only."""
        return self.level * min(1.0, iteration / self.warmup if self.warmup else 1.0)

    def observe(self, value: float) -> bool:
        """Hear of an evaluation (lower is better); true when the rate drops for it."""
        if value < self.best - self.min_delta:
            self.best, self.waited = value, 0
            return False
        self.waited += 1
        if self.waited <= self.patience or self.level <= self.final:
            return False
        self.level, self.waited = max(self.final, self.level * self.factor), 0
        return True

    def state_dict(self) -> dict[str, Any]:
        """Everything that `observe` changes."""
        return {"level": self.level, "best": self.best, "waited": self.waited}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict`."""
        self.level, self.best, self.waited = state["level"], state["best"], state["waited"]


def schedule(config: ScheduleConfig, iterations: int = 0) -> Schedule | Plateau:
    """The schedule that `config` names; `iterations` is the run's length, which cosine and linear fill by default.

    Raises ConfigError where they have no length.
    """
    if config.name == "plateau":
        return Plateau(config.factor, config.patience, config.min_delta, config.final, config.warmup)
    total = config.total or iterations
    if config.name in ("cosine", "linear") and not total:
        hint = "set schedule.total, or iterations."
        raise ConfigError(message("schedule", f"{config.name} needs to know its number of iterations", hint=hint))
    inner = {
        "constant": constant,
        "step": lambda: step(config.every, config.factor, config.after),
        "exponential": lambda: exponential(config.every, config.factor, config.after),
        "cosine": lambda: cosine(total - config.warmup, config.final),
        "linear": lambda: linear(total - config.warmup, config.final),
    }[config.name]()
    return warmed_up(inner, config.warmup)


def _progress(iteration: int, total: int) -> float:
    return min(1.0, max(0.0, (iteration - 1) / max(1, total - 1)))
