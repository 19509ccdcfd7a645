"""Handwritten digits: MNIST (LeCun et al. 1998) from its idx files, plain or gzipped.

60,000 images of 28 x 28 pixels to learn from and 10,000 to be judged on.
"""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from recurra.base.errors import DataError, message

__all__ = ["read", "read_idx"]

_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_NAMES = {"train": "train", "test": "t10k"}


def read(folder: Path | str, part: Literal["train", "test"] = "train") -> tuple[Tensor, Tensor]:
    """Images (N, 28, 28, 1) float32 from 0 to 1, and their digits (N,) int64."""
    if part not in _NAMES:
        raise DataError(message("mnist.read", f"part must be train or test, got {part!r}"))
    images, labels = (
        read_idx(_found(Path(folder), f"{_NAMES[part]}-{kind}")) for kind in ("images-idx3", "labels-idx1")
    )
    if images.ndim != 3 or labels.shape != images.shape[:1]:
        raise DataError(message(str(folder), f"images {images.shape} and labels {labels.shape} do not belong together"))
    return torch.from_numpy(images).unsqueeze(-1).float() / 255, torch.from_numpy(labels).long()


def read_idx(path: Path | str) -> np.ndarray:
    """An idx file as an array in the machine's byte order; raises DataError where it is none or is cut off."""
    path = Path(path)
    raw = path.read_bytes()
    if path.suffix == ".gz":
        try:
            raw = gzip.decompress(raw)
        except (OSError, EOFError) as error:
            raise DataError(message(str(path), f"is damaged: {error}")) from error
    if len(raw) < 4 or raw[:2] != b"\0\0" or raw[2] not in _TYPES:
        raise DataError(message(str(path), "is no idx file", hint="it begins with 0, 0, type, number of axes."))
    start = 4 + 4 * raw[3]
    shape = np.frombuffer(raw[4:start], ">i4") if len(raw) >= start else np.array([-1])
    kind = np.dtype(_TYPES[raw[2]])
    wanted = int(np.prod(shape, dtype=np.int64)) * kind.itemsize
    if (shape < 0).any() or len(raw) - start != wanted:
        raise DataError(message(str(path), f"holds {len(raw) - start} bytes, its header says {wanted}"))
    return np.frombuffer(raw, kind, offset=start).reshape(shape).astype(kind.newbyteorder("="))


def _found(folder: Path, name: str) -> Path:
    for path in (folder / f"{name}-ubyte", folder / f"{name}-ubyte.gz"):
        if path.exists():
            return path
    raise DataError(message("mnist.read", f"neither {name}-ubyte nor {name}-ubyte.gz is in {folder}"))
