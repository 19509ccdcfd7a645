"""The n-gram model against the textbook's formulas on dictionaries, and against known figures on real text."""

from __future__ import annotations

import gzip
import math
from collections import Counter, defaultdict
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from recurra.base.errors import DataError
from recurra.classical import ngram
from recurra.classical.ngram import FALLBACK_DISCOUNTS, KneserNey, discounts
from recurra.data import corpus


class Textbook:
    """Interpolated modified Kneser-Ney as Chen and Goodman write it: dictionaries of tuples and recursion."""

    def __init__(self, tokens: list[int], size: int, order: int, boundary: int | None) -> None:
        self.size = size
        sentences: list[list[int]] = [[]]
        for token in tokens:
            sentences[-1].append(token)
            if token == boundary:
                sentences.append([])
        counts: list[Counter[tuple[int, ...]]] = [Counter() for _ in range(order + 1)]
        for sentence in sentences:
            text = sentence if boundary is None else [boundary, *sentence]
            for end in range(1, len(text) + 1):
                for k in range(1, min(order, end) + 1):
                    counts[k][tuple(text[end - k : end])] += 1
        # The mark at the head of a sentence is context, never predicted.
        if boundary is not None and order == 1:
            counts[1][(boundary,)] = tokens.count(boundary)
        self.adjusted: list[dict[tuple[int, ...], int]] = [{}]
        for k in range(1, order):
            before: dict[tuple[int, ...], set[int]] = defaultdict(set)
            for gram in counts[k + 1]:
                before[gram[1:]].add(gram[0])
            plain = {gram: n for gram, n in counts[k].items() if k > 1 and gram[0] == boundary}
            self.adjusted.append({gram: len(heads) for gram, heads in before.items()} | plain)
        self.adjusted.append(dict(counts[order]))
        self.discounts = [
            (0.0, *(discounts(np.array(list(level.values()), dtype=int)) or FALLBACK_DISCOUNTS)) if level else ()
            for level in self.adjusted
        ]

    def p(self, history: tuple[int, ...], token: int) -> float:
        return self.at(len(history) + 1, history, token)

    def at(self, k: int, history: tuple[int, ...], token: int) -> float:
        if k == 0:
            return 1 / self.size
        lower = self.at(k - 1, history[1:], token)
        after = {gram[-1]: n for gram, n in self.adjusted[k].items() if gram[:-1] == history}
        if not after:
            return lower
        total, d = sum(after.values()), self.discounts[k]
        held_back = sum(d[min(n, 3)] for n in after.values())
        count = after.get(token, 0)
        return (count - d[min(count, 3)]) / total + held_back / total * lower


def histories(text: list[int], order: int, boundary: int | None) -> list[tuple[int, ...]]:
    """The context of each token as the model may see it: at most order - 1 tokens, back to a boundary."""
    found = []
    for end in range(len(text)):
        start = max(0, end - order + 1)
        history = text[start:end]
        if boundary is not None:
            sentence = [boundary, *text[:end]]
            sentence = sentence[len(sentence) - 1 - sentence[::-1].index(boundary) :]
            history = sentence[max(0, len(sentence) - order + 1) :]
        found.append(tuple(history))
    return found


def toy(size: int, seed: int) -> list[int]:
    """A text with habits: each token depends on the two before it."""
    chance = np.random.default_rng(seed)
    text = [1, 2]
    while len(text) < size:
        text.append(int((text[-1] + text[-2] * 2 + chance.choice(4, p=[0.6, 0.25, 0.1, 0.05])) % 9))
    return text


# Nine symbols have few bigrams; both kinds of discounts are tested so.
sparse = pytest.mark.filterwarnings("ignore:KneserNey.fit. too few")


@sparse
@pytest.mark.parametrize("boundary", [None, 0])
@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_equal_to_the_textbook(order, boundary):
    train, held_out = toy(1200, 0), [*toy(120, 1), 9, 9, 3, 10, 0, 0, 4]
    model = KneserNey.fit(np.array(train), 11, order, boundary)
    book = Textbook(train, 11, order, boundary)
    assert order < 5 or any(found[1:] not in ((), FALLBACK_DISCOUNTS) for found in book.discounts)
    contexts = histories(held_out, order, boundary)
    expected = [math.log(book.p(history, token)) for history, token in zip(contexts, held_out, strict=True)]
    np.testing.assert_allclose(model.log_probabilities(np.array(held_out)), expected, rtol=0, atol=1e-12)
    for history in contexts[::7]:
        expected = [book.p(history, token) for token in range(11)]
        np.testing.assert_allclose(model.probabilities(history), expected, rtol=0, atol=1e-12)


@sparse
@pytest.mark.parametrize("boundary", [None, 0])
def test_probabilities_sum_to_one_and_leave_nothing_out(boundary):
    model = KneserNey.fit(np.array(toy(3000, 0)), 12, 4, boundary)
    for context in ([], [1], [9], [11, 11, 11], [0, 0], toy(50, 3), [0, 1, 2, 11]):
        distribution = model.probabilities(context)
        assert distribution.min() > 0
        assert abs(distribution.sum() - 1) < 1e-12


