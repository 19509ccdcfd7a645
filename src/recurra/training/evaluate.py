"""The loss over a whole stream, its state carried from batch to batch."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from recurra.base.errors import DataError, message
from recurra.data.batch import Batch
from recurra.training.gradient import Objective

__all__ = ["evaluate"]


@torch.no_grad()
def evaluate(
    model: nn.Module, objective: Objective, stream: Iterable[Batch], batches: int | None = None
) -> dict[str, float]:
    """Mean loss per valid position over `stream` (or its first `batches`), in evaluation mode.

    Gives {"loss": ..., "positions": ...}. Raises DataError where the stream holds no valid position.
    """
    was_training = model.training
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    model.eval()
    total, positions, state = 0.0, 0, None
    try:
        for number, batch in enumerate(stream):
            if number == batches:
                break
            batch = batch.to(device)
            outputs, state = model(batch.x, None if batch.first else state, lengths=batch.lengths, resets=batch.resets)
            loss_sum, count = objective(outputs, batch)
            # Python floats are float64: a float32 sum over millions of positions loses digits.
            total, positions = total + float(loss_sum), positions + count
    finally:
        model.train(was_training)
    if not positions:
        raise DataError(
            message("evaluate", "there is no position to evaluate on", hint="is the held-out part too short?")
        )
    return {"loss": total / positions, "positions": float(positions)}
