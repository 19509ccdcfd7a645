"""The one table of tolerances: dtype x quantity -> largest allowed relative error. Nothing loosens it.

A value: max |a - b| / max(1, max |b|) over the whole tensor. A gradient, a sum over all rows and steps:
|a - b| / max(1, |b|) in the Euclidean norm of the whole tensor.
"""

from __future__ import annotations

import torch
from torch import Tensor

TOLERANCE: dict[tuple[torch.dtype, str], float] = {
    (torch.float64, "value"): 1e-12,
    (torch.float64, "gradient"): 1e-11,
    # Two float32 computations of the same thing.
    (torch.float32, "value"): 1e-6,
    (torch.float32, "gradient"): 1e-6,
    # float32 against float64, through up to 63 steps that amplify each rounding.
    (torch.float32, "rounding"): 1e-5,
    (torch.float32, "gradient rounding"): 1e-5,
    # Eight bits of mantissa, rounded at every op of every step.
    (torch.bfloat16, "value"): 4e-2,
}


def relative_error(have: Tensor, want: Tensor, quantity: str) -> float:
    """The difference relative to what should be there, or to 1 where that is less."""
    if have.shape != want.shape:
        raise AssertionError(f"shapes differ: {tuple(have.shape)} and {tuple(want.shape)}")
    if not want.numel():
        return 0.0
    have, want = have.detach().double(), want.detach().double()
    size = torch.Tensor.norm if quantity.startswith("gradient") else lambda tensor: tensor.abs().max()
    return float(size(have - want) / size(want).clamp(min=1.0))


def assert_close(have: Tensor, want: Tensor, quantity: str, what: str, dtype: torch.dtype | None = None) -> None:
    """Fails with the name of what differs and by how much; NaN never passes."""
    limit = TOLERANCE[dtype or have.dtype, quantity]
    error = relative_error(have, want, quantity)
    assert error <= limit, f"{what}: relative error {error:.2e} above {limit:.0e}"
