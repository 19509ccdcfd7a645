"""Syllables and letters: what is wanted, and what can be known."""

from __future__ import annotations

import pytest
import torch

from recurra.base.errors import ConfigError
from recurra.data.sets import syllables


def test_a_plan_stays_and_its_letters_come() -> None:
    batch = syllables.spoken(("ba", "dii"))
    assert torch.equal(batch.x, torch.eye(2).unsqueeze(1).expand(2, 4, 2))
    texts = ["".join(syllables.LETTERS[index] for index in row) for row in batch.y.tolist()]
    assert texts == ["ba..", "dii."]


def test_the_standard_syllables_need_a_memory() -> None:
    """Some letter stands in one syllable twice with another one after it: the letter before does not tell the next."""
    assert any(
        len({one[at + 1 : at + 2] for at, letter in enumerate(one) if letter == wanted}) > 1
        for one in syllables.SYLLABLES
        for wanted in one
    )


def test_vowels_follow_their_consonant() -> None:
    batch, texts = syllables.letters(6, 300, torch.Generator().manual_seed(0))
    for row, text in enumerate(texts):
        whole = text.replace("ba", "").replace("dii", "").replace("guuu", "")
        # What is left is the last, cut syllable.
        assert len(whole) <= 3
        rows = torch.cat([batch.x[row], batch.y[row, -1:]])
        assert "".join(syllables.nearest_letter(rows)) == text
    counts = [sum(text.count(letter) for text in texts) for letter in "bdg"]
    assert max(counts) < 1.2 * min(counts)


@pytest.mark.parametrize("chosen", [(), ("",), ("ba", "ba"), ("xa",)])
def test_bad_syllables_are_refused(chosen: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="must be different ones of the letters"):
        syllables.spoken(chosen)


def test_too_few_consonants_are_refused() -> None:
    with pytest.raises(ConfigError, match="at least 2 consonants, got 1 and 1"):
        syllables.letters(1, 1)
