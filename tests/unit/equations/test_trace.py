"""The tracer: what it reads off a step, and how precisely it says what is wrong with one."""

from __future__ import annotations

import cProfile
import math
import pstats
import re
import sys

import numpy as np
import pytest
import torch

from recurra.base.errors import EquationError
from recurra.equations.cell import Cell
from recurra.equations.functions import layer_norm, mean, sigmoid, tanh


class TwoStates(Cell):
    states = "h", "c"

    def step(self, x, h, c, W, U):
        return tanh(W @ x + U @ h), c


def wrong(step, states=("h",), **attributes):
    """The class of a cell `bad` whose step is `step`."""
    return type("Bad", (Cell,), {"states": states, "step": step, **attributes})


# One cell a line: what is wrong with it, the step, its states, what the message must say of it.


def unused_state(self, x, h, c, W, U):
    c_next = W.c @ x
    return tanh(U @ h + W.h @ x), c_next


def unused_family(self, x, h, W, U, p):
    return tanh(W @ x + U @ h)


def unused_value(self, x, h, W, U):
    i = sigmoid(W.i @ x)  # noqa: F841
    return tanh(W.g @ x + U @ h)


def both_kinds(self, x, h, W, U):
    return tanh(W @ x + W.i @ x + U @ h)


def wrong_axis(self, x, h, W, U):
    return tanh(W @ x + U @ h + W @ h)


def joined_axes(self, x, h, W, U):
    return tanh(W @ x + U @ h + h * x)


def matrix_and_vector(self, x, h, W, U):
    return tanh(W @ x + U @ h + W * h)


def state_becomes_input(self, x, h, W, U):
    return x * mean(tanh(W @ x + U @ h))


def replaced(self, x, h, c, W, U):
    c = sigmoid(W.f @ x + U.f @ h) * c
    g = tanh(c)
    return g, W.g @ x


def replaced_then_returned(self, x, h, c, W, U):
    c = sigmoid(W @ x + U @ h) * c
    return tanh(h), c


def unknown_name(self, x, h, W, U):
    return tanh(W @ x + U @ hidden)  # noqa: F821 # pyright: ignore[reportUndefinedVariable]


def too_few(self, x, h, c, W, U):
    return tanh(W @ x + U @ h + c)


def too_many(self, x, h, W, U):
    return tanh(W @ x + U @ h), h


def wrong_order(self, x, c, h, W, U):
    return tanh(W @ x + U @ h), c


def branch(self, x, h, W, U):
    if h < 0:
        return W @ x
    return U @ h


def index(self, x, h, W, U):
    return W @ x + U @ h[0]


def unpacked(self, x, h, W, U):
    i, f = W @ x + U @ h
    return i * f


def with_tensor(self, x, h, W, U):
    return W @ x + torch.ones(3) * (U @ h)


def with_array(self, x, h, W, U):
    return W @ x + np.ones(3) * (U @ h)


def torch_function(self, x, h, W, U):
    return torch.tanh(W @ x + U @ h)


def math_function(self, x, h, W, U):
    return math.tanh(W @ x + U @ h)


def input_on_the_left(self, x, h, W, U):
    return tanh(x @ W + U @ h)


def cube(self, x, h, W, U):
    return tanh(W @ x + U @ h) ** 3


def at_most(self, x, h, W, U):
    return (W @ x <= U @ h) * h


def scalar_state(self, x, h, W, U):
    return mean(W @ x + U @ h)


def product_with_scalar(self, x, h, W, U):
    return W @ x + U @ mean(h)


def norm_of_scalar(self, x, h, W):
    return layer_norm(mean(h)) * (W @ x)


def not_equations(self, x, h, W, U):
    return [W @ x + U @ h]


