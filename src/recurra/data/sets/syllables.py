"""Syllables: spoken from a plan (Jordan 1986), and as letters whose vowels can be foretold (Elman 1990).

`spoken`: the input is a plan, one unit per syllable, the same at every step; wanted are the letters one after another
and then a stop. A net without a memory cannot say two different letters from one plan.

`letters`: the three consonants b, d, g in random order, each followed by its own vowels: ba, dii, guuu. A letter is
six features (consonant, vowel, interrupted, high, back, voiced); wanted is the next letter. Vowels are certain once the
consonant is known, and so is that a consonant comes next; which one is not.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from recurra.base.errors import ConfigError, message
from recurra.data.batch import Batch

__all__ = ["FEATURES", "LETTERS", "SYLLABLES", "letters", "nearest_letter", "spoken"]

SYLLABLES = ("ba", "dii", "guuu", "bad", "dab", "gibb", "dugu", "aba")
"""What the plans stand for: letters that repeat, the same letters in another order, the same beginning."""

LETTERS = "bdgaiu."
"""The order of the outputs of `spoken`; the stop is last."""

FEATURES = {
    "b": (1, 0, 1, 0, 0, 1),
    "d": (1, 0, 1, 1, 0, 1),
    "g": (1, 0, 1, 0, 1, 1),
    "a": (0, 1, 0, 0, 1, 1),
    "i": (0, 1, 0, 1, 0, 1),
    "u": (0, 1, 0, 1, 1, 1),
}
"""Elman 1990, table 1."""

_FOLLOWED = {"b": "ba", "d": "dii", "g": "guuu"}


def spoken(syllables: tuple[str, ...] = SYLLABLES) -> Batch:
    """All syllables once: x (B, T, B) the plans, y (B, T) int64 letters, the stop as often as needed after the last.

    >>> "".join(LETTERS[index] for index in spoken().y[1].tolist())
    'dii..'
    """
    unknown = [one for one in syllables if not one or set(one) - set(LETTERS[:-1])]
    if not syllables or unknown or len(set(syllables)) != len(syllables):
        fact = f"syllables must be different ones of the letters {LETTERS[:-1]}, got {list(syllables)}"
        raise ConfigError(message("syllables.spoken", fact))
    steps = max(map(len, syllables)) + 1
    y = torch.tensor([[LETTERS.index(letter) for letter in one.ljust(steps, ".")] for one in syllables])
    x = torch.eye(len(syllables)).unsqueeze(1).repeat(1, steps, 1)
    return Batch(x, y)


def letters(batch_size: int, consonants: int, generator: Generator | None = None) -> tuple[Batch, list[str]]:
    """Rows of so many consonants with their vowels, cut to the shortest row, as features; and the texts.

    x (B, T, 6), y (B, T, 6) the letter after each.

    >>> letters(1, 4, torch.Generator().manual_seed(0))[1]
    ['guuubaguuuba']
    """
    if batch_size < 1 or consonants < 2:
        fact = f"needs B >= 1 and at least 2 consonants, got {batch_size} and {consonants}"
        raise ConfigError(message("syllables.letters", fact))
    drawn = torch.randint(0, 3, (batch_size, consonants), generator=generator).tolist()
    texts = ["".join(_FOLLOWED["bdg"[index]] for index in row) for row in drawn]
    steps = min(map(len, texts))
    texts = [text[:steps] for text in texts]
    rows = torch.tensor([[FEATURES[letter] for letter in text] for text in texts]).float()
    return Batch(rows[:, :-1], rows[:, 1:]), texts


def nearest_letter(features: Tensor) -> list[str]:
    """The letter whose features are nearest to each row (N, 6)."""
    table = torch.tensor(list(FEATURES.values()), dtype=features.dtype)
    names = list(FEATURES)
    return [names[index] for index in torch.cdist(features, table).argmin(-1).tolist()]
