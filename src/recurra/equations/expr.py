"""Expression nodes: immutable, and the same expression is the same object (hash-consing).

So common sub-expressions are found by being written, equality is identity, and a dict keyed by nodes is a table of
facts about them.
"""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from numbers import Real
from types import CodeType, FrameType
from weakref import WeakValueDictionary

from recurra.base.errors import EquationError, message
from recurra.equations.ops import OPS

__all__ = ["Expr", "Positions", "const", "is_scalar", "lift", "make", "recording", "substitute", "topological"]

_INTERNED: WeakValueDictionary[tuple[object, ...], Expr] = WeakValueDictionary()


class Expr:
    """One node: an op of `OPS`, its arguments, and `value` (a name for leaves, a number for `const`, eps for norms)."""

    __slots__ = ("__weakref__", "args", "op", "value")
    op: str
    args: tuple[Expr, ...]
    value: str | float | None

    def __repr__(self) -> str:
        inner = ", ".join([repr(arg) for arg in self.args] + ([] if self.value is None else [repr(self.value)]))
        return f"{self.op}({inner})"

    def __add__(self, other: Expr | float) -> Expr:
        return make("add", self, lift(other))

    def __radd__(self, other: float) -> Expr:
        return make("add", lift(other), self)

    def __sub__(self, other: Expr | float) -> Expr:
        return make("sub", self, lift(other))

    def __rsub__(self, other: float) -> Expr:
        return make("sub", lift(other), self)

    def __mul__(self, other: Expr | float) -> Expr:
        return make("mul", self, lift(other))

    def __rmul__(self, other: float) -> Expr:
        return make("mul", lift(other), self)

    def __truediv__(self, other: Expr | float) -> Expr:
        return make("div", self, lift(other))

    def __rtruediv__(self, other: float) -> Expr:
        return make("div", lift(other), self)

    def __neg__(self) -> Expr:
        return make("neg", self)

    def __pow__(self, power: int) -> Expr:
        if power == 2:
            return make("mul", self, self)
        raise _misuse(f"`** {power}` is not in the op set", "squares only; write products, exp and log for the rest.")

    def __matmul__(self, other: Expr) -> Expr:
        if self.op != "param":
            raise _misuse(f"the left side of `@` must be a named parameter, got {self!r}", "write `W.i @ x`.")
        return make("matmul", self, lift(other))

    def __lt__(self, other: Expr | float) -> Expr:
        return make("less", self, lift(other))

    def __gt__(self, other: Expr | float) -> Expr:
        return make("less", lift(other), self)

    def __le__(self, other: object) -> Expr:
        raise _misuse("`<=` and `>=` are not in the op set", "compare with `<` or `>`.")

    __ge__ = __le__

    def __bool__(self) -> bool:
        raise _misuse(
            "a symbol has no truth value: equations cannot branch with `if`, `and` or `max()`",
            "use where(a < b, u, v), minimum or maximum.",
        )

    def __iter__(self) -> Iterator[Expr]:
        raise _misuse("a symbol cannot be unpacked or indexed", "give each gate a name: W.i, W.f.")

    def __getitem__(self, item: object) -> Expr:
        raise _misuse("a symbol cannot be unpacked or indexed", "give each gate a name: W.i, W.f.")

    def __float__(self) -> float:
        raise _misuse("a symbol has no value yet", "use the functions of recurra, not those of math.")

    # numpy would spread a symbol over its array; so it leaves the operation to us, and `lift` says what is wrong.
    __array_ufunc__ = None

    @classmethod
    def __torch_function__(cls, function: object, *_: object) -> Expr:
        name = getattr(function, "__name__", str(function))
        hint = "equations hold symbols and Python numbers, and use the functions of recurra: recurra.tanh."
        raise _misuse(f"torch's `{name}` cannot take a symbol", hint)

    def __reduce__(self) -> tuple[object, ...]:
        # A copy, or what is unpickled, must be the same object as the expression that is already there.
        return _made_again, (self.op, self.args, self.value)


