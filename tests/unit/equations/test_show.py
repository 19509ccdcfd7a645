"""Printed equations: what people read says what runs, with no parenthesis too few."""

from __future__ import annotations

import re

import pytest
import torch
from hypothesis import given

from recurra.cells import CELLS
from recurra.equations.cell import Cell
from recurra.equations.expr import Expr, const, make
from recurra.equations.functions import tanh
from recurra.equations.show import equations, latex, latex_equations, text
from recurra.kernels.reference.spelling import evaluate
from unit.equations.random_expressions import LEAVES, MATRICES, VALUES, expressions

A, C, X = LEAVES
W = MATRICES[0]


def product(vector):
    return make("matmul", W, vector)


@pytest.mark.parametrize(
    ("node", "printed", "in_latex"),
    [
        (A - (C - X), "a - (c - x)", r"\left(c - x\right)"),
        (A - (C + X), "a - (c + x)", r"\left(c + x\right)"),
        ((A - C) - X, "a - c - x", "a - c - x"),
        (A / (C * X), "a / (c ⊙ x)", r"a \oslash \left(c \odot x\right)"),
        (A / (C / X), "a / (c / x)", r"\left(c \oslash x\right)"),
        (A / C / X, "a / c / x", r"a \oslash c \oslash x"),
        ((A + C) * X, "(a + c) ⊙ x", r"\left(a + c\right) \odot x"),
        (A + C * X, "a + c ⊙ x", r"a + c \odot x"),
        (make("neg", A + C), "-(a + c)", r"-\left(a + c\right)"),
        (-A + C, "-a + c", "-a + c"),
        (-A * C, "(-a) ⊙ c", r"\left(-a\right) \odot c"),
        (A * -C, "a ⊙ (-c)", r"a \odot \left(-c\right)"),
        (product(A * C), "W_i (a ⊙ c)", r"W_{i} \left(a \odot c\right)"),
        (product(A + C), "W_i (a + c)", r"W_{i} \left(a + c\right)"),
        (product(make("tanh", A)), "W_i tanh(a)", r"W_{i} \tanh\left(a\right)"),
        (product(A) * C, "W_i a ⊙ c", r"W_{i} a \odot c"),
        (const(0.5) * A, "0.5 a", r"0.5 \, a"),
        (A * const(-1.0), "a (-1)", r"a \, \left(-1\right)"),
        (const(2.0) * (A + C), "2 (a + c)", r"2 \, \left(a + c\right)"),
        (1 - make("sigmoid", A), "1 - σ(a)", r"1 - \sigma\left(a\right)"),
        (make("select", A < C, A, C), "where([a < c], a, c)", r"\left[a < c\right]"),
        (make("abs", A - C), "|a - c|", r"\left|a - c\right|"),
        (make("maximum", A, C + X), "max(a, c + x)", r"\max\left(a, c + x\right)"),
        (make("matmul_t", W, A), "W_iᵀ a", r"W_{i}^\top a"),
        (make("outer", A + X, C), "(a + x) ⊗ c", r"\left(a + x\right) \otimes c"),
        (make("layer_norm", A, value=1e-5), "LN(a)", r"\operatorname{LN}\left(a\right)"),
        (make("sqrt", A), "sqrt(a)", r"\sqrt{a}"),
    ],
)
def test_parentheses(node, printed, in_latex):
    assert text(node) == printed
    assert in_latex in latex(node)


