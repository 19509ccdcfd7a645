"""Which evaluation was best, and when to stop waiting for a better one."""

from __future__ import annotations

import math
from typing import Any

from recurra.base.errors import TrainingError, message, nearest
from recurra.training.config import StoppingConfig

__all__ = ["Stopping"]


class Stopping:
    """Keeps the best value of one measure; exhausted after `patience` evaluations without a better one.

    >>> stopping = Stopping(StoppingConfig(patience=2))
    >>> [stopping.observe({"loss": loss}, iteration) for iteration, loss in enumerate([2.0, 1.5, 1.6, 1.7])]
    [True, True, False, False]
    >>> stopping.best, stopping.iteration, stopping.exhausted
    (1.5, 1, True)
    """

    def __init__(self, config: StoppingConfig | None = None) -> None:
        self.config = config or StoppingConfig()
        self.best: float | None = None
        """Value of the measure, in its own sign."""
        self.iteration: int | None = None
        """When that was."""
        self.waited = 0

    @property
    def exhausted(self) -> bool:
        """Whether patience has run out."""
        return bool(self.config.patience) and self.waited >= self.config.patience

    def cost(self, metrics: dict[str, float]) -> float:
        """The watched value such that lower is better; raises TrainingError where evaluation did not give it."""
        name = self.config.monitor
        if name not in metrics:
            given = ", ".join(nearest(name, metrics)) or "nothing"
            hint = "set stopping.monitor to one of them."
            raise TrainingError(
                message("evaluation", f"gave no {name!r}, which is monitored; it gave {given}", hint=hint)
            )
        return metrics[name] if self.config.mode == "min" else -metrics[name]

    def observe(self, metrics: dict[str, float], iteration: int) -> bool:
        """Hear of an evaluation; true when it is the best so far by more than `min_delta`. NaN is never best."""
        cost = self.cost(metrics)
        best = math.inf if self.best is None else self.best if self.config.mode == "min" else -self.best
        if cost < best - (self.config.min_delta if math.isfinite(best) else 0):
            self.best, self.iteration, self.waited = metrics[self.config.monitor], iteration, 0
            return True
        self.waited += 1
        return False

    def forget(self) -> None:
        """Let the next evaluation be the best so far."""
        self.best = self.iteration = None

    def state_dict(self) -> dict[str, Any]:
        """Everything that `observe` changes."""
        return {"best": self.best, "iteration": self.iteration, "waited": self.waited}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict`."""
        self.best, self.iteration, self.waited = state["best"], state["iteration"], state["waited"]
