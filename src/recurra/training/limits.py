"""Epochs as iterations, so that schedule and progress bar know the end of a run."""

from __future__ import annotations

import msgspec

from recurra.training.config import TrainConfig

__all__ = ["bounded"]


def bounded(config: TrainConfig, batches: int, updates: int = 1) -> TrainConfig:
    """Return the settings with the number of iterations, or the length of the schedule, that the epochs stand for.

    Args:
        config: the settings of a loop; without epochs they are returned as they are.
        batches: in an epoch.
        updates: in a batch, where truncated BPTT makes several.

    """
    if not config.epochs:
        return config
    if config.gradient.style == "full":
        limit = config.epochs * batches
        return msgspec.structs.replace(config, iterations=min(limit, config.iterations or limit))
    if config.iterations or config.schedule.total:
        return config
    # The last batch of an epoch may be shorter and give fewer updates; the epochs end the run.
    schedule = msgspec.structs.replace(config.schedule, total=config.epochs * batches * updates)
    return msgspec.structs.replace(config, schedule=schedule)
