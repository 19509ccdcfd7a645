"""An average of the weights along training: smoother than the last ones, used for evaluation and kept as the result."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from recurra.base.errors import CheckpointError, message
from recurra.training.config import AverageConfig, OptimConfig

__all__ = ["Average", "average_of"]


class Average:
    """Average of a model's trainable parameters over iterations.

    `ema`        a <- d a + (1 - d) w, with d = min(decay, (1 + n) / (10 + n)) at the n-th update (n from 0), so that
                 the random first weights are forgotten at once.
    `uniform`    the mean of the weights of all iterations from `start` on (Polyak & Juditsky, 1992).
    `triggered`  the same from the first evaluation on that is worse than the best of those more than `patience`
                 evaluations before it (NT-ASGD; Merity et al., 2018, algorithm 1).
    """

    def __init__(self, model: nn.Module, config: AverageConfig) -> None:
        self.config = config
        self.count = 0
        """Updates that the average holds; while 0 the model's own weights stand in for it."""
        self.running = config.kind != "triggered"
        self._values: list[float] = []
        self._weights = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}

    @torch.no_grad()
    def update(self, model: nn.Module, iteration: int) -> None:
        """Take in the weights after update number `iteration`."""
        if not self.running or (self.config.kind == "uniform" and iteration < self.config.start):
            return
        if self.config.kind == "ema":
            new = 1 - min(self.config.decay, (1 + self.count) / (10 + self.count))
        else:
            new = 1 / (self.count + 1)
        for name, parameter in self._parameters(model):
            self._weights[name].lerp_(parameter, new)
        self.count += 1

    def observe(self, value: float) -> bool:
        """Hear of an evaluation (lower is better); true when this one starts a triggered average."""
        if self.config.kind != "triggered" or self.running:
            return False
        earlier = self._values[: max(0, len(self._values) - self.config.patience)]
        self.running = bool(earlier) and value > min(earlier)
        self._values.append(value)
        return self.running

    @contextmanager
    def applied(self, model: nn.Module) -> Iterator[None]:
        """Within the block the model has the average; after it its own weights again, to the bit."""
        if not self.count:
            yield
            return
        own = {name: parameter.detach().clone() for name, parameter in self._parameters(model)}
        self._write(model, self._weights)
        try:
            yield
        finally:
            self._write(model, own)

    @torch.no_grad()
    def _write(self, model: nn.Module, weights: dict[str, Tensor]) -> None:
        # In place: whoever caches packed weights sees the version counter go up.
        for name, parameter in self._parameters(model):
            parameter.copy_(weights[name])

    def _parameters(self, model: nn.Module) -> list[tuple[str, nn.Parameter]]:
        return [(name, parameter) for name, parameter in model.named_parameters() if name in self._weights]

    def state_dict(self) -> dict[str, Any]:
        """Everything, for a checkpoint."""
        values = list(self._values)
        return {"count": self.count, "running": self.running, "values": values, "weights": dict(self._weights)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict`; raises CheckpointError where it averages other parameters."""
        if state["weights"].keys() != self._weights.keys():
            raise CheckpointError(message("average", "the checkpoint averages other parameters than this model has"))
        self.count, self.running, self._values = state["count"], state["running"], list(state["values"])
        for name, weight in self._weights.items():
            weight.copy_(state["weights"][name])


def average_of(model: nn.Module, config: AverageConfig, optim: OptimConfig | None = None) -> Average | None:
    """The average that the settings ask for; the optimisers asgd and nt_asgd imply one."""
    implied = {"asgd": "uniform", "nt_asgd": "triggered"}.get(optim.name if optim else "")
    if config.kind == "none" and implied:
        config = AverageConfig(kind=implied, start=config.start, patience=config.patience)  # pyright: ignore[reportArgumentType]
    return None if config.kind == "none" else Average(model, config)
