"""The languages a^n b^n and a^n b^n c^n, which no finite automaton knows: predict which symbols may come next.

Gers and Schmidhuber 2001, doi:10.1109/72.963769: a string is S a^n b^n T (or S a^n b^n c^n T), n from 1; after S only a
may come, after an a both a and b, and from the first b on the rest is certain. Learned from short strings, judged on
longer ones.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from recurra.base.errors import DataError, message
from recurra.data.batch import Batch

__all__ = ["batch", "pair", "symbols"]


def symbols(letters: int) -> str:
    """The order of inputs and outputs: start, the letters, end.

    >>> symbols(3)
    'SabcT'
    """
    if letters not in (2, 3):
        raise DataError(message("counting", f"letters must be 2 (a^n b^n) or 3 (a^n b^n c^n), got {letters}"))
    return "S" + "abc"[:letters] + "T"


def pair(n: int, letters: int = 2) -> tuple[Tensor, Tensor]:
    """Inputs (letters n + 1, V) one-hot, the string without its end; targets of the same shape, 1 for what may follow.

    >>> x, y = pair(2)
    >>> ["".join(s for s, on in zip(symbols(2), row.tolist()) if on) for row in y]
    ['a', 'ab', 'ab', 'b', 'T']
    """
    names = symbols(letters)
    if n < 1:
        raise DataError(message("counting.pair", f"n must be at least 1, got {n}"))
    shown = [0, *(1 + k for k in range(letters) for _ in range(n))]
    x = torch.nn.functional.one_hot(torch.tensor(shown), len(names)).float()
    y = torch.zeros_like(x)
    # From the first b on the rest is certain; after an a there may be another, or the first b.
    y[torch.arange(len(shown)), torch.tensor([*shown[1:], letters + 1])] = 1
    y[1 : n + 1, 1:3] = 1
    return x, y


def batch(numbers: Sequence[int], letters: int = 2) -> Batch:
    """The strings of these n, padded: x and y (B, T, V), lengths (B,)."""
    from recurra.data.buckets import padded

    if not len(numbers):
        raise DataError(message("counting.batch", "no n was given"))
    return padded([pair(n, letters) for n in numbers])
