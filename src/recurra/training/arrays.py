"""States with NumPy arrays, as `recurra.training.checkpoint` writes them: arrays as tensors, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

__all__ = ["packed_state", "unpacked_state"]


def packed_state(state: Any) -> Any:
    """Arrays as tensors, NumPy's numbers as Python's, tuples as lists; the rest as it is.

    >>> packed_state({"a": np.arange(2), "b": (np.float64(1.5), None)})
    {'a': tensor([0, 1]), 'b': [1.5, None]}
    """
    if isinstance(state, dict):
        return {name: packed_state(part) for name, part in state.items()}
    if isinstance(state, (list, tuple)):
        return [packed_state(part) for part in state]
    if isinstance(state, np.ndarray):
        # A copy: what is saved must not change while the stream goes on.
        return torch.from_numpy(np.array(state))
    return state.item() if isinstance(state, np.generic) else state


def unpacked_state(state: Any) -> Any:
    """What `packed_state` was given, tuples as lists."""
    if isinstance(state, dict):
        return {name: unpacked_state(part) for name, part in state.items()}
    if isinstance(state, list):
        return [unpacked_state(part) for part in state]
    return state.numpy() if isinstance(state, torch.Tensor) else state
