"""For how many steps something is remembered: half-lives, of a whole state and of its units."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from recurra.base.errors import ShapeError, message

__all__ = ["half_life", "unit_half_lives"]


def half_life(norms: Sequence[float] | NDArray[np.float64]) -> float:
    """The distance at which a curve by distance (k = 0, 1, ...) has fallen to half of where it begins, for good.

    For curves of `gradient_by_distance` or `product_norms`. Between two distances it is interpolated on a logarithmic
    scale; infinite where the last point is still above half, NaN where the curve begins at nothing.

    >>> round(half_life([1.0, 0.9, 0.81, 0.729, 0.6561, 0.59049, 0.531441, 0.4782969]), 3)
    6.579
    """
    values = np.asarray(norms, np.float64)
    if values.ndim != 1 or not values.size:
        raise ShapeError(message("half_life", f"norms must be a curve (K + 1,), got {values.shape}"))
    if not values[0] > 0:
        return math.nan
    share = values / values[0]
    above = np.flatnonzero(share > 0.5)
    last = int(above[-1])
    if last == len(share) - 1:
        return math.inf
    here, after = math.log(share[last]), math.log(max(share[last + 1], 1e-300))
    return last + (here - math.log(0.5)) / (here - after)


def unit_half_lives(jacobians: NDArray[np.float64]) -> NDArray[np.float64]:
    """How many steps each number of a state keeps half of itself by its own doing: (S,) from Jacobians (T, S, S).

    ln 2 / -mean ln |ds_t[i]/ds_(t-1)[i]|: what the unit hands straight to itself, averaged as a product is. For the c
    of an LSTM that factor is its forget gate. 0 where the factor is 0 at some step, infinite where it does not shrink.
    Use `jacobians[:, rows, columns]` with `block` for one state.
    """
    if jacobians.ndim != 3 or jacobians.shape[1] != jacobians.shape[2] or not len(jacobians):
        raise ShapeError(message("unit_half_lives", f"jacobians must be (T, S, S) with T > 0, got {jacobians.shape}"))
    own = np.abs(np.diagonal(jacobians, axis1=1, axis2=2))
    with np.errstate(divide="ignore"):
        fall = -np.log(own).mean(0)
        return np.where(fall > 0, math.log(2) / np.where(fall > 0, fall, 1.0), math.inf)
