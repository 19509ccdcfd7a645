"""Spans of every scheme: hand-worked cases, a twin of conlleval's rules, figures of seqeval and of the shared tasks."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest

from recurra.base.errors import DataError
from recurra.data.spans import has_spans, scheme_of, span_scores, spans_of, token_accuracy, transitions_of

# conlleval's rules as its tables: (prefix before, prefix) at which a chunk begins, and at which the one before ends.
STARTS = {*product("BIOES", "BS"), ("O", "I"), ("O", "E"), ("E", "E"), ("E", "I"), ("S", "E"), ("S", "I")}
ENDS = {*product("ES", "BIOES"), ("B", "B"), ("B", "S"), ("B", "O"), ("I", "B"), ("I", "S"), ("I", "O")}


def chunks(labels: list[str]) -> list[tuple[str, int, int]]:
    """The chunks of a sequence by conlleval's two questions, which it asks between any two labels."""
    result, first, before, kind = [], None, "O", ""
    for index, label in enumerate([*labels, "O"]):
        prefix, _, name = label.partition("-")
        if first is not None and ((before, prefix) in ENDS or (before != "O" and kind != name)):
            result.append((kind, first, index - 1))
            first = None
        if (before, prefix) in STARTS or (prefix != "O" and kind != name):
            first = index
        before, kind = prefix, name
    return result


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ("", []),
        ("O O", []),
        # IOB2.
        ("B-X I-X O B-X", [("X", 0, 1), ("X", 3, 3)]),
        ("B-X B-X I-X", [("X", 0, 0), ("X", 1, 2)]),
        ("B-X I-Y I-Y", [("X", 0, 0), ("Y", 1, 2)]),
        # IOB1.
        ("I-X I-X B-X O I-Y", [("X", 0, 1), ("X", 2, 2), ("Y", 4, 4)]),
        ("I-X I-Y", [("X", 0, 0), ("Y", 1, 1)]),
        # BIOES and BILOU.
        ("B-X I-X E-X S-X S-X O", [("X", 0, 2), ("X", 3, 3), ("X", 4, 4)]),
        ("B-X I-X L-X U-X U-X O", [("X", 0, 2), ("X", 3, 3), ("X", 4, 4)]),
        ("B-X E-X B-X E-X", [("X", 0, 1), ("X", 2, 3)]),
        # No scheme allows these.
        ("E-X E-X", [("X", 0, 0), ("X", 1, 1)]),
        ("S-X I-X", [("X", 0, 0), ("X", 1, 1)]),
        # IOE2: E ends every span.
        ("I-X E-X I-X E-X", [("X", 0, 1), ("X", 2, 3)]),
        # Segmentation without types.
        ("B M E S B E", [("_", 0, 2), ("_", 3, 3), ("_", 4, 5)]),
        # A type with a hyphen.
        ("B-NP-SBJ I-NP-SBJ I-NP", [("NP-SBJ", 0, 1), ("NP", 2, 2)]),
    ],
)
def test_cases_by_hand(labels: str, expected: list[tuple[str, int, int]]) -> None:
    assert spans_of(labels.split()) == expected


def test_chunks_of_conlleval() -> None:
    kinds = ["O", *(f"{prefix}-{name}" for prefix in "BIES" for name in "XY")]
    for length in range(1, 5):
        for labels in product(kinds, repeat=length):
            assert spans_of(labels) == chunks(list(labels)), labels


def test_figures_of_seqeval() -> None:
    # The example of seqeval's documentation: F1 0.50 overall, MISC 0.00, PER 1.00, accuracy 0.80.
    rows = ("O O O B-MISC I-MISC I-MISC O", "B-PER I-PER O"), ("O O B-MISC I-MISC I-MISC I-MISC O", "B-PER I-PER O")
    reference, predicted = ([row.split() for row in side] for side in rows)
    scores = span_scores(reference, predicted)
    assert {kind: counts.f1 for kind, counts in scores.items()} == {"": 0.5, "MISC": 0.0, "PER": 1.0}
    assert token_accuracy(reference, predicted) == 0.8
    # Random labels of BIO and of BIOES, counted by seqeval 1.2.2.
    for prefixes, precision, recall in SEQEVAL:
        reference, predicted = random_labels(prefixes, 0), random_labels(prefixes, 1)
        counts = span_scores(reference, predicted)[""]
        assert (counts.precision, counts.recall) == pytest.approx((precision, recall), abs=5e-7)


