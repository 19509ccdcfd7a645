"""Spans in label sequences (BIO, IOB1, BIOES), as the shared tasks of CoNLL count them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

__all__ = ["SpanScores", "has_spans", "span_scores", "spans_of"]

_PREFIXES = frozenset("BIESLU")
# BILOU writes L and U for what BIOES writes E and S.
_ENDS, _SINGLES = frozenset("EL"), frozenset("SU")


class SpanScores(NamedTuple):
    """Counts of spans that match in type, first and last token."""

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
        """Harmonic mean of both; None where there is no span at all."""
        total = self.predicted + self.reference
        return 2 * self.correct / total if total else None


def has_spans(labels: Iterable[str]) -> bool:
    """Whether labels are spans: O and prefixes of B, I, E, S (L, U), each with a type.

    >>> has_spans(["O", "B-NP", "I-NP"]), has_spans(["NOUN", "VERB"])
    (True, False)
    """
    kinds = set(labels) - {"O"}
    return bool(kinds) and all(label[:1] in _PREFIXES and label[1:2] == "-" and len(label) > 2 for label in kinds)


def spans_of(labels: Sequence[str]) -> list[tuple[str, int, int]]:
    """Return (type, first, last) of each span of a sequence, by the rules of conlleval.

    A span begins at B or S, at any label after O, and where the type changes; IOB1, where B only parts two neighbours,
    is so read too.

    >>> spans_of(["B-NP", "I-NP", "O", "I-NP", "B-NP"])
    [('NP', 0, 1), ('NP', 3, 3), ('NP', 4, 4)]
    """
    spans: list[tuple[str, int, int]] = []
    first, kind, before = 0, "", "O"
    for index, label in enumerate([*labels, "O"]):
        prefix, _, name = label.partition("-") if label != "O" else ("O", "", "")
        begins = prefix != "O" and (before in ("O", *_ENDS, *_SINGLES) or prefix in ("B", *_SINGLES) or name != kind)
        if before != "O" and (begins or prefix == "O"):
            spans.append((kind, first, index - 1))
        if begins:
            first = index
        kind, before = name, prefix
    return spans


def span_scores(reference: Iterable[Sequence[str]], predicted: Iterable[Sequence[str]]) -> dict[str, SpanScores]:
    """Return the counts over all sequences: of each type, and of all under the empty name."""
    correct, guessed, true = Counter[str](), Counter[str](), Counter[str]()
    for one, other in zip(reference, predicted, strict=True):
        expected, found = set(spans_of(one)), set(spans_of(other))
        for counter, spans in ((correct, expected & found), (guessed, found), (true, expected)):
            counter.update(kind for kind, _, _ in spans)
            counter[""] += len(spans)
    kinds = ["", *sorted((true.keys() | guessed.keys()) - {""})]
    return {kind: SpanScores(correct[kind], guessed[kind], true[kind]) for kind in kinds}
