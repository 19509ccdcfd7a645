"""Cells that no textbook has, each for one way in which a plan could go wrong."""

from __future__ import annotations

from recurra.equations.cell import Cell
from recurra.equations.functions import (
    absolute,
    clipped_relu,
    exp,
    layer_norm,
    log,
    maximum,
    mean,
    minimum,
    relu,
    rms_norm,
    sigmoid,
    softmax,
    softplus,
    sqrt,
    tanh,
    total,
    where,
)

__all__ = ["ODD"]

H, HC = "h", ("h", "c")
ODD: dict[str, type[Cell]] = {}


def odd(states: str | tuple[str, ...] = H, **axes: str):
    """Make a cell of the decorated step."""

    def add(step):
        ODD[step.__name__] = type(step.__name__, (Cell,), {"states": states, "step": step, "axes": axes})
        return step

    return add


@odd()
def no_input_product(self, x, h, U, b):
    return tanh(U @ h + b) + 0 * mean(x)


@odd()
def parameters_among_themselves(self, x, h, W, U, a, b):
    return sigmoid(a.decay) * h + softplus(b.s) * exp(b.t) * tanh(W @ x + U @ h)


@odd(HC)
def next_state_is_a_product(self, x, h, c, W, U):
    return U @ (h + c), W @ x


@odd(("h", "y"), y="O")
def heights_differ(self, x, h, y, W, U, V, b):
    return tanh(W.h @ x + U.h @ h + b.h), V.y @ h + W.y @ x + U.y @ y + b.y


@odd(("h", "y"), y="O")
def heights_differ_bare(self, x, h, y, U, V, W):
    return tanh(U @ h) * (W.h @ x), sigmoid(V @ h) * (W.y @ x) + y


@odd(HC)
def rows_and_choices(self, x, h, c, W, U, V):
    p = softmax(W.p @ x + U.p @ h)
    n = rms_norm(W.n @ x + U.n @ h, eps=1e-3)
    return where(p < mean(p), layer_norm(c), n) + V @ p, minimum(c, n) + maximum(p, clipped_relu(c, 0.5))


@odd(HC)
def state_returned_unchanged(self, x, h, c, W, U):
    return tanh(W @ x + U @ h + c), c


@odd(HC)
def states_change_places(self, x, h, c, W):
    return c, tanh(W @ x + h)


@odd(HC)
def state_free_next(self, x, h, c, W, U, b):
    return tanh(U @ c + W.a @ x + h), sigmoid(W.c @ x + b.c)


@odd(HC)
def parameter_as_state(self, x, h, c, W, U, b):
    return tanh(W @ x + U @ h + c), b.c


@odd(HC)
def next_of_parameters(self, x, h, c, W, U, b):
    return sigmoid(b.h) * 2, tanh(W @ x + U @ h + c)


@odd()
def constants(self, x, h, W, U):
    return 0.5 * h + sqrt(0.25) * tanh(1 * (W @ x) + 0 - -(U @ h)) / 2 + exp(-1)


@odd(HC)
def chosen_numbers(self, x, h, c, W, U):
    return where(W @ x < U @ h, 0.1, 0.3), tanh(W @ x + c)


@odd()
def scalars_added(self, x, h, W, U):
    return sigmoid(U.i @ h + mean(x)) * tanh(U.g @ h + W.g @ x)


@odd()
def scalars_as_bias(self, x, h, W, U, b):
    return sigmoid(W.i @ x + mean(b.i)) * tanh(W.g @ x + b.g) + U @ h


@odd()
def product_used_twice(self, x, h, W, U):
    a = U @ h
    return tanh(W @ x + a) + a


@odd(HC)
def product_is_a_state_too(self, x, h, c, W, U):
    a = U @ (h + c)
    return tanh(W @ x + a), a


@odd()
def input_product_used_twice(self, x, h, W, U):
    u = W @ x
    return sigmoid(u + U.a @ h) * tanh(u + U.b @ h)


@odd()
def only_some_terms_are_added(self, x, h, W, U):
    return sigmoid(W.i @ x + U.i @ h) * tanh(U.g @ h) + tanh(W.o @ x)


@odd()
def terms_out_of_order(self, x, h, W, U):
    a, b, c = W.a @ x, W.b @ x, W.c @ x
    return tanh(U.c @ h + c) * sigmoid(U.a @ h + a) + sigmoid(U.b @ tanh(h) + b)


@odd()
def a_run_of_terms(self, x, h, W, U, b):
    r, z, n, k = W.r @ x + b.r, W.z @ x + b.z, W.n @ x + b.n, W.k @ x + b.k
    return tanh(U.z @ h + z) * tanh(U.n @ h + n) + relu(r) * sigmoid(U.k @ (h * r) + k)


@odd()
def deep_input(self, x, h, W, V, U, b):
    inner = tanh(W.a @ x + b.a)
    return tanh(V.a @ inner + U.a @ h) + V.b @ (inner * (W.b @ x)) + log(1 + absolute(total(x)) + absolute(h))


@odd(("F", "s0", "m0"))
def names_of_the_program(self, x, F, s0, m0, W, W_i, U):
    a0 = layer_norm(W.i @ x + U.a @ F)
    return a0 + s0, tanh(s0 + W_i * F + U.b @ F), sigmoid(m0 + U.c @ m0)


@odd(h="I")
def state_as_wide_as_the_input(self, x, h, a):
    return sigmoid(a) * h + x


@odd(HC)
def sum_that_is_a_state_too(self, x, h, c, W, U, b):
    c_next = W.c @ x + U.c @ h + c
    return c_next + (W.h @ x + b), c_next
