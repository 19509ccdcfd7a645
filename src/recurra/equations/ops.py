"""The closed op set. Every other file of this floor, and every backend, is a table with one row per name below.

Values are vectors over one axis, one per batch row (`x`, states, all that is computed from them) or shared by all rows
(vector parameters); matrices are shared by all rows. The set is closed under differentiation: the reverse rules in
`derive` use these ops only, so gradients have gradients.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

__all__ = ["OPS", "Kind", "Op"]

Kind = Literal["leaf", "map", "row", "reduce", "product", "outer"]


class Op(NamedTuple):
    """What an op needs and how it treats axes."""

    arity: int
    kind: Kind
    about: str


OPS: dict[str, Op] = {
    # Leaves.
    "input": Op(0, "leaf", "the step's input x"),
    "state": Op(0, "leaf", "a state as the step receives it"),
    "param": Op(0, "leaf", "a named parameter, matrix or vector by its use"),
    "extra": Op(0, "leaf", "a named tensor that the layer hands in: a mask, a rate"),
    "seed": Op(0, "leaf", "the gradient that arrives at an output, in derived equations"),
    "const": Op(0, "leaf", "a number"),
    # Products with a matrix: the only ops that change the axis.
    "matmul": Op(2, "product", "M @ v"),
    "matmul_t": Op(2, "product", "M transposed @ v"),
    "outer": Op(2, "outer", "a times b transposed, summed over the batch: the gradient of M in M @ b"),
    # Elementwise.
    "add": Op(2, "map", "a + b"),
    "sub": Op(2, "map", "a - b"),
    "mul": Op(2, "map", "a * b"),
    "div": Op(2, "map", "a / b"),
    "neg": Op(1, "map", "-a"),
    "sigmoid": Op(1, "map", "1 / (1 + exp(-a))"),
    "tanh": Op(1, "map", "hyperbolic tangent"),
    "relu": Op(1, "map", "max(a, 0)"),
    "exp": Op(1, "map", "exponential"),
    "log": Op(1, "map", "natural logarithm"),
    "softplus": Op(1, "map", "log(1 + exp(a))"),
    "abs": Op(1, "map", "absolute value"),
    "sqrt": Op(1, "map", "square root"),
    "minimum": Op(2, "map", "the smaller"),
    "maximum": Op(2, "map", "the larger"),
    "less": Op(2, "map", "1 where a < b, else 0"),
    "select": Op(3, "map", "b where a is not 0, else c"),
    # Over the whole axis of one vector.
    "softmax": Op(1, "row", "exp(a) / sum exp(a)"),
    "layer_norm": Op(1, "row", "(a - mean a) / sqrt(var a + eps), eps in `value`"),
    "rms_norm": Op(1, "row", "a / sqrt(mean a^2 + eps), eps in `value`"),
    "sum": Op(1, "reduce", "the sum over the axis, a scalar"),
    "mean": Op(1, "reduce", "the mean over the axis, a scalar"),
    "largest": Op(1, "reduce", "the largest over the axis, a scalar"),
}