@sparse
def test_blocks_make_no_difference(monkeypatch):
    model = KneserNey.fit(np.array(toy(3000, 0)), 9, 5)
    text = np.array(toy(100, 1))
    whole = model.log_probabilities(text)
    monkeypatch.setattr(ngram, "_BLOCK", 7)
    np.testing.assert_array_equal(model.log_probabilities(text), whole)
    parts = [model.log_probabilities(text[:40]), model.log_probabilities(text[40:], history=text[:40])]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


@sparse
def test_samples_follow_the_distribution():
    model = KneserNey.fit(np.array(toy(3000, 0)), 9, 3)
    drawn = model.sample(2000, np.random.default_rng(0), context=[1, 2])
    assert np.array_equal(model.sample(50, np.random.default_rng(0), context=[1, 2]), drawn[:50])
    # What the model wrote surprises it by about its own entropy.
    entropy = np.mean([-(p * np.log(p)).sum() for p in map(model.probabilities, pairwise(drawn))])
    assert abs(model.evaluate(drawn, history=[1, 2]) - entropy) < 0.05


def test_discounts_of_the_textbook():
    # n1..n4 = 4, 2, 1, 1: Y = 4 / 8, D1 = 1 - 2 Y 2/4, D2 = 2 - 3 Y 1/2, D3+ = 3 - 4 Y 1/1
    assert discounts(np.array([1, 1, 1, 1, 2, 2, 3, 4, 9])) == (0.5, 1.25, 1.0)
    assert discounts(np.array([1, 1, 2, 2, 3, 3])) is None
    assert discounts(np.array([1, 2, *[3] * 9, 4])) is None  # D2 = 2 - 3 Y 9/1 = -7


def test_a_text_too_uniform_for_discounts_warns_and_still_works():
    with pytest.warns(UserWarning, match="too few 2-grams to estimate discounts"):
        model = KneserNey.fit(np.array([0, 1] * 50), 2, 2)
    assert model.probabilities([0])[1] > 0.95


@pytest.mark.parametrize(
    ("tokens", "order", "fact"),
    [
        ([0, 1], 3, "2 tokens are too few for order 3"),
        ([0, 1, 5], 2, "token 5 at position 2 is outside a vocabulary of 3"),
        ([0, 1, -1], 2, "token -1 at position 2"),
        ([0.5, 1.0], 2, r"tokens must be whole numbers \(N,\), got float64 \(2,\)"),
        ([0, 1, 2], 0, "order must be at least 1, got 0"),
    ],
)
def test_bad_input(tokens, order, fact):
    with pytest.raises(DataError, match=fact):
        KneserNey.fit(np.array(tokens), 3, order)


def test_a_boundary_out_of_range():
    with pytest.raises(DataError, match="boundary 9 is outside a vocabulary of 9"):
        KneserNey.fit(np.array(toy(300, 0)), 9, 2, boundary=9)


@sparse
def test_an_empty_text_has_no_mean():
    with pytest.raises(DataError, match="the text is empty"):
        KneserNey.fit(np.array(toy(300, 0)), 9, 2).evaluate(np.array([], dtype=int))


@pytest.mark.parametrize(("order", "nats"), [(4, 1.719), (5, 1.561), (6, 1.523), (7, 1.517), (8, 1.519)])
def test_tiny_shakespeare(data_dir: Path, order, nats):
    """Characters, first 90 % against last 10 %: figures of an independent implementation (its own count tables)."""
    text = corpus.read([data_dir / "tinyshakespeare" / "input.txt.gz"])
    train, held_out, _ = text.split()
    assert round(KneserNey.fit(train, len(text.vocabulary), order).evaluate(held_out), 3) == nats


@pytest.mark.parametrize(("order", "valid", "test"), [(3, 157.8, 148.3), (5, 148.01, 141.19)])
def test_penn_treebank(data_dir: Path, order, valid, test):
    """Words, one end mark per line: test perplexity 141.2 is the published figure of the 5-gram (Mikolov 2012)."""
    parts = {}
    for part in ("train", "valid", "test"):
        with gzip.open(data_dir / "ptb" / f"ptb.{part}.txt.gz", "rt", encoding="utf-8") as lines:
            parts[part] = [word for line in lines for word in [*line.split(), "<eos>"]]
    number = {word: index for index, word in enumerate(sorted(set(parts["train"])))}
    tokens = {part: np.array([number[word] for word in words]) for part, words in parts.items()}
    model = KneserNey.fit(tokens["train"], len(number), order, boundary=number["<eos>"])
    digits = len(str(test).split(".")[1])
    assert round(math.exp(model.evaluate(tokens["valid"])), digits) == valid
    assert round(math.exp(model.evaluate(tokens["test"])), digits) == test