HC = ("h", "c")
CASES = [
    (unused_state, HC, "the state `c` is never used", None),
    (unused_family, ("h",), "the parameter `p` is never used", None),
    (unused_value, ("h",), "`i` = `σ(W_i x)` is computed and never used", "i = sigmoid(W.i @ x)"),
    (both_kinds, ("h",), "`W` is used both by itself and as `W.i`", None),
    (wrong_axis, ("h",), "`W h` multiplies a matrix of I columns with a vector of H", "W @ x + U @ h + W @ h"),
    (joined_axes, ("h",), "`h ⊙ x` joins vectors of different axes: (H,) and (I,)", "h * x"),
    (matrix_and_vector, ("h",), "`W ⊙ h` uses W as a vector, elsewhere it is the other", "W * h"),
    (state_becomes_input, ("h",), "`x mean(tanh(W x + U h))` is a vector (I,), but the state", "x * mean"),
    (replaced, HC, "`c` is read after it was replaced", "g = tanh(c)"),
    (replaced_then_returned, HC, "`c` is read after it was replaced", "return tanh(h), c"),
    (unknown_name, ("h",), "unknown name 'hidden'", None),
    (too_few, HC, "must return 2 next states (h, c), got 1", "def too_few"),
    (too_many, ("h",), "must return 1 next state", "def too_many"),
    (wrong_order, HC, "the arguments must begin with (x, h, c)", None),
    (branch, ("h",), "a symbol has no truth value", "line"),
    (index, ("h",), "a symbol cannot be unpacked or indexed", "line"),
    (unpacked, ("h",), "a symbol cannot be unpacked or indexed", "line"),
    (with_tensor, ("h",), "torch's `mul` cannot take a symbol", "line"),
    (with_array, ("h",), "cannot compute with ndarray", "line"),
    (torch_function, ("h",), "torch's `tanh` cannot take a symbol", "line"),
    (math_function, ("h",), "a symbol has no value yet", "line"),
    (input_on_the_left, ("h",), "the left side of `@` must be a named parameter, got input('x')", "line"),
    (cube, ("h",), "`** 3` is not in the op set", "line"),
    (at_most, ("h",), "`<=` and `>=` are not in the op set", "line"),
    (scalar_state, ("h",), "`mean(W x + U h)` is a scalar, but a state is a vector (H,)", "mean(W @ x + U @ h)"),
    (product_with_scalar, ("h",), "`U mean(h)` multiplies a matrix with a scalar", "U @ mean(h)"),
    (norm_of_scalar, ("h",), "`LN(mean(h))` needs a vector, its argument is a scalar", "layer_norm(mean(h))"),
    (not_equations, ("h",), "must return equations, got (list)", None),
]


@pytest.mark.parametrize(("step", "states", "fact", "source"), CASES, ids=[case[0].__name__ for case in CASES])
def test_what_is_wrong_is_said_where_it_stands(step, states, fact, source):
    with pytest.raises(EquationError) as caught:
        _ = wrong(step, states)().spec
    said = str(caught.value)
    assert fact in said
    # Where: the cell by its name, or the step function by its own.
    assert said.startswith(("bad.step: ", f"{step.__name__}, line "))
    if source is not None:
        line = re.search(r"line (\d+)", said)
        assert line is not None
        first = step.__code__.co_firstlineno
        last = max(number for *_, number in step.__code__.co_lines() if number)
        assert first <= int(line.group(1)) <= last
        assert source in said


def test_the_line_is_the_line():
    with pytest.raises(EquationError) as caught:
        _ = wrong(replaced, HC)().spec
    first = replaced.__code__.co_firstlineno
    assert f"replaced in line {first + 1}: c = sigmoid" in str(caught.value)
    assert f"read in line {first + 2}: g = tanh(c)" in str(caught.value)


def test_a_misspelt_state_is_named():
    with pytest.raises(EquationError, match="'hh' is no state; the states are h, c"):
        _ = wrong(lambda self, x, hh, c: c, HC)().spec


def test_nearest_names_first():
    with pytest.raises(EquationError, match="Known here: h"):
        _ = wrong(lambda self, x, h, W, U: W @ x + U @ hh)().spec  # noqa: F821 # pyright: ignore[reportUndefinedVariable]


def test_an_axis_of_no_state():
    with pytest.raises(EquationError, match=r"bad: `axes` names 'q', which is no state(.|\n)*The states are: h"):
        _ = wrong(lambda self, x, h, W, U: W @ x + U @ h, axes={"q": "O"})().spec


@pytest.mark.parametrize("body", [{"states": "h"}, {"step": unused_family}])
def test_a_cell_has_states_and_a_step(body):
    with pytest.raises(EquationError, match="Bad: a cell needs"):
        type("Bad", (Cell,), body)


def test_a_failed_trace_leaves_nothing_behind():
    for _ in range(2):
        with pytest.raises(EquationError, match="cube, line"):
            _ = wrong(cube)().spec
    assert TwoStates().spec.states == HC


def test_a_profiler_goes_on_after_a_trace():
    with cProfile.Profile() as profiler:
        assert TwoStates().spec.states == HC
        math.hypot(3, 4)
    counted = {name for _, _, name in pstats.Stats(profiler).stats}
    assert any("hypot" in name for name in counted)

    def hook(*_):
        pass

    sys.setprofile(hook)
    try:
        assert TwoStates().spec.states == HC
        assert sys.getprofile() is hook
    finally:
        sys.setprofile(None)


def test_a_state_may_be_returned_as_it_came():
    spec = TwoStates().spec
    assert spec.after["c"] is spec.symbol("c")


def test_numbers_of_numpy_are_numbers():
    def scaled(self, x, h, W, U):
        return np.float32(0.5) * (W @ x) + (U @ h) * np.int64(2)

    assert {node.value for node in wrong(scaled)().spec.nodes if node.op == "const"} == {0.5, 2.0}
