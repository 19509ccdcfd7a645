"""The native programs of a cell in words: RECURRA_SHOW=program prints them."""

from __future__ import annotations

from recurra.equations import show
from recurra.equations.expr import Expr
from recurra.kernels.cpu.program import CellProgram
from recurra.kernels.cpu.schedule import Place, Product, Schedule
from recurra.kernels.plan import Hoist

__all__ = ["describe"]


def describe(program: CellProgram) -> str:
    """Every program of the cell, an instruction a line, and what is kept for the gradient."""
    return _Writer(program).text()


class _Writer:
    """Names places as the equations do."""

    def __init__(self, program: CellProgram) -> None:
        self.program = program

    def text(self) -> str:
        program = self.program
        lines = [f"{program.spec.name}, {_where(program.plan.hoist)}"]
        for title, schedule in (
            ("forward, without a gradient to come", program.infer),
            ("forward", program.forward),
            ("backward", program.backward),
        ):
            lines += ["", f"{title}, each step:", *self._instructions(schedule)]
        kept = [self._value(node) for node in program.kept]
        before = [f"{state} before the step" for state in program.spec.states if state in program.sequences]
        lines += ["", f"kept for the gradient, each step: {', '.join([*kept, *before])}"]
        lines.append("after the loop, one product each:")
        for stack in program.stacks:
            lines.append(f"  gradients of {', '.join(map(_matrix, stack.matrices))} = sum over steps and rows")
        return "\n".join(lines)

    def _instructions(self, schedule: Schedule) -> list[str]:
        lines = []
        for part in schedule.instructions:
            if isinstance(part, Product):
                lines.append(f"  product  {self._product(part)}")
                continue
            stored = [t.place for one in part.passes for t in (*one.stores, *one.scalars)]
            read = [place for place in part.slots if place not in stored]
            sweeps = f" in {len(part.passes)} sweeps of each row" if part.by_rows else ""
            lines.append(f"  segment  over {part.axis}{sweeps}")
            lines.append(f"           reads  {', '.join(map(self._place, read))}")
            lines.append(f"           writes {', '.join(map(self._place, stored))}")
        return lines

    def _product(self, part: Product) -> str:
        matrices = ", ".join(map(_matrix, self.program.stacks[part.stack].matrices))
        if not part.transposed:
            return f"[{matrices}] {self._place(part.operand)}"
        return f"[{matrices}]ᵀ, the gradients of their products -> {self._place(part.outputs[0][1])}"

    def _place(self, place: Place) -> str:
        """What lives there, in the letters of the equations."""
        program, name = self.program, place.name
        match place.kind:
            case "piece" | "piece gradient":
                stack, index = map(int, name.split("."))
                layout = program.stacks[stack]
                text = f"{_matrix(layout.matrices[index])} {self._operand(stack)}"
            case "hoisted" | "hoisted gradient":
                text = show.text(program.hoisted[int(name)])
            case "fixed" | "fixed gradient":
                text = show.text(program.fixed[int(name)])
            case "kept":
                text = self._value(program.kept[int(name)])
            case "operand" | "operand gradient":
                text = self._operand(int(name))
            case "out":
                text = f"{name}'"
            case "carry":
                return f"d{name}' (from the steps behind)"
            case "back":
                return f"d{name}"
            case "output gradient":
                return f"d{name}' (from outside)"
            case "temp":
                return f"scratch {name}"
            case _:
                text = name
        return f"d({text})" if place.kind.endswith("gradient") else text

    def _operand(self, stack: int) -> str:
        place = self.program.stacks[stack].operand
        return self._value(self.program.kept[int(place.name)]) if place.kind == "kept" else place.name

    def _value(self, node: Expr) -> str:
        """The step's own name for a value, or its formula over such names."""
        names = self.program.names
        if node in names:
            return names[node]
        if not node.args:
            # Leaves that stand for what comes from outside the body are called by kind and number.
            kind, _, number = str(node.value).partition(" ")
            return self._place(Place(kind, number)) if number else kind
        if node.op in ("add", "sub", "mul", "div"):
            sign = {"add": "+", "sub": "-", "mul": "⊙", "div": "/"}[node.op]
            return "(" + f" {sign} ".join(map(self._value, node.args)) + ")"
        return f"{node.op}({', '.join(map(self._value, node.args))})"


def _matrix(name: str) -> str:
    return name.replace(".", "_")


def _where(hoist: Hoist) -> str:
    inside = "the input products inside the loop (8 rows a thread or more, and single steps)"
    return inside if hoist == "none" else "the input products before the loop (fewer rows)"