class Reader:
    """Reads printed equations back: the grammar that a mathematician has in mind."""

    def __init__(self, printed: str) -> None:
        self.tokens = re.findall(r"W_i|U|[a-zA-Zσ]+|[\d.]+(?:e-?\d+)?|[-+⊙/()<,\[\]]", printed)
        self.place = 0

    @property
    def next(self) -> str:
        return self.tokens[self.place] if self.place < len(self.tokens) else ""

    def take(self, expected: str = "") -> str:
        token = self.next
        assert not expected or token == expected, (self.tokens, self.place)
        self.place += 1
        return token

    def sum(self) -> Expr:
        node = self.factors()
        while self.next in ("+", "-"):
            node = node + self.factors() if self.take() == "+" else node - self.factors()
        return node

    def factors(self) -> Expr:
        if self.next == "-":
            self.take()
            return make("neg", self.factors())
        node = self.operand()
        while self.next and self.next not in "+-<,)]":
            # Two operands side by side: a number times a vector.
            sign = self.take() if self.next in "⊙/" else "⊙"
            node = node / self.operand() if sign == "/" else node * self.operand()
        return node

    def operand(self) -> Expr:
        token = self.take()
        if token in ("W_i", "U"):
            return make("matmul", MATRICES[token == "U"], self.operand())
        if token in ("(", "["):
            node = self.sum()
            if token == "[":
                self.take("<")
                node = node < self.sum()
            self.take(")" if token == "(" else "]")
            return node
        if self.next == "(" and token not in "acx" and not token[0].isdigit():
            self.take()
            args = [self.sum()]
            while self.next == ",":
                self.take()
                args.append(self.sum())
            self.take(")")
            names = {"σ": "sigmoid", "min": "minimum", "max": "maximum", "where": "select"}
            return make(names.get(token, token), *args)
        return make("extra", value=token) if token in "acx" else const(float(token))


@given(expressions())
def test_what_is_printed_is_what_runs(root):
    reader = Reader(text(root))
    again = reader.sum()
    assert reader.next == "", "something is left over"
    have, want = (torch.as_tensor(evaluate([node], VALUES)[0], dtype=torch.float64) for node in (again, root))
    torch.testing.assert_close(have, want, rtol=1e-9, atol=1e-9)


@given(expressions())
def test_latex_is_balanced(root):
    printed = latex(root)
    assert printed.count("{") == printed.count("}")
    assert printed.count(r"\left") == printed.count(r"\right")
    # The same parentheses as in the text, but for those of functions, and of products by a number.
    assert len(re.findall(r"\\left\(", printed)) == text(root).count("(")


def test_lstm():
    spec = CELLS["lstm"]().spec
    assert equations(spec).splitlines()[3:] == ["o = σ(W_o x + U_o h + b_o)", "c' = f ⊙ c + i ⊙ g", "h' = o ⊙ tanh(c')"]
    assert latex_equations(spec) == (
        "\\begin{aligned}\n"
        "  i &= \\sigma\\left(W_{i} x + U_{i} h + b_{i}\\right) \\\\\n"
        "  f &= \\sigma\\left(W_{f} x + U_{f} h + b_{f}\\right) \\\\\n"
        "  g &= \\tanh\\left(W_{g} x + U_{g} h + b_{g}\\right) \\\\\n"
        "  o &= \\sigma\\left(W_{o} x + U_{o} h + b_{o}\\right) \\\\\n"
        "  c' &= f \\odot c + i \\odot g \\\\\n"
        "  h' &= o \\odot \\tanh\\left(c'\\right)\n"
        "\\end{aligned}"
    )


def lines(body, states):
    return equations(type("Tried", (Cell,), {"states": states, "step": body})().spec).splitlines()


def test_states_of_one_value():
    assert lines(lambda self, x, h, c, W, U: (tanh(W @ x + U @ h + c),) * 2, ("h", "c")) == [
        "h' = tanh(W x + U h + c)",
        "c' = h'",
    ]


def test_states_that_change_places():
    def step(self, x, h, c, W):
        return c, tanh(W @ x + h)

    assert sorted(lines(step, ("h", "c"))) == ["c' = tanh(W x + h)", "h' = c"]


def test_a_parameter_that_becomes_a_state():
    def step(self, x, h, c, W, b):
        return tanh(W @ x + h + c), b.c

    assert lines(step, ("h", "c"))[-1] == "c' = b_c"


def test_long_names_in_latex():
    def step(self, x, h, W, scale):
        update = W.hidden @ x
        return scale * update + h

    spec = type("Tried", (Cell,), {"states": "h", "step": step})().spec
    assert equations(spec) == "update = W_hidden x\nh' = scale ⊙ update + h"
    assert "\\mathrm{update} &= W_{\\mathrm{hidden}} x" in latex_equations(spec)
    assert "\\mathrm{scale} \\odot \\mathrm{update} + h" in latex_equations(spec)
