"""Run a step function once on symbols and read its equations off."""

from __future__ import annotations

import dis
import inspect
import linecache
import sys
from collections.abc import Callable, Mapping
from types import CodeType, FrameType
from typing import Any, cast

from recurra.base.errors import EquationError, message, nearest
from recurra.equations import show
from recurra.equations.axes import infer
from recurra.equations.expr import Expr, Positions, lift, make, recording, topological
from recurra.equations.spec import CellSpec

__all__ = ["Family", "trace"]


class Family:
    """A parameter of the step: `W.i` is one named member, bare `b` the only one."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, gate: str) -> Expr:
        if gate.startswith("__"):
            raise AttributeError(gate)
        return make("param", value=f"{self._name}.{gate}")

    @property
    def symbol(self) -> Expr:
        """The parameter itself, when the family is used without a gate name."""
        return make("param", value=self._name)

    def __matmul__(self, other: Expr) -> Expr:
        return self.symbol @ other

    def __add__(self, other: Any) -> Expr:
        return self.symbol + other

    __radd__ = __add__

    def __mul__(self, other: Any) -> Expr:
        return self.symbol * other

    __rmul__ = __mul__

    def __sub__(self, other: Any) -> Expr:
        return self.symbol - other

    def __rsub__(self, other: Any) -> Expr:
        return lift(other) - self.symbol

    def __truediv__(self, other: Any) -> Expr:
        return self.symbol / other

    def __rtruediv__(self, other: Any) -> Expr:
        return lift(other) / self.symbol

    def __neg__(self) -> Expr:
        return -self.symbol


def trace(
    name: str, step: Callable[..., Any], states: tuple[str, ...], state_axes: Mapping[str, str] | None = None
) -> CellSpec:
    """The spec of `step(x, *states, *parameters)`, a bound method or a function.

    Raises EquationError, pointing at the line and the sub-expression, for an unused state or parameter, axes that do
    not agree, a state read after it was replaced, an unknown name, or the wrong number of returned states.
    """
    code = inspect.unwrap(step).__code__
    families = _signature(name, step, states)
    _check_rebinding(name, code, ("x", *states))
    arguments = [make("input", value="x"), *(make("state", value=state) for state in states)]
    arguments += [Family(family) for family in families]
    with recording(code) as positions:
        returned, local = _run(name, step, code, arguments)
    after = _returned(name, code, returned, states)

    for state in state_axes or {}:
        if state not in states:
            close = ", ".join(nearest(state, states))
            raise EquationError(
                message(name, f"`axes` names {state!r}, which is no state", f"The states are: {close}.")
            )
    axes = {state: (state_axes or {}).get(state, "H") for state in states}
    live = set(topological(after.values()))
    names = tuple(
        (key, value)
        for key, value in local.items()
        if isinstance(value, Expr) and value in live and value.args and key not in ("x", *states)
    )
    order = topological([*(node for _, node in names), *after.values()])
    _check_used(name, order, states, families)
    for key, value in local.items():
        if isinstance(value, Expr) and value not in live and value.args:
            raise EquationError(
                message(
                    f"{name}.step",
                    f"`{key}` = `{show.text(value)}` is computed and never used",
                    _at(code, positions, value),
                    hint="its parameters would not exist; use it or drop it.",
                )
            )

    def fail(node: Expr, fact: str, hint: str) -> EquationError:
        return EquationError(
            message(f"{name}.step", f"`{show.text(node)}` {fact}", _at(code, positions, node), hint=hint or None)
        )

    leaves = {make("input", value="x"): ("I",)} | {make("state", value=state): (axes[state],) for state in states}
    shapes = infer(after.values(), leaves, [(node, axes[state]) for state, node in after.items()], fail)
    params = {str(node.value): shapes[node] for node in order if node.op == "param"}
    ordered = {member: params[member] for family in families for member in params if member.split(".")[0] == family}
    return CellSpec(name, states, axes, after, names, ordered, shapes)


def _signature(name: str, step: Callable[..., Any], states: tuple[str, ...]) -> list[str]:
    expected = ["x", *states]
    have = list(inspect.signature(step).parameters)
    if have[: len(expected)] != expected:
        wrong = next((arg for arg, want in zip(have, expected, strict=False) if arg != want), None)
        details = [f"It is step({', '.join(have)})."]
        if wrong:
            details.append(f"{wrong!r} is no state; the states are {', '.join(nearest(wrong, states))}.")
        raise EquationError(message(f"{name}.step", f"the arguments must begin with ({', '.join(expected)})", *details))
    return have[len(expected) :]


def _check_rebinding(name: str, code: CodeType, guarded: tuple[str, ...]) -> None:
    """A state's name must keep its meaning: after `c = f * c + ...` nobody can tell which c is meant."""
    replaced: dict[str, int | None] = {}
    for instruction in dis.get_instructions(code):
        # From Python 3.12 on, one instruction may store or load two locals.
        argval: Any = instruction.argval
        operands = cast("tuple[Any, ...]", argval if isinstance(argval, tuple) else (argval,))
        actions = [part for part in instruction.opname.replace("__", "_").split("_") if part in ("STORE", "LOAD")]
        # A local that an inner function reads is stored and loaded by DEREF.
        if "FAST" not in instruction.opname and "DEREF" not in instruction.opname:
            continue
        line = instruction.positions.lineno if instruction.positions else None
        for action, operand in zip(actions, operands, strict=False):
            if operand not in guarded:
                continue
            if action == "STORE":
                replaced.setdefault(operand, line)
            elif operand in replaced:
                raise EquationError(
                    message(
                        f"{name}.step",
                        f"`{operand}` is read after it was replaced",
                        f"replaced in {_line(code, replaced[operand])}",
                        f"read in {_line(code, line)}",
                        hint=f"keep `{operand}` for the value the step receives; call the new one `{operand}_next`.",
                    )
                )


