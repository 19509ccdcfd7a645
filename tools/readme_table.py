"""Write the README's table of cells from the registry; with --check, only say whether it is up to date."""

from __future__ import annotations

import sys
from pathlib import Path

from recurra.base.files import write_text
from recurra.cells import CELLS
from recurra.cells.interop import KERAS, ONNX, TORCH

README = Path(__file__).resolve().parents[1] / "README.md"
START, END = "<!-- cells: written by `make docs` from the registry -->\n", "<!-- end of cells -->"
LEGEND = """
I input size, H hidden size, O output size; products in a row: matrix products of a step that wait for each other.
"""


def table() -> str:
    """One row per cell: name, what it is, parameters, dependent products, and who else computes it."""
    rows = ["| cell | what it is | parameters | products in a row | also in |", "|---|---|---|---|---|"]
    for name, kind in CELLS.items():
        cell = kind()
        also = [tool for tool, known in (("torch", TORCH), ("Keras", KERAS), ("ONNX", ONNX)) if name in known]
        spec = cell.spec
        columns = (f"`{name}`", cell.title, spec.parameter_formula, str(spec.dependent_products), ", ".join(also))
        rows.append(f"| {' | '.join(columns)} |")
    return "\n".join(rows) + "\n" + LEGEND


def main() -> int:
    """0 when the README says what the registry says, or was made to."""
    text = README.read_text(encoding="utf-8")
    head, rest = text.split(START)
    tail = rest.split(END)[1]
    fresh = head + START + table() + END + tail
    if "--check" in sys.argv:
        return int(fresh != text)
    write_text(README, fresh)
    return 0


if __name__ == "__main__":
    sys.exit(main())
