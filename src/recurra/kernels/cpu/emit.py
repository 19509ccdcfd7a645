"""C++ of the segments: one function each, written from the schedule with the vector functions of engine/vec.hpp."""

from __future__ import annotations

from collections.abc import Mapping

from recurra.equations.expr import Expr, is_scalar
from recurra.equations.ops import OPS
from recurra.kernels.cpu.schedule import Pass, Schedule, Segment

__all__ = ["HEADER", "segments", "source"]

HEADER = '#include "segment.hpp"\n'

# One row per op: the elementwise spelling on vectors.
SPELLING: Mapping[str, str] = {
    "add": "{0} + {1}",
    "sub": "{0} - {1}",
    "mul": "{0} * {1}",
    "div": "{0} / {1}",
    "neg": "-{0}",
    "sigmoid": "v_sigmoid({0})",
    "tanh": "v_tanh({0})",
    "relu": "v_relu({0})",
    "exp": "v_exp({0})",
    "log": "v_log({0})",
    "softplus": "v_softplus({0})",
    "abs": "v_abs({0})",
    "sqrt": "v_sqrt({0})",
    "minimum": "v_min({0}, {1})",
    "maximum": "v_max({0}, {1})",
    "less": "v_less({0}, {1})",
    "select": "v_select({0}, {1}, {2})",
}


def segments(schedule: Schedule) -> list[Segment]:
    """The segments of a schedule, in order: the functions of the program are numbered like this."""
    return [part for part in schedule.instructions if isinstance(part, Segment)]


def source(programs: Mapping[str, Schedule], prefix: str) -> str:
    """The functions of all programs, `<prefix>_<program>_<number>`."""
    return "\n".join(
        _Writer(f"{prefix}_{name}_{number}", segment).text()
        for name, schedule in programs.items()
        for number, segment in enumerate(segments(schedule))
    )


class _Writer:
    """One segment as a function."""

    def __init__(self, name: str, segment: Segment) -> None:
        self.name, self.segment = name, segment
        self.slot = {place: index for index, place in enumerate(segment.slots)}
        self._count = 0
        # Scalars of the row, by node: known from where they are written on.
        self._row: dict[Expr, str] = {}
        self._row_lines: list[str] = []

    def text(self) -> str:
        lines = [f"// {self._about()}"]
        lines.append(
            f'extern "C" RECURRA_SEGMENT_EXPORT void {self.name}'
            "(const Slot* slots, int64_t rows, int64_t from, int64_t to, int64_t size) {"
        )
        lines.append("  (void)size;")
        lines.append("  for (int64_t j = 0; j < rows; ++j) {")
        for place, index in self.slot.items():
            lines.append(f"    real* p{index} = (real*)(slots[{index}].p + j * slots[{index}].row);  // {place}")
        for part in self.segment.passes:
            lines += self._pass(part)
        lines += ["  }", "}", ""]
        return "\n".join(lines)

    def _about(self) -> str:
        stored = [str(t.place) for part in self.segment.passes for t in (*part.stores, *part.scalars)]
        return f"{self.segment.axis}: {', '.join(stored)}"

    def _fresh(self, letter: str) -> str:
        self._count += 1
        return f"{letter}{self._count}"

    def _pass(self, part: Pass) -> list[str]:
        """One sweep: scalars of the row first, then the units, then the scalars that are known after it."""
        self._row_lines = []
        sums = {node: self._fresh("sum") for node in part.reduces}
        unit: list[str] = []
        names: dict[Expr, str] = {}
        for node, total in sums.items():
            value = self._value(node.args[0], part, names, unit)
            if node.op == "largest":
                unit.append(f"{total} = v_max({total}, io.keep({value}, -(real)__builtin_inf()));")
            else:
                unit.append(f"{total} = {total} + io.keep({value}, 0);")
        for target in part.stores:
            value = self._value(target.value, part, names, unit)
            at = f"p{self.slot[target.place]} + u"
            unit.append(f"io.store({at}, io.load({at}) + {value});" if target.total else f"io.store({at}, {value});")
        lines = self._row_lines
        for node, total in sums.items():
            lines.append(f"vreal {total} = splat({'-(real)__builtin_inf()' if node.op == 'largest' else '0'});")
        if unit:
            lines.append("over(from, to, [&](auto io, int64_t u) __attribute__((always_inline)) {")
            lines += [f"  {line}" for line in unit]
            lines.append("});")
        for node, total in sums.items():
            self._row[node] = self._fresh("r")
            value = f"hmax({total})" if node.op == "largest" else f"hsum({total})"
            value += " / (real)size" if node.op == "mean" else ""
            lines.append(f"const vreal {self._row[node]} = splat({value});")
        for target in part.scalars:
            value = self._scalar(target.value, part)
            at = f"p{self.slot[target.place]}[0]"
            lines.append(f"{at} {'+=' if target.total else '='} ({value})[0];")
        return [f"    {line}" for line in lines]

    def _scalar(self, node: Expr, part: Pass) -> str:
        """The name of a scalar of the row, as a vector of equal lanes."""
        if node in self._row:
            return self._row[node]
        if node.op == "const":
            return _number(node)
        if node in part.loads:
            text = f"splat(p{self.slot[part.loads[node]]}[0])"
        else:
            args = [self._scalar(arg, part) for arg in node.args]
            text = _spell(node, args)
        name = self._fresh("r")
        self._row_lines.append(f"const vreal {name} = {text};")
        self._row[node] = name
        return name

    def _value(self, node: Expr, part: Pass, names: dict[Expr, str], lines: list[str]) -> str:
        """The name of a value within the pass, writing what it needs first."""
        if node.op == "const":
            return _number(node)
        if is_scalar(node):
            return self._scalar(node, part)
        if node not in names:
            place = part.loads.get(node)
            if place is not None:
                text = f"io.load(p{self.slot[place]} + u)"
            else:
                text = _spell(node, [self._value(arg, part, names, lines) for arg in node.args])
            names[node] = self._fresh("v")
            lines.append(f"const vreal {names[node]} = {text};")
        return names[node]


def _number(node: Expr) -> str:
    value = float(node.value or 0.0)
    if value != value:
        return 'splat((real)__builtin_nan(""))'
    if value in (float("inf"), float("-inf")):
        return f"splat({'-' if value < 0 else ''}(real)__builtin_inf())"
    return f"splat((real){value!r})"


def _spell(node: Expr, args: list[str]) -> str:
    if OPS[node.op].kind != "map":
        raise ValueError(f"a {node.op} cannot stand inside a segment")
    return SPELLING[node.op].format(*args)
