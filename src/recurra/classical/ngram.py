"""The n-gram language model with interpolated modified Kneser-Ney smoothing (Chen and Goodman 1999).

    p_k(w | h) = max(a(h w) - D(a(h w)), 0) / a(h .)  +  gamma(h) p_{k-1}(w | h'),       p_0(w) = 1 / V
    gamma(h)   = (D1 N1(h .) + D2 N2(h .) + D3 N3+(h .)) / a(h .)

where h is the context of k - 1 tokens, h' the same without its first, a the adjusted count of a k-gram (how often it
occurs at the highest order, below it how many different tokens stand before it), and Nr(h .) the number of tokens that
follow h with an adjusted count of r.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from recurra.base.errors import DataError, message

__all__ = ["FALLBACK_DISCOUNTS", "KneserNey", "discounts"]

FALLBACK_DISCOUNTS = (0.5, 1.0, 1.5)
"""D1, D2, D3+ where the counts of counts are too few to estimate them."""

_BLOCK = 1 << 20


@dataclass(frozen=True)
class _Order:
    """All k-grams of one order as the leaves of a trie, in the order of their keys."""

    keys: np.ndarray
    """int64 (G,), ascending: the number of the context (a (k-1)-gram) times V, plus the last token."""
    mass: np.ndarray
    """float64 (G,): the first term of p_k, the discounted share of the k-gram in its context."""
    back_off: np.ndarray
    """float64 (contexts,): gamma of each context; 1 where nothing is known to follow it."""

    def find(self, keys: np.ndarray) -> np.ndarray:
        """The number of each k-gram, -1 where it never occurred (or where its context did not: a negative key)."""
        places = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return np.where(self.keys[places] == keys, places, -1)


class KneserNey:
    """Probabilities of the next token given up to `order - 1` before it, over a vocabulary of V tokens.

    Tokens form one stream. Where it is made of sentences that do not know of each other, `boundary` is the token that
    ends each of them: no context reaches back beyond it (it then stands for the beginning of the next sentence).
    Every token of the vocabulary has a probability above zero, also one that was never seen. Counting needs some 40
    bytes of memory per token of training text and order.

    >>> text = np.random.default_rng(0).integers(50, size=1000) ** 2 // 50
    >>> model = KneserNey.fit(text, vocabulary_size=50, order=2)
    >>> round(model.evaluate(text), 3)
    3.131
    """

    def __init__(self, orders: Sequence[_Order], vocabulary_size: int, boundary: int | None) -> None:
        self._orders = orders
        self._boundary = boundary
        self.vocabulary_size = vocabulary_size

    @property
    def order(self) -> int:
        """The n of the n-grams."""
        return len(self._orders)

    @classmethod
    def fit(cls, tokens: np.ndarray, vocabulary_size: int, order: int = 6, boundary: int | None = None) -> KneserNey:
        """Count the n-grams of a text, tokens (N,) from 0 to `vocabulary_size` - 1.

        Warns when the discounts of an order above 1 cannot be estimated (a text that is very short, or not natural) and
        the fixed ones serve instead. Raises DataError for a text shorter than `order` or a token out of range.
        """
        if order < 1:
            raise DataError(message("KneserNey.fit", f"order must be at least 1, got {order}"))
        tokens = _checked(tokens, vocabulary_size, "KneserNey.fit")
        if len(tokens) < max(order, 2):
            raise DataError(message("KneserNey.fit", f"{len(tokens)} tokens are too few for order {order}"))
        if boundary is not None and not 0 <= boundary < vocabulary_size:
            raise DataError(
                message("KneserNey.fit", f"boundary {boundary} is outside a vocabulary of {vocabulary_size}")
            )
        if boundary is not None and order > 1:
            tokens = np.concatenate([[boundary], tokens])
        keys, counts, suffixes = [], [], []
        # The number of the k-gram that ends at each position, -1 where there is none; at order 0 all are the empty one.
        ending = np.zeros(len(tokens), dtype=np.int64)
        before = ending
        for k in range(1, order + 1):
            there = before >= 0
            unique, numbers, count = np.unique(
                before[there] * vocabulary_size + tokens[there], return_inverse=True, return_counts=True
            )
            suffix = np.empty(len(unique), dtype=np.int64)
            suffix[numbers] = ending[there]
            keys.append(unique)
            counts.append(count)
            suffixes.append(suffix)
            ending = np.full(len(tokens), -1)
            ending[there] = numbers
            before = _before(ending, tokens, boundary, k)
        adjusted = _adjusted(keys, counts, suffixes, vocabulary_size, boundary)
        contexts = [1, *map(len, keys)]
        orders = [_order(keys[k], adjusted[k], contexts[k], vocabulary_size, k + 1) for k in range(order)]
        return cls(orders, vocabulary_size, boundary)

    def log_probabilities(self, tokens: np.ndarray, history: Sequence[int] | np.ndarray = ()) -> np.ndarray:
        """ln p of each token (N,) given those before it (and `history` before the first), float64 nats (N,)."""
        history = self._placed(history)
        tokens = _checked(tokens, self.vocabulary_size, "KneserNey")
        reach = self.order - 1
        text = np.concatenate([history[len(history) - min(reach, len(history)) :], tokens])
        begin = len(text) - len(tokens)
        parts = [np.empty(0)]
        for at in range(begin, len(text), _BLOCK):
            scored = self._score(text[max(0, at - reach) : at + _BLOCK])
            parts.append(scored[min(at, reach) :])
        return np.concatenate(parts)

    def evaluate(self, tokens: np.ndarray, history: Sequence[int] | np.ndarray = ()) -> float:
        """Mean negative log-probability of a text, nats per token."""
        if len(tokens) == 0:
            raise DataError(message("KneserNey.evaluate", "the text is empty"))
        return -float(self.log_probabilities(tokens, history).mean())

    def probabilities(self, context: Sequence[int] | np.ndarray = ()) -> np.ndarray:
        """The distribution of the token after `context`, float64 (V,); sums to 1."""
        size = self.vocabulary_size
        context = self._placed(context)
        if self._boundary is not None:
            context = context[np.flatnonzero(context == self._boundary)[-1] :]
        distribution = np.full(size, 1 / size)
        for order, node in zip(self._orders, self._contexts(context), strict=False):
            begin, end = np.searchsorted(order.keys, [node * size, (node + 1) * size])
            distribution *= order.back_off[node]
            distribution[order.keys[begin:end] - node * size] += order.mass[begin:end]
        return distribution

    def sample(
        self, length: int, generator: np.random.Generator, context: Sequence[int] | np.ndarray = ()
    ) -> np.ndarray:
        """`length` tokens drawn one after the other, int64 (length,)."""
        window = list(context)
        drawn = []
        for _ in range(length):
            distribution = self.probabilities(window[max(0, len(window) - self.order + 1) :])
            token = int(generator.choice(self.vocabulary_size, p=distribution / distribution.sum()))
            drawn.append(token)
            window.append(token)
        return np.array(drawn, dtype=np.int64)

    def _placed(self, history: Sequence[int] | np.ndarray) -> np.ndarray:
        """The history as int64 (N,); one without a boundary begins a sentence."""
        history = _checked(np.asarray(history, dtype=np.int64), self.vocabulary_size, "KneserNey")
        if self._boundary is not None and self._boundary not in history:
            history = np.concatenate([[self._boundary], history])
        return history

    def _contexts(self, context: np.ndarray) -> Iterator[int]:
        """The number of the empty context, of the last token, of the last two ... as long as they occurred."""
        for reach in range(min(self.order, len(context) + 1)):
            node = 0
            for order, token in zip(self._orders, context[len(context) - reach :], strict=False):
                node = int(order.find(np.array([node * self.vocabulary_size + int(token)]))[0])
                if node < 0:
                    return
            yield node

    def _score(self, text: np.ndarray) -> np.ndarray:
        """ln p of each token given what stands before it in `text`, and nothing else."""
        size = self.vocabulary_size
        probability = np.full(len(text), 1 / size)
        # The number of the (k-1)-gram before each position, -1 where it never occurred or the text begins too late.
        before = np.zeros(len(text), dtype=np.int64)
        for k, order in enumerate(self._orders, start=1):
            known = before >= 0
            grams = order.find(np.where(known, before * size + text, -1))
            probability[known] *= order.back_off[before[known]]
            probability += np.where(grams >= 0, order.mass[grams], 0.0)
            before = _before(grams, text, self._boundary, k)
        return np.log(probability)


def discounts(adjusted: np.ndarray) -> tuple[float, float, float] | None:
    """D1, D2, D3+ from the counts of counts (Chen and Goodman 1999, eq. 26); None where these are degenerate."""
    n = np.bincount(np.minimum(adjusted, 5), minlength=6)[1:5].astype(float)
    if not n.all():
        return None
    y = n[0] / (n[0] + 2 * n[1])
    found = tuple(float(r + 1 - (r + 2) * y * n[r + 1] / n[r]) for r in range(3))
    if any(not 0 <= d <= r for r, d in enumerate(found, start=1)):
        return None
    return found[0], found[1], found[2]


def _before(ending: np.ndarray, text: np.ndarray, boundary: int | None, order: int) -> np.ndarray:
    """From the k-gram that ends at each position to the k-gram that ends before it: the context of order k + 1."""
    before = np.concatenate([[-1], ending[:-1]])
    if boundary is not None and order > 1:
        # A boundary begins a context; it never stands inside of one.
        before[1:][text[:-1] == boundary] = -1
    return before


def _adjusted(
    keys: list[np.ndarray],
    counts: list[np.ndarray],
    suffixes: list[np.ndarray],
    vocabulary_size: int,
    boundary: int | None,
) -> list[np.ndarray]:
    """The adjusted counts of each order: below the highest, how many different tokens stand before a k-gram."""
    adjusted: list[np.ndarray] = []
    begins = keys[0] == boundary
    for k in range(len(keys) - 1):
        different = np.bincount(suffixes[k + 1], minlength=len(keys[k]))
        if k > 0:
            # Nothing stands before the beginning of a sentence: what starts there keeps its plain count.
            begins = begins[keys[k] // vocabulary_size]
            different = np.where(begins, counts[k], different)
        adjusted.append(different)
    return [*adjusted, counts[-1]]


def _order(keys: np.ndarray, adjusted: np.ndarray, contexts: int, vocabulary_size: int, order: int) -> _Order:
    found = discounts(adjusted)
    # The unigrams of a small alphabet always have degenerate counts of counts: that is no news.
    if found is None and order > 1:
        warnings.warn(
            f"KneserNey.fit: too few {order}-grams to estimate discounts; using {FALLBACK_DISCOUNTS}. "
            "The text is short or not natural language.",
            stacklevel=3,
        )
    discount = np.array([0.0, *(found or FALLBACK_DISCOUNTS)])[np.minimum(adjusted, 3)]
    context = keys // vocabulary_size
    total = np.bincount(context, weights=adjusted, minlength=contexts)
    held_back = np.bincount(context, weights=discount, minlength=contexts)
    seen = total > 0
    back_off = np.divide(held_back, total, out=np.ones(contexts), where=seen)
    mass = np.divide(adjusted - discount, total[context], out=np.zeros(len(keys)), where=seen[context])
    return _Order(keys, mass, back_off)


def _checked(tokens: np.ndarray, vocabulary_size: int, where: str) -> np.ndarray:
    """Tokens as int64 (N,), each from 0 to V - 1."""
    tokens = np.asarray(tokens)
    if tokens.ndim != 1 or tokens.dtype.kind not in "iu":
        raise DataError(message(where, f"tokens must be whole numbers (N,), got {tokens.dtype} {tokens.shape}"))
    tokens = tokens.astype(np.int64)
    wrong = np.flatnonzero((tokens < 0) | (tokens >= vocabulary_size))
    if wrong.size:
        raise DataError(
            message(
                where, f"token {tokens[wrong[0]]} at position {wrong[0]} is outside a vocabulary of {vocabulary_size}"
            )
        )
    return tokens
