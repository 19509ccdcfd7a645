"""Spans in label sequences (BIO, IOB1, BIOES and kin), counted as the shared tasks of CoNLL count them.

Tjong Kim Sang and Buchholz, Introduction to the CoNLL-2000 shared task: Chunking, 2000, and its script conlleval; the
schemes: Ramshaw and Marcus, Text chunking using transformation-based learning, 1995, arXiv:cmp-lg/9505040.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import numpy as np

from recurra.base.errors import DataError, message

__all__ = [
    "Scheme",
    "SpanScores",
    "Transitions",
    "has_spans",
    "scheme_of",
    "span_scores",
    "spans_of",
    "token_accuracy",
    "transitions_of",
]

Scheme = Literal["IOB2", "IOB1", "BIOES"]
"""IOB2 (BIO): B begins every span. IOB1: B only where a span follows another of its type. BIOES: the last label of a
span is E, and the label of a single token S."""

# BILOU writes L and U for E and S, BMEWO writes M and W for I and S.
_PREFIXES = {"B": "B", "I": "I", "E": "E", "S": "S", "L": "E", "U": "S", "M": "I", "W": "S"}
_UNTYPED = "_"


class SpanScores(NamedTuple):
    """Counts of spans; a predicted span is correct where type, first and last token are those of the reference."""

    correct: int
    predicted: int
    reference: int

    @property
    def precision(self) -> float | None:
        """Share of the predicted spans that are correct; None where there are none."""
        return self.correct / self.predicted if self.predicted else None

    @property
    def recall(self) -> float | None:
        """Share of the reference spans that were predicted; None where there are none."""
        return self.correct / self.reference if self.reference else None

    @property
    def f1(self) -> float | None:
        """Harmonic mean of precision and recall; None where there is no span at all."""
        total = self.predicted + self.reference
        return 2 * self.correct / total if total else None


class Transitions(NamedTuple):
    """Which label sequences are valid in a scheme; bool arrays."""

    transitions: np.ndarray
    """(K, K), from the label of a token (row) to that of the next (column)."""
    start: np.ndarray
    """(K,), of the first token."""
    end: np.ndarray
    """(K,), of the last token."""


def has_spans(labels: Iterable[str]) -> bool:
    """Return whether labels are those of spans.

    They are where all but O have a prefix of B, I, E, S (L, U, M, W) and a type, or where all are prefixes alone, B
    and I, M or E among them (segmentation).

    >>> has_spans(["O", "B-NP", "I-NP"]), has_spans(["B", "M", "E", "S"]), has_spans(["NOUN", "VERB"])
    (True, True, False)
    """
    kinds = set(labels) - {"O"}
    if kinds <= _PREFIXES.keys():
        return "B" in kinds and bool(kinds & {"I", "M", "E"})
    return all(label[:1] in _PREFIXES and label[1:2] == "-" and len(label) > 2 for label in kinds)


def spans_of(labels: Sequence[str]) -> list[tuple[str, int, int]]:
    """Return (type, first, last) of each span of a sequence, by the rules of conlleval.

    A span begins at B or S, at any label after O, E or S, and where the type changes; it ends before the next one and
    before O. So every scheme is read by the same rules, and so is a sequence that no scheme allows. A prefix without a
    type has the type "_"; a label without a prefix is outside all spans.

    >>> spans_of(["B-NP", "I-NP", "O", "I-NP", "B-NP"])
    [('NP', 0, 1), ('NP', 3, 3), ('NP', 4, 4)]
    """
    spans: list[tuple[str, int, int]] = []
    first, previous, kind = 0, "O", ""
    for index, label in enumerate([*labels, "O"]):
        prefix, name = _parsed(label)
        begins = prefix != "O" and (previous in "OES" or prefix in "BS" or name != kind)
        if previous != "O" and (begins or prefix == "O"):
            spans.append((kind, first, index - 1))
        if begins:
            first = index
        previous, kind = prefix, name
    return spans


def span_scores(reference: Iterable[Sequence[str]], predicted: Iterable[Sequence[str]]) -> dict[str, SpanScores]:
    """Return the counts over all sequences: of each type, in alphabetical order, and of all under the empty name.

    Args:
        reference: label sequences of the data.
        predicted: as many, of the same lengths.

    Raises:
        DataError: where number or lengths differ.

    """
    correct, predictions, references = Counter[str](), Counter[str](), Counter[str]()
    for labels, guesses in _pairs(reference, predicted):
        expected, output = set(spans_of(labels)), set(spans_of(guesses))
        for counter, spans in ((correct, expected & output), (predictions, output), (references, expected)):
            counter.update(kind for kind, _, _ in spans)
            counter[""] += len(spans)
    kinds = ["", *sorted((references.keys() | predictions.keys()) - {""})]
    return {kind: SpanScores(correct[kind], predictions[kind], references[kind]) for kind in kinds}


def token_accuracy(reference: Iterable[Sequence[str]], predicted: Iterable[Sequence[str]]) -> float:
    """Return the share of the tokens whose label is that of the reference; NaN where there is no token.

    >>> token_accuracy([["DET", "NOUN"], ["VERB"]], [["DET", "VERB"], ["VERB"]])
    0.6666666666666666
    """
    hits = [label == guess for row in _pairs(reference, predicted) for label, guess in zip(*row, strict=True)]
    return sum(hits) / len(hits) if hits else float("nan")


def scheme_of(sequences: Iterable[Sequence[str]]) -> Scheme | None:
    """Return the scheme under which all sequences are valid, IOB2 before IOB1; None where they are in none of them.

    >>> scheme_of([["I-PER", "I-PER", "O"], ["I-LOC", "B-LOC"]])
    'IOB1'
    """
    bigrams: set[tuple[str, str]] = set()
    for labels in sequences:
        bigrams.update(zip(["O", *labels], [*labels, "O"], strict=True))
    if not has_spans({label for pair in bigrams for label in pair}):
        return None
    schemes: tuple[Scheme, ...] = ("IOB2", "IOB1", "BIOES")
    return next((scheme for scheme in schemes if all(_follows(*pair, scheme) for pair in bigrams)), None)


def transitions_of(labels: Sequence[str], scheme: Scheme) -> Transitions:
    """Return which labels may follow each other, begin and end a sequence, so that a decoder gives valid spans only.

    >>> transitions_of(["O", "B-NP", "I-NP"], "IOB2").start.tolist()
    [True, True, False]
    """
    return Transitions(
        np.array([[_follows(label, following, scheme) for following in labels] for label in labels], bool),
        np.array([_follows("O", label, scheme) for label in labels], bool),
        np.array([_follows(label, "O", scheme) for label in labels], bool),
    )


def _follows(label: str, following: str, scheme: Scheme) -> bool:
    """Return whether a label may follow another; O stands for both ends of a sequence."""
    (before, kind), (prefix, name) = _parsed(label), _parsed(following)
    inside = before in "BI" and kind == name
    if scheme == "BIOES":
        return prefix in "IE" and inside if before in "BI" else prefix in "OBS"
    if {before, prefix} - set("BIO"):
        return False
    if scheme == "IOB2":
        return prefix != "I" or inside
    return prefix != "B" or inside


def _parsed(label: str) -> tuple[str, str]:
    """Return the prefix, one of B, I, E, S and O, and the type."""
    prefix, _, name = label.partition("-")
    return (_PREFIXES[prefix], name or _UNTYPED) if prefix in _PREFIXES else ("O", "")


def _pairs(
    reference: Iterable[Sequence[str]], predicted: Iterable[Sequence[str]]
) -> list[tuple[Sequence[str], Sequence[str]]]:
    references, predictions = list(reference), list(predicted)
    if len(references) != len(predictions):
        fact = f"{len(references)} reference sequences, but {len(predictions)} predicted ones"
        raise DataError(message("spans", fact))
    for number, (labels, guesses) in enumerate(zip(references, predictions, strict=True)):
        if len(labels) != len(guesses):
            fact = f"sequence {number} has {len(labels)} reference labels, but {len(guesses)} predicted ones"
            raise DataError(message("spans", fact))
    return list(zip(references, predictions, strict=True))
