"""Random expressions for hypothesis, over leaves whose values are given too."""

from __future__ import annotations

import torch
from hypothesis import strategies as st

from recurra.equations.expr import Expr, const, make

__all__ = ["LEAVES", "MATRICES", "VALUES", "expressions"]

A, C, X = (make("extra", value=name) for name in "acx")
LEAVES = [A, C, X]
MATRICES = [make("param", value=name) for name in ("W.i", "U")]
_draw = torch.Generator().manual_seed(11)
VALUES = {leaf: torch.randn(2, 4, generator=_draw, dtype=torch.float64) for leaf in LEAVES}
VALUES |= {matrix: torch.randn(4, 4, generator=_draw, dtype=torch.float64) / 2 for matrix in MATRICES}

NUMBERS = st.sampled_from([-2.0, -1.0, 0.0, 0.5, 1.0, 3.0]).map(const)


def _more(inner: st.SearchStrategy[Expr]) -> st.SearchStrategy[Expr]:
    pairs = st.tuples(inner, inner)
    return st.one_of(
        st.tuples(st.sampled_from(["add", "sub", "mul", "minimum", "maximum"]), inner, inner).map(lambda t: make(*t)),
        # A denominator away from 0, so that rounding is not blown up and no sign of a zero decides.
        pairs.map(lambda t: t[0] / (1 + make("exp", make("tanh", t[1])))),
        st.tuples(st.sampled_from(["neg", "sigmoid", "tanh", "relu", "softplus"]), inner).map(lambda t: make(*t)),
        st.tuples(st.sampled_from(MATRICES), st.sampled_from(LEAVES), inner).map(
            lambda t: make("matmul", t[0], t[1] * t[2])
        ),
        st.tuples(st.sampled_from(["mean", "sum"]), st.sampled_from(LEAVES), inner).map(
            lambda t: make(t[0], t[1] + t[2])
        ),
        # Compared are leaves only: a difference in rounding must not turn a comparison.
        st.tuples(st.permutations(LEAVES), inner, inner).map(lambda t: make("select", t[0][0] < t[0][1], t[1], t[2])),
        st.permutations(LEAVES).map(lambda t: t[0] < t[1]),
    )


def expressions() -> st.SearchStrategy[Expr]:
    """Vectors and scalars, up to a dozen leaves."""
    return st.recursive(st.one_of(st.sampled_from(LEAVES), NUMBERS), _more, max_leaves=12)
