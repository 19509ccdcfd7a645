"""Rewrites keep the values and leave less to do."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given

from recurra.equations.expr import const, make, topological
from recurra.equations.simplify import regroup, simplify
from recurra.kernels.reference.spelling import evaluate
from unit.equations.random_expressions import LEAVES, VALUES, expressions

A, C, X = LEAVES
ZERO, ONE = const(0.0), const(1.0)


def same_values(first, second):
    have, want = (torch.as_tensor(evaluate([root], VALUES)[0], dtype=torch.float64) for root in (first, second))
    torch.testing.assert_close(*torch.broadcast_tensors(have, want), rtol=1e-9, atol=1e-9, equal_nan=True)


@given(expressions())
def test_simplify_keeps_values(root):
    (simpler,) = simplify([root])
    same_values(simpler, root)
    assert len(topological([simpler])) <= len(topological([root]))


@given(expressions())
def test_simplify_is_done_in_one_go_but_for_new_pairs(root):
    once = simplify([root])
    twice = simplify(once)
    assert len(topological(twice)) <= len(topological(once))
    assert simplify(simplify(twice)) == simplify(twice)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (A + ZERO, A),
        (ZERO + A, A),
        (A - ZERO, A),
        (ZERO - A, -A),
        (A * ONE, A),
        (ONE * A, A),
        (A * -1.0, -A),
        (-1.0 * A, -A),
        (A / ONE, A),
        (make("neg", -A), A),
        (A + -C, A - C),
        (A - make("neg", C), A + C),
        (A * (const(2.0) * 3 - 5), A),
        (make("minimum", A, A), A),
        (make("select", A < C, X, X), X),
        (make("sqrt", const(4.0)) * A, const(2.0) * A),
        (make("exp", ZERO) * A, A),
        (make("select", ONE, const(3.0), const(4.0)) + A, const(3.0) + A),
        # What must stay: 0 times infinity is not 0, and 0 / 0 is not 1.
        (A * ZERO, A * ZERO),
        (A / A, A / A),
        (A - A, A - A),
    ],
)
def test_rules(written, expected):
    assert simplify([written]) == [expected]


def test_a_scalar_stays_in_a_vector():
    vector = make("select", A < C, ONE, ONE)
    assert simplify([vector]) == [vector]


@pytest.mark.parametrize(
    ("written", "value"),
    [
        (ONE / ZERO, math.nan),
        (make("log", const(-1.0)), math.nan),
        (make("exp", const(1e4)), math.inf),
        (make("softplus", const(1e4)), 1e4),
        (make("softplus", const(-1.0)), math.log1p(math.exp(-1))),
        (make("sigmoid", const(-1e4)), 0.0),
        (make("mean", const(2.0)), 2.0),
        (make("less", ONE, const(2.0)), 1.0),
        (make("maximum", ONE, const(2.0)), 2.0),
    ],
)
def test_numbers_are_folded(written, value):
    (folded,) = simplify([written])
    assert folded.op == "const"
    assert folded.value == pytest.approx(value, nan_ok=True, abs=1e-15)


def early(node):
    """What does not touch C."""
    return C not in topological([node])


@given(expressions())
def test_regroup_keeps_values(root):
    (regrouped,) = regroup([root], early)
    same_values(regrouped, root)


def test_regroup_gathers_what_is_early():
    written = ((A + C) + X) + (C * C + make("tanh", A))
    (regrouped,) = regroup([written], early)
    assert regrouped == (((A + X) + make("tanh", A)) + C) + C * C
    sums = [node for node in topological([regrouped]) if node.op == "add"]
    assert len(sums) == 4
    assert sum(early(node) for node in sums) == 2


def test_regroup_leaves_a_shared_sum_alone():
    shared = A + C
    written = [shared + X, make("tanh", shared)]
    again = regroup(written, early)
    assert again[1] is written[1]
    assert again[0] == X + shared


def test_regroup_leaves_early_sums_alone():
    written = A + (X + A)
    assert regroup([written], early) == [written]
