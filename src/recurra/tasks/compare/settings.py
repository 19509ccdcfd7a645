"""What decides a comparison; two runs of the command with the same settings belong together, whatever their cells."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

from recurra.base.config import Settings
from recurra.base.errors import ConfigError, message
from recurra.base.option import options_of, override
from recurra.tasks.registry import task_named
from recurra.tasks.settings import settings_from
from recurra.training.config import Count, Positive, Rate

__all__ = ["CompareSettings", "data_of", "hidden_size"]


class CompareSettings(Settings, frozen=True):
    """A comparison, without its cells and seeds: those may be added to later."""

    task: str
    parameters: Positive = 20_000
    """What every network may learn; its hidden size is the one that comes nearest."""
    trials: Count = 8
    """Learning rates tried per cell, the same for all, before the seeds; 0: the lower end of the range is taken."""
    low: Rate = 1e-3
    high: Rate = 1e-1
    """Between these the rates are drawn, one in each equal part on a log scale."""
    search_seed: Count = 1000
    """Seed of the rates, and of the networks by which they are judged: none of the seeds that are then compared."""
    iterations: Count = 0
    """Updates per trial; 0: the task's own."""
    overrides: tuple[str, ...] = ()
    """Further settings of the task, its inputs among them, key=value."""

    def __post_init__(self) -> None:
        """Raise ValueError where the range of rates is none."""
        if self.low > self.high:
            raise ValueError(f"rates go from low to high, got {self.low:g} to {self.high:g}")

    @property
    def searches(self) -> bool:
        """Whether there is a rate to search for."""
        return self.trials > 0 and self.low < self.high

    def task_settings(self, cell: str, hidden: int | None = None, rate: float | None = None, seed: int = 0) -> Any:
        """Return the settings of the task for one cell; raises ConfigError where they do not fit."""
        kind = task_named(self.task).settings
        options = options_of(kind)
        values = {"cell": cell, "hidden": hidden, "rate": rate, "seed": seed, "iterations": self.iterations or None}
        for name in ("cell", "hidden"):
            if name not in options:
                fact = f"the task {self.task} has no --{name}, so its cells cannot be compared"
                raise ConfigError(message("recurra compare", fact))
        named = [override(options[name], value) for name, value in values.items() if value is not None]
        return settings_from(kind, [*self.overrides, *named], where=f"task {self.task}")

    def watched(self) -> tuple[str, bool]:
        """Return the number by which a rate is selected, and whether a higher one is better."""
        task = task_named(self.task)
        name, mode = task.selection(self.task_settings("lstm", 1))
        return name, mode == "max"


@cache
def data_of(task: str, overrides: tuple[str, ...]) -> Any:
    """Return the data of a task, read once a process."""
    declared = task_named(task)
    return declared.read(settings_from(declared.settings, overrides, where=f"task {task}"))


@cache
def prepared_of(task: str, overrides: tuple[str, ...]) -> Any:
    """Return what the task prepares of its data: the sizes of inputs and outputs."""
    declared = task_named(task)
    settings = settings_from(declared.settings, overrides, where=f"task {task}")
    return declared.prepare(settings, data_of(task, overrides))


@cache
def hidden_size(settings: CompareSettings, cell: str) -> tuple[int, int]:
    """The hidden size whose parameter count comes nearest to the budget, and that count.

    Raises ConfigError where one unit is more than twice the budget.
    """

    @cache
    def count(units: int) -> int:
        hidden = units * multiple
        prepared = prepared_of(settings.task, settings.overrides)
        net = task_named(settings.task).net(settings.task_settings(cell, hidden), prepared, None)
        return sum(parameter.numel() for parameter in net.parameters() if parameter.requires_grad)

    multiple, smallest = 1, 0
    while not smallest:
        try:
            smallest = count(1)
        except ConfigError:
            # Some nets have sizes of an even number of units only.
            if multiple > 8:
                raise
            multiple *= 2
            count.cache_clear()
    if smallest > 2 * settings.parameters:
        fact = f"a budget of {settings.parameters:,} parameters is too small: {cell} with one unit has {smallest:,}"
        raise ConfigError(message("recurra compare", fact, hint="a larger --parameters."))
    guess = _solved(smallest, count(2), count(3), settings.parameters)
    low, high = max(1, guess), max(2, guess + 1)
    # Mostly the guess is right at once; where a count is no polynomial, the bracket widens until it holds the budget.
    while low > 1 and count(low) >= settings.parameters:
        low, high = max(1, low // 2), low
    while count(high) < settings.parameters:
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if count(middle) < settings.parameters else (low, middle)
    chosen = min((low, high), key=lambda hidden: abs(count(hidden) - settings.parameters))
    return chosen * multiple, count(chosen)


def _solved(one: int, two: int, three: int, budget: int) -> int:
    """The largest h with a h^2 + b h + c below the budget, the polynomial through the counts at 1, 2 and 3 units."""
    a = (three - 2 * two + one) / 2
    b = two - one - 3 * a
    rest = one - a - b - budget
    if a <= 0:
        return int(-rest / b) if b > 0 else 1
    return max(1, int((-b + math.sqrt(max(b * b - 4 * a * rest, 0.0))) / (2 * a)))