# Prefixes, precision, recall.
SEQEVAL = (("BI", 0.210835, 0.214286), ("BIES", 0.306727, 0.295604))


def random_labels(prefixes: str, seed: int) -> list[list[str]]:
    """Fifty sequences; from a linear congruential generator, which no version of a library changes."""
    kinds, state = ["O", "O", *(f"{prefix}-{name}" for prefix in prefixes for name in "XY")], seed
    sequences = []
    for length in range(50):
        labels = []
        for _ in range(length):
            state = (1103515245 * state + 12345) % 2**31
            labels.append(kinds[(state >> 16) % len(kinds)])
        sequences.append(labels)
    return sequences


def test_empty_counts() -> None:
    scores = span_scores([["O", "B-X"]], [["O", "O"]])
    assert (scores[""].precision, scores[""].recall, scores[""].f1) == (None, 0.0, 0.0)
    assert span_scores([["O"]], [["O"]]) == {"": (0, 0, 0)}
    assert span_scores([["O"]], [["O"]])[""].f1 is None
    assert np.isnan(token_accuracy([], []))
    # An empty type is one of its own, not the total.
    assert span_scores([["B", "I", "B"]], [["B", "I", "I"]]) == {"": (0, 1, 2), "_": (0, 1, 2)}


def test_sequences_of_other_lengths_are_refused() -> None:
    with pytest.raises(DataError, match="2 reference sequences, but 1 predicted ones"):
        span_scores([["O"], ["O"]], [["O"]])
    with pytest.raises(DataError, match="sequence 1 has 2 reference labels, but 1 predicted ones"):
        token_accuracy([["O"], ["O", "O"]], [["O"], ["O"]])


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ("O B-NP I-NP", True),
        ("O U-NP L-NP", True),
        ("B I O", True),
        ("B M E S", True),
        ("NOUN VERB", False),
        # Secondary structure; parts of speech that begin like prefixes.
        ("_ h e", False),
        ("S E B", True),
        ("B", False),
        ("S", False),
        ("B-NP NOUN", False),
        ("O", False),
        ("", False),
    ],
)
def test_labels_that_are_spans(labels: str, expected: bool) -> None:
    assert has_spans(labels.split()) is expected


@pytest.mark.parametrize(
    ("sequences", "scheme"),
    [
        (["B-X I-X O", "B-Y"], "IOB2"),
        (["I-X I-X O", "I-Y B-Y I-X"], "IOB1"),
        (["B-X E-X O S-X"], "BIOES"),
        (["U-X B-X I-X L-X"], "BIOES"),
        (["B I B O"], "IOB2"),
        (["B M E S"], "BIOES"),
        # IOE2 is none of them; and one that contradicts itself.
        (["I-X E-X"], None),
        (["B-X I-X", "O I-X", "O B-X"], None),
        (["NOUN VERB"], None),
        ([], None),
    ],
)
def test_scheme(sequences: list[str], scheme: str | None) -> None:
    assert scheme_of([labels.split() for labels in sequences]) == scheme


@pytest.mark.parametrize(("scheme", "prefixes"), [("IOB2", "BI"), ("IOB1", "BI"), ("BIOES", "BIES")])
def test_valid_sequences_are_those_that_their_spans_give_back(scheme: str, prefixes: str) -> None:
    labels = ["O", *(f"{prefix}-{name}" for prefix in prefixes for name in "XY")]
    valid = transitions_of(labels, scheme)
    for length in range(1, 5):
        for codes in product(range(len(labels)), repeat=length):
            allowed = valid.start[codes[0]] and valid.end[codes[-1]]
            allowed = allowed and all(valid.transitions[a, b] for a, b in pairwise(codes))
            sequence = [labels[code] for code in codes]
            assert allowed == (written(spans_of(sequence), length, scheme) == sequence), sequence


def written(spans: list[tuple[str, int, int]], length: int, scheme: str) -> list[str]:
    """The labels of spans in a scheme."""
    labels = ["O"] * length
    for number, (kind, first, last) in enumerate(spans):
        labels[first : last + 1] = [f"I-{kind}"] * (last - first + 1)
        adjacent = number and spans[number - 1][::2] == (kind, first - 1)
        if scheme != "IOB1" or adjacent:
            labels[first] = f"B-{kind}"
        if scheme == "BIOES":
            labels[last] = f"E-{kind}" if last > first else f"S-{kind}"
    return labels