class Positions:
    """Where in a step function each node was first written; used to point errors at it."""

    def __init__(self, code: CodeType) -> None:
        self.code = code
        self.lines: dict[Expr, int] = {}
        self.current: int | None = None

    def note(self, node: Expr | None) -> None:
        """Remember the line of the step function that is being run."""
        # The caller's line is what the user needs to see.
        frame: FrameType | None = sys._getframe(2)  # pyright: ignore[reportPrivateUsage]
        while frame is not None and frame.f_code is not self.code:
            frame = frame.f_back
        if frame is not None:
            self.current = frame.f_lineno
            if node is not None:
                self.lines.setdefault(node, frame.f_lineno)


_recording: list[Positions] = []


@contextmanager
def recording(code: CodeType) -> Generator[Positions]:
    """While the block runs, nodes remember the line of `code` that made them."""
    positions = Positions(code)
    _recording.append(positions)
    try:
        yield positions
    finally:
        _recording.pop()


def make(op: str, *args: Expr, value: str | float | None = None) -> Expr:
    """The node for `op(*args)`; the same arguments give the same object."""
    if len(args) != OPS[op].arity:
        raise TypeError(f"{op} takes {OPS[op].arity} arguments, got {len(args)}")
    key = (op, args, value)
    node = _INTERNED.get(key)
    if node is None:
        node = Expr()
        node.op, node.args, node.value = op, args, value
        _INTERNED[key] = node
    if _recording:
        _recording[-1].note(node)
    return node


def _made_again(op: str, args: tuple[Expr, ...], value: str | float | None) -> Expr:
    return make(op, *args, value=value)


def const(number: float) -> Expr:
    """A number as a node."""
    return make("const", value=float(number))


def lift(value: object) -> Expr:
    """Numbers become constants, nodes pass, anything else is an error that says so."""
    if isinstance(value, Expr):
        return value
    node = getattr(value, "symbol", None)
    if isinstance(node, Expr):
        return node
    # numpy's numbers are Real too.
    if isinstance(value, Real):
        return const(float(value))
    raise _misuse(
        f"cannot compute with {type(value).__name__} {value!r}",
        "equations hold symbols and Python numbers; tensors come in when the cell runs.",
    )


def topological(roots: Iterable[Expr]) -> list[Expr]:
    """Every node under `roots`, arguments before their users, in the order they were written."""
    order: dict[Expr, None] = {}
    waiting = [(root, False) for root in reversed(list(roots))]
    while waiting:
        node, ready = waiting.pop()
        if node in order:
            continue
        if ready:
            order[node] = None
        else:
            waiting.append((node, True))
            waiting.extend((arg, False) for arg in reversed(node.args))
    return list(order)


def substitute(roots: Iterable[Expr], mapping: Mapping[Expr, Expr]) -> list[Expr]:
    """`roots` with every node of `mapping` replaced; replacements are not searched again."""
    roots = list(roots)
    done = dict(mapping)
    for node in topological(roots):
        if node not in done:
            done[node] = make(node.op, *(done[arg] for arg in node.args), value=node.value) if node.args else node
    return [done[root] for root in roots]


def is_scalar(node: Expr, known: dict[Expr, bool] | None = None) -> bool:
    """True for numbers, reductions, and what is computed from those alone."""
    known = {} if known is None else known
    for part in topological([node]):
        kind = OPS[part.op].kind
        if part not in known:
            known[part] = (
                part.op == "const" or kind == "reduce" or (kind == "map" and all(known[arg] for arg in part.args))
            )
    return known[node]


def _misuse(fact: str, hint: str) -> EquationError:
    where = "step"
    if _recording:
        _recording[-1].note(None)
        where = f"{_recording[-1].code.co_qualname}, line {_recording[-1].current}"
    return EquationError(message(where, fact, hint=hint))
