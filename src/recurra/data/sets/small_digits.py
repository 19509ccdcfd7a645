"""The 1,797 handwritten digits of 8 x 8 pixels that scikit-learn brings (Alpaydin and Kaynak 1998).

The last 360 are held out: they are of other writers than most of the rest, which makes them harder than a random split.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from recurra.base.errors import MissingExtra, message

__all__ = ["TEST", "read"]

TEST = 360


def read(part: Literal["train", "test"] = "train") -> tuple[Tensor, Tensor]:
    """Images (N, 8, 8, 1) float32 from 0 to 1, and their digits (N,) int64."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise MissingExtra(message("small_digits", "needs scikit-learn", hint="pip install scikit-learn")) from error
    found = load_digits()
    images, labels = torch.tensor(found.images).float().unsqueeze(-1) / 16, torch.tensor(found.target).long()  # pyright: ignore[reportAttributeAccessIssue]
    return (images[:-TEST], labels[:-TEST]) if part == "train" else (images[-TEST:], labels[-TEST:])