def _run(name: str, step: Callable[..., Any], code: CodeType, arguments: list[Any]) -> tuple[Any, dict[str, Any]]:
    local: dict[str, Any] = {}

    def watch(frame: FrameType, event: str, _: Any) -> None:
        if event == "return" and frame.f_code is code:
            local.update(frame.f_locals)

    before = sys.getprofile()
    sys.setprofile(watch)
    try:
        return step(*arguments), local
    except NameError as error:
        known = [key for key in code.co_varnames if key != "self"]
        close = ", ".join(nearest(error.name or "", known))
        raise EquationError(message(f"{name}.step", f"unknown name {error.name!r}", f"Known here: {close}.")) from error
    finally:
        # A profiler written in C, as cProfile, stands there as an object that sets itself.
        if hasattr(before, "enable"):
            cast("Any", before).enable()
        else:
            sys.setprofile(before)


def _returned(name: str, code: CodeType, returned: Any, states: tuple[str, ...]) -> dict[str, Expr]:
    values = cast("tuple[Any, ...]", returned if isinstance(returned, tuple) else (returned,))
    if len(values) != len(states):
        raise EquationError(
            message(
                f"{name}.step",
                f"must return {len(states)} next states ({', '.join(states)}), got {len(values)}",
                _line(code, None),
                hint="one value per state, in the order of `states`; the first is also the output.",
            )
        )
    try:
        return {state: lift(value) for state, value in zip(states, values, strict=True)}
    except EquationError as error:
        kinds = ", ".join(type(value).__name__ for value in values)
        raise EquationError(message(f"{name}.step", f"must return equations, got ({kinds})")) from error


def _check_used(name: str, order: list[Expr], states: tuple[str, ...], families: list[str]) -> None:
    read = {str(node.value) for node in order if node.op in ("state", "param")}
    read |= {member.split(".")[0] for member in read}
    # The output may go unread where another state carries the memory: an SRU, a QRNN.
    for state in states[1:] or states:
        if state not in read:
            raise EquationError(
                message(
                    f"{name}.step",
                    f"the state `{state}` is never used",
                    hint="a state that no equation reads carries nothing from step to step; drop it.",
                )
            )
    for family in families:
        gated = next((member for member in sorted(read) if member.startswith(f"{family}.")), None)
        if gated and any(node.op == "param" and node.value == family for node in order):
            raise EquationError(
                message(
                    f"{name}.step",
                    f"the parameter `{family}` is used both by itself and as `{gated}`",
                    hint=f"give each use a name: {family}.a, {family}.b.",
                )
            )
        if family not in read:
            raise EquationError(
                message(f"{name}.step", f"the parameter `{family}` is never used", hint="drop it from the arguments.")
            )


def _at(code: CodeType, positions: Positions, node: Expr) -> str:
    return "in " + _line(code, positions.lines.get(node))


def _line(code: CodeType, number: int | None) -> str:
    number = number or code.co_firstlineno
    source = linecache.getline(code.co_filename, number).strip()
    return f"line {number}: {source}" if source else f"line {number}"
