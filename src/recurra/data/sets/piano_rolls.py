"""Polyphonic music as piano rolls: the four sets of Boulanger-Lewandowski et al. 2012, as MATLAB files of cell arrays.

JSB_Chorales.mat, Nottingham.mat, MuseData.mat and Piano_midi.mat hold `traindata`, `validdata` and `testdata`: one
matrix (T, 88) per piece, 1 where a key sounds, MIDI notes 21 to 108, a step a quarter note (chorales) or an eighth.
Source: Boulanger-Lewandowski, Bengio, Vincent 2012, arXiv:1206.6392; the MATLAB form is the one of Bai et al. 2018.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from recurra.base.errors import DataError, message

__all__ = ["KEYS", "PianoRolls", "next_frame", "read"]

KEYS = 88


class PianoRolls(NamedTuple):
    """Pieces (T, 88) float32 of zeros and ones, in the published split."""

    train: list[Tensor]
    validation: list[Tensor]
    test: list[Tensor]


def read(path: Path | str) -> PianoRolls:
    """The three parts of a file; DataError where it is missing, is no MATLAB file, or holds something else."""
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    path = Path(path)
    if not path.is_file():
        raise DataError(message(str(path), "no such file", hint="JSB_Chorales.mat or another of the four sets"))
    try:
        found = loadmat(str(path))
    except (ValueError, MatReadError, OSError, TypeError, NotImplementedError) as error:
        raise DataError(message(str(path), f"cannot be read as a MATLAB file: {error}")) from error
    names = ("traindata", "validdata", "testdata")
    missing = [name for name in names if name not in found]
    if missing:
        raise DataError(message(str(path), f"holds no {', '.join(missing)}", hint="is it one of the four sets?"))
    return PianoRolls(*(_pieces(path, name, found[name]) for name in names))


def _pieces(path: Path, name: str, cells: np.ndarray) -> list[Tensor]:
    pieces = []
    for index, roll in enumerate(cells.ravel()):
        roll = np.asarray(roll)
        if roll.ndim != 2 or roll.shape[1] != KEYS or roll.shape[0] < 2:
            fact = f"piece {index} of {name} must be (T, {KEYS}) with T >= 2, got {roll.shape}"
            raise DataError(message(str(path), fact))
        if not np.isin(roll, (0, 1)).all():
            raise DataError(message(str(path), f"piece {index} of {name} holds other numbers than 0 and 1"))
        pieces.append(torch.tensor(roll, dtype=torch.float32))
    if not pieces:
        raise DataError(message(str(path), f"{name} is empty"))
    return pieces


def next_frame(pieces: list[Tensor]) -> list[tuple[Tensor, Tensor]]:
    """Inputs and targets: each frame but the last, and the frame after it; the first is given, not predicted."""
    return [(piece[:-1], piece[1:]) for piece in pieces]
