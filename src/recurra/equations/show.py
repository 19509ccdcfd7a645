"""Equations as people read them: unicode text and LaTeX, printed from the spec that runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from recurra.equations.expr import Expr, is_scalar
from recurra.equations.spec import CellSpec

__all__ = ["equations", "latex", "latex_equations", "text"]

# How tightly each op binds; an argument that binds less is put in parentheses.
_TIGHTNESS = {"add": 1, "sub": 1, "neg": 2, "mul": 3, "div": 3, "less": 0}


class _Spelling(NamedTuple):
    """One string per op, and how a name, a number and a parenthesis look."""

    ops: dict[str, str]
    is_latex: bool


_TEXT = _Spelling(
    {
        "matmul": "{} {}",
        "matmul_t": "{}ᵀ {}",
        "outer": "{} ⊗ {}",
        "add": "{} + {}",
        "sub": "{} - {}",
        "mul": "{} ⊙ {}",
        "scale": "{} {}",
        "div": "{} / {}",
        "neg": "-{}",
        "sigmoid": "σ({})",
        "tanh": "tanh({})",
        "relu": "relu({})",
        "exp": "exp({})",
        "log": "log({})",
        "softplus": "softplus({})",
        "abs": "|{}|",
        "sqrt": "sqrt({})",
        "minimum": "min({}, {})",
        "maximum": "max({}, {})",
        "less": "[{} < {}]",
        "select": "where({}, {}, {})",
        "softmax": "softmax({})",
        "layer_norm": "LN({})",
        "rms_norm": "RMS({})",
        "sum": "sum({})",
        "mean": "mean({})",
        "largest": "largest({})",
    },
    is_latex=False,
)
_LATEX = _Spelling(
    {
        "matmul": "{} {}",
        "matmul_t": "{}^\\top {}",
        "outer": "{} \\otimes {}",
        "add": "{} + {}",
        "sub": "{} - {}",
        "mul": "{} \\odot {}",
        "scale": "{} \\, {}",
        "div": "{} \\oslash {}",
        "neg": "-{}",
        "sigmoid": "\\sigma\\left({}\\right)",
        "tanh": "\\tanh\\left({}\\right)",
        "relu": "\\operatorname{{relu}}\\left({}\\right)",
        "exp": "\\exp\\left({}\\right)",
        "log": "\\log\\left({}\\right)",
        "softplus": "\\operatorname{{softplus}}\\left({}\\right)",
        "abs": "\\left|{}\\right|",
        "sqrt": "\\sqrt{{{}}}",
        "minimum": "\\min\\left({}, {}\\right)",
        "maximum": "\\max\\left({}, {}\\right)",
        "less": "\\left[{} < {}\\right]",
        "select": "\\operatorname{{where}}\\left({}, {}, {}\\right)",
        "softmax": "\\operatorname{{softmax}}\\left({}\\right)",
        "layer_norm": "\\operatorname{{LN}}\\left({}\\right)",
        "rms_norm": "\\operatorname{{RMS}}\\left({}\\right)",
        "sum": "\\operatorname{{sum}}\\left({}\\right)",
        "mean": "\\operatorname{{mean}}\\left({}\\right)",
        "largest": "\\operatorname{{largest}}\\left({}\\right)",
    },
    is_latex=True,
)


def text(node: Expr, symbols: Mapping[Expr, str] | None = None) -> str:
    """One expression in unicode; nodes of `symbols` are printed by that name."""
    return _print(node, symbols or {}, _TEXT)[0]


def latex(node: Expr, symbols: Mapping[Expr, str] | None = None) -> str:
    """One expression in LaTeX; nodes of `symbols` are printed by that name."""
    return _print(node, symbols or {}, _LATEX)[0]


def equations(spec: CellSpec) -> str:
    """The whole step in unicode, a line per named value, in the order it was written; a next state is marked h'."""
    return "\n".join(f"{name} = {body}" for name, body in _lines(spec, _TEXT))


def latex_equations(spec: CellSpec) -> str:
    """The whole step as a LaTeX `aligned` block."""
    rows = " \\\\\n".join(f"  {name} &= {body}" for name, body in _lines(spec, _LATEX))
    return "\\begin{aligned}\n" + rows + "\n\\end{aligned}"


def _lines(spec: CellSpec, spelling: _Spelling) -> list[tuple[str, str]]:
    nexts = {node: f"{state}'" for state, node in reversed(list(spec.after.items())) if node.args}
    symbols: dict[Expr, str] = {}
    for name, node in spec.names:
        symbols.setdefault(node, nexts.get(node) or _name(name, spelling))
    done: dict[Expr, str] = dict(symbols)
    for state, node in spec.after.items():
        done.setdefault(node, f"{state}'")
    printed: list[tuple[str, str]] = []
    for node, name in done.items():
        if node.args:
            inside = {other: symbol for other, symbol in symbols.items() if other is not node}
            printed.append((name, _print(node, inside, spelling)[0]))
    for state, node in spec.after.items():
        # Two states of one value, or a state that becomes a leaf: c' = h.
        if not node.args:
            printed.append((f"{state}'", _print(node, {}, spelling)[0]))
        elif done[node] != f"{state}'":
            printed.append((f"{state}'", done[node]))
    return printed


def _print(node: Expr, symbols: Mapping[Expr, str], spelling: _Spelling) -> tuple[str, int]:
    """The printed node and how tightly its outermost op binds."""
    if node in symbols:
        return symbols[node], 9
    if node.op == "const":
        number = float(node.value or 0.0)
        # `h (-1)`: without the parentheses a negative factor would read as a difference.
        return (f"{int(number)}" if number.is_integer() else f"{number:g}"), 9 if number >= 0 else _TIGHTNESS["neg"]
    if not node.args:
        return _name(str(node.value), spelling), 9
    tight = _TIGHTNESS.get(node.op, 9)
    op = node.op
    if op == "mul" and any(is_scalar(arg) for arg in node.args):
        op = "scale"
    parts: list[str] = []
    for index, arg in enumerate(node.args):
        printed, binds = _print(arg, symbols, spelling)
        needs = tight + (index == 1 and node.op in ("sub", "div"))
        in_line = node.op in _TIGHTNESS or node.op in ("matmul", "matmul_t", "outer")
        if in_line and binds < (4 if node.op in ("matmul", "matmul_t", "outer") else needs):
            printed = f"\\left({printed}\\right)" if spelling.is_latex else f"({printed})"
        parts.append(printed)
    return spelling.ops[op].format(*parts), tight


def _name(name: str, spelling: _Spelling) -> str:
    """W.i -> W_i; in LaTeX with braces, and words upright."""
    base, _, gate = name.partition(".")
    if not spelling.is_latex:
        return f"{base}_{gate}" if gate else base
    base, _, suffix = base.partition("_")
    head = base if len(base) == 1 else f"\\mathrm{{{base}}}"
    index = gate or suffix
    if not index:
        return head
    return f"{head}_{{{index}}}" if len(index) == 1 else f"{head}_{{\\mathrm{{{index}}}}}"
