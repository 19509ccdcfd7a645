"""Splitting an affine expression: what is left over, the factors, and what is no affine expression."""

from __future__ import annotations

import pytest

from recurra.equations.affine import groups, split
from recurra.equations.expr import make
from recurra.equations.functions import mean, sigmoid, tanh, where
from recurra.equations.show import text

H, C, X = make("state", value="h"), make("state", value="c"), make("input", value="x")
A, B = make("param", value="a"), make("param", value="b")


def shown(root):
    """The constant and the factors of h and c as text; None for what is not there."""
    found = split(root, (H, C))
    if found is None:
        return None
    constant, factors = found
    parts = [None if part is None else text(part) for part in (constant, factors.get(H), factors.get(C))]
    return tuple(parts)


@pytest.mark.parametrize(
    ("root", "expected"),
    [
        (H, (None, "1", None)),
        (X, ("x", None, None)),
        (A * H + B, ("b", "a", None)),
        (B - (H - C) * A, ("b", "-a", "a")),
        (-H, (None, "-1", None)),
        ((1 - A) * H + A * X, ("a ⊙ x", "1 - a", None)),
        ((H + C + B) / A, ("b / a", "1 / a", "1 / a")),
        (H + H, (None, "2", None)),
        (A * (B * H + C) - H * B, (None, "a ⊙ b - b", "a")),
        (where(A < B, H, B), ("where([a < b], 0, b)", "where([a < b], 1, 0)", None)),
        (sigmoid(A) * H + mean(X), ("mean(x)", "σ(a)", None)),
        (H * C, None),
        (H * H, None),
        (A / H, None),
        (tanh(H), None),
        (mean(H), None),
        (where(H < A, A, B), None),
        (make("matmul", A, H), None),
        (tanh(A * H) + C, None),
    ],
)
def test_split(root, expected):
    assert shown(root) == expected


@pytest.mark.parametrize(
    ("reads", "expected"),
    [
        ({"a": "", "b": ""}, (("a",), ("b",))),
        ({"a": "b", "b": ""}, (("b",), ("a",))),
        ({"a": "ab", "b": "b"}, (("b",), ("a",))),
        ({"a": "b", "b": "a"}, (("a", "b"),)),
        ({"a": "c", "b": "a", "c": "b", "d": "a", "e": ""}, (("a", "b", "c"), ("d",), ("e",))),
        ({"a": "bd", "b": "a", "c": "d", "d": "c"}, (("c", "d"), ("a", "b"))),
    ],
)
def test_groups(reads, expected):
    assert groups({state: frozenset(sources) for state, sources in reads.items()}) == expected
