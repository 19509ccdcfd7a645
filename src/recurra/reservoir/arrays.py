"""Arrays and tensors at the boundary: what came in is checked, and what goes out is of the same kind."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from recurra.base.errors import DataError, ShapeError, message

__all__ = ["Array", "lengths_of", "like", "plain", "series", "valid"]

Array = np.ndarray | Tensor


def plain(value: Any) -> np.ndarray:
    """The values as a NumPy array; a tensor is cut from its graph and brought to the CPU."""
    return value.detach().cpu().numpy() if isinstance(value, Tensor) else np.asarray(value)


def series(where: str, name: str, value: Any, width: int, dtype: Any, lengths: np.ndarray | None = None) -> np.ndarray:
    """`value` as a contiguous (B, T, width) array of finite numbers; what is padding by `lengths` is set to 0."""
    given = plain(value)
    if given.ndim != 3 or given.shape[2] != width:
        hint = "add the batch axis: x[None]." if given.ndim == 2 and given.shape[1] == width else None
        fact = f"{name} must be (B, T, {width}), got {tuple(given.shape)}"
        raise ShapeError(message(where, fact, hint=hint))
    if given.shape[0] < 1 or (lengths is not None and len(lengths) != given.shape[0]):
        rows = "" if lengths is None else f" and lengths {tuple(lengths.shape)}"
        raise ShapeError(message(where, f"{name} is {tuple(given.shape)}{rows}: B must be at least 1 and the same"))
    if given.dtype.kind not in "fiub":
        raise DataError(message(where, f"{name} must hold real numbers, got {given.dtype}"))
    given = np.ascontiguousarray(given, dtype=dtype)
    if lengths is not None:
        given = np.where(valid(lengths, given.shape[1])[..., None], given, np.zeros((), dtype))
    if not np.isfinite(given).all():
        at = tuple(int(i) for i in np.argwhere(~np.isfinite(given))[0])
        raise DataError(message(where, f"{name} holds {given[at]} at {at}; every valid step must be finite"))
    return given


def lengths_of(where: str, lengths: Any, batch: int, steps: int) -> np.ndarray | None:
    """`lengths` (B,) as int64, each within 0 .. T; None stays None."""
    if lengths is None:
        return None
    given = plain(lengths)
    if given.shape != (batch,) or given.dtype.kind not in "iu":
        raise ShapeError(
            message(where, f"lengths must be whole numbers (B,) = ({batch},), got {given.dtype} {tuple(given.shape)}")
        )
    if given.size and not (given.min() >= 0 and given.max() <= steps):
        raise DataError(message(where, f"lengths must be in 0 .. T = {steps}, got {given.min()} .. {given.max()}"))
    return np.ascontiguousarray(given, dtype=np.int64)


def valid(lengths: np.ndarray, steps: int) -> np.ndarray:
    """(B, T) bool: which steps are before their row's end."""
    return np.arange(steps) < lengths[:, None]


def like(array: np.ndarray, pattern: Any) -> Any:
    """`array` as it is, or as a tensor on the pattern's device where the pattern is a tensor."""
    return torch.from_numpy(array).to(pattern.device) if isinstance(pattern, Tensor) else array
