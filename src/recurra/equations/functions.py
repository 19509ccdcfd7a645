"""The functions a step is written with. They take symbols and numbers and give symbols."""

from __future__ import annotations

from recurra.equations.expr import Expr, lift, make

__all__ = [
    "absolute",
    "clipped_relu",
    "exp",
    "layer_norm",
    "log",
    "maximum",
    "mean",
    "minimum",
    "relu",
    "rms_norm",
    "sigmoid",
    "softmax",
    "softplus",
    "sqrt",
    "tanh",
    "total",
    "where",
]

Operand = Expr | float


def sigmoid(a: Operand) -> Expr:
    """1 / (1 + exp(-a)), elementwise."""
    return make("sigmoid", lift(a))


def tanh(a: Operand) -> Expr:
    """Hyperbolic tangent, elementwise."""
    return make("tanh", lift(a))


def relu(a: Operand) -> Expr:
    """max(a, 0), elementwise; its derivative at 0 is 0."""
    return make("relu", lift(a))


def clipped_relu(a: Operand, ceiling: float = 20.0) -> Expr:
    """min(max(a, 0), ceiling), as in Deep Speech (Hannun et al. 2014)."""
    return make("minimum", make("relu", lift(a)), lift(ceiling))


def exp(a: Operand) -> Expr:
    """Exponential, elementwise."""
    return make("exp", lift(a))


def log(a: Operand) -> Expr:
    """Natural logarithm, elementwise."""
    return make("log", lift(a))


def softplus(a: Operand) -> Expr:
    """log(1 + exp(a)), elementwise."""
    return make("softplus", lift(a))


def absolute(a: Operand) -> Expr:
    """Absolute value, elementwise; its derivative at 0 is 0."""
    return make("abs", lift(a))


def sqrt(a: Operand) -> Expr:
    """Square root, elementwise."""
    return make("sqrt", lift(a))


def minimum(a: Operand, b: Operand) -> Expr:
    """The smaller of two, elementwise; where they are equal the gradient goes to the second."""
    return make("minimum", lift(a), lift(b))


def maximum(a: Operand, b: Operand) -> Expr:
    """The larger of two, elementwise; where they are equal the gradient goes to the second."""
    return make("maximum", lift(a), lift(b))


def where(condition: Operand, a: Operand, b: Operand) -> Expr:
    """`a` where the condition (such as `u < v`) holds, else `b`, elementwise."""
    return make("select", lift(condition), lift(a), lift(b))


def softmax(a: Operand) -> Expr:
    """exp(a) / sum exp(a) over the vector."""
    return make("softmax", lift(a))


def layer_norm(a: Operand, eps: float = 1e-5) -> Expr:
    """(a - mean) / sqrt(variance + eps) over the vector (Ba et al. 2016); gain and bias are yours to write."""
    return make("layer_norm", lift(a), value=eps)


def rms_norm(a: Operand, eps: float = 1e-5) -> Expr:
    """a / sqrt(mean of squares + eps) over the vector (Zhang and Sennrich 2019)."""
    return make("rms_norm", lift(a), value=eps)


def mean(a: Operand) -> Expr:
    """The mean over the vector, a scalar per batch row."""
    return make("mean", lift(a))


def total(a: Operand) -> Expr:
    """The sum over the vector, a scalar per batch row."""
    return make("sum", lift(a))
