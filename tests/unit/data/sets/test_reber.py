"""The Reber grammars: enumerated, walked by another hand, and with the entropy that theory gives."""

from __future__ import annotations

import math

import pytest
import torch

from recurra.base.errors import DataError
from recurra.data.sets import reber


def outcomes(embedded: bool, most: int) -> dict[str, float]:
    """Every string up to so many symbols with its probability, by walking `chances` as a black box."""
    found: dict[str, float] = {}
    # A prefix is legal when some string of the grammar starts with it; strings of the sample give the ways on.
    drawn = set(reber.strings(20000, embedded, torch.Generator().manual_seed(3)))
    for text in drawn:
        if len(text) <= most:
            rows = reber.chances(text, embedded)
            steps = [float(rows[t, reber.SYMBOLS.index(text[t + 1])]) for t in range(len(text) - 1)]
            found[text] = math.prod(steps)
    return found


@pytest.mark.parametrize("embedded", [False, True])
def test_probabilities_are_those_of_the_draws(embedded: bool) -> None:
    count = 20000
    drawn = reber.strings(count, embedded, torch.Generator().manual_seed(0))
    expected = outcomes(embedded, 13)
    # All short strings together, and each of the likely ones within five standard errors.
    share = sum(len(text) <= 13 for text in drawn) / count
    assert abs(share - sum(expected.values())) < 5 * math.sqrt(share * (1 - share) / count) + 1e-3
    for text, chance in expected.items():
        if chance > 0.01:
            seen = drawn.count(text) / count
            assert abs(seen - chance) < 5 * math.sqrt(chance * (1 - chance) / count), text


@pytest.mark.parametrize(("embedded", "length", "bits"), [(False, 8.0, 6.0), (True, 12.0, 7.0)])
def test_mean_length_and_entropy(embedded: bool, length: float, bits: float) -> None:
    """E[length] and E[binary choices] from the absorbing chain of the drawing, solved by hand: 8 and 6, 12 and 7."""
    drawn = reber.strings(8000, embedded, torch.Generator().manual_seed(1))
    lengths = torch.tensor([float(len(text)) for text in drawn])
    assert abs(float(lengths.mean()) - length) < 5 * float(lengths.std()) / math.sqrt(len(drawn))
    choices = torch.tensor([float((reber.chances(text, embedded) == 0.5).any(-1).sum()) for text in drawn])
    assert abs(float(choices.mean()) - bits) < 5 * float(choices.std()) / math.sqrt(len(drawn))
    assert reber.ENTROPY_BITS[embedded] == bits


def test_shortest_strings_are_those_of_the_drawing() -> None:
    short = {text for text in reber.strings(20000, False, torch.Generator().manual_seed(2)) if len(text) <= 6}
    assert short == {"BTXSE", "BPVVE", "BTSXSE", "BPTVVE", "BPVPSE"}
    for text in short:
        assert reber.is_legal(f"BT{text}TE")
        assert not reber.is_legal(f"BT{text}PE")


def test_what_may_follow() -> None:
    rows = reber.chances("BTBTXSETE")
    names = ["".join(s for s, chance in zip(reber.SYMBOLS, row.tolist(), strict=True) if chance) for row in rows]
    assert names == ["TP", "B", "TP", "SX", "SX", "E", "T", "E"]
    x, y = reber.pair("BTBTXSETE")
    assert x.shape == (8, 7)
    assert "".join(reber.SYMBOLS[index] for index in y.tolist()) == "TBTXSETE"


@pytest.mark.parametrize(("text", "fact"), [("BQ", "symbol 1 must be T or P, got 'Q'"), ("BT", "is not whole")])
def test_strings_outside_are_refused(text: str, fact: str) -> None:
    with pytest.raises(DataError, match=fact):
        reber.chances(text, embedded=False)
    assert not reber.is_legal(text, embedded=False)


def test_no_strings_and_other_symbols_are_refused() -> None:
    with pytest.raises(DataError, match="count must be at least 1, got 0"):
        reber.strings(0)
    with pytest.raises(DataError, match="must be of the symbols BTPSXVE"):
        reber.encode("BXQ")
