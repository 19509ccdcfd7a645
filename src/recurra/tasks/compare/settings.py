"""What decides a comparison; two runs of the command with the same settings belong together, whatever their cells."""

from __future__ import annotations

import math
from functools import cache

from recurra.base.config import Settings
from recurra.base.errors import ConfigError, message
from recurra.tasks.classic import TASKS, ClassicSettings, parameter_count, task_settings
from recurra.training.config import Count, Positive, Rate

__all__ = ["CompareSettings", "hidden_size"]


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
    """Further settings of the task, key=value."""

    def __post_init__(self) -> None:
        """Raise ValueError where the range of rates is none."""
        if self.low > self.high:
            raise ValueError(f"rates go from low to high, got {self.low:g} to {self.high:g}")

    @property
    def searches(self) -> bool:
        """Whether there is a rate to search for."""
        return self.trials > 0 and self.low < self.high

    def task_settings(self, cell: str, hidden: int | None = None) -> ClassicSettings:
        """The settings of the task for one cell; raises ConfigError where they do not fit."""
        return task_settings(self.task, self.overrides, cell=cell, hidden=hidden, iterations=self.iterations or None)

    def watched(self) -> tuple[str, bool]:
        """The number by which a rate is chosen, and whether a higher one is better."""
        task = TASKS[self.task]
        return (task.monitor, task.monitor_mode == "max") if task.monitor else (task.metric, task.mode == "max")


@cache
def hidden_size(settings: CompareSettings, cell: str) -> tuple[int, int]:
    """The hidden size whose parameter count comes nearest to the budget, and that count.

    Raises ConfigError where one unit is more than twice the budget.
    """

    @cache
    def count(hidden: int) -> int:
        return parameter_count(settings.task, settings=settings.task_settings(cell, hidden))

    smallest = count(1)
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
    return chosen, count(chosen)


def _solved(one: int, two: int, three: int, budget: int) -> int:
    """The largest h with a h^2 + b h + c below the budget, the polynomial through the counts at 1, 2 and 3 units."""
    a = (three - 2 * two + one) / 2
    b = two - one - 3 * a
    rest = one - a - b - budget
    if a <= 0:
        return int(-rest / b) if b > 0 else 1
    return max(1, int((-b + math.sqrt(max(b * b - 4 * a * rest, 0.0))) / (2 * a)))
