"""List the recurrent cells: their equations, how many parameters they have, where they come from."""

from __future__ import annotations

import argparse
import inspect
import json
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from recurra.base.code import load_code
from recurra.base.errors import ConfigError, message
from recurra.cells import CELLS
from recurra.cells.sources import bibtex
from recurra.cli.style import bold, dim
from recurra.equations.cell import Cell
from recurra.equations.show import equations, latex_equations

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser, words: Sequence[str]) -> list[str]:
    """Add the arguments of this verb."""
    parser.add_argument("cell", nargs="?", help="one cell in full; without it all of them")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--latex", action="store_true", help="the equations as LaTeX, nothing else")
    form.add_argument("--cite", action="store_true", help="its papers as BibTeX, nothing else")
    form.add_argument("--json", action="store_true", help="everything, for programs")
    form.add_argument("--graph", metavar="FILE", help="draw one cell's computation graph into an SVG file")
    form.add_argument(
        "--params",
        nargs="+",
        type=int,
        metavar="SIZE",
        help="count the parameters for input size I, hidden size H (and output size O where a cell has one)",
    )
    return list(words)


def run(arguments: argparse.Namespace) -> int:
    """Print what was asked for."""
    if arguments.cell and ":" in arguments.cell:
        arguments.cell = load_code(arguments.cell, Cell).reference
    chosen = [CELLS[arguments.cell]()] if arguments.cell else [cell() for _, cell in CELLS.items()]
    if arguments.json:
        facts = [_facts(cell) for cell in chosen]
        print(json.dumps(facts[0] if arguments.cell else facts, ensure_ascii=False, indent=2))
    elif arguments.graph:
        print(_drawn(chosen, Path(arguments.graph)))
    elif arguments.latex:
        print("\n\n".join(_titled(cell, latex_equations(cell.spec), len(chosen) > 1, "% ") for cell in chosen))
    elif arguments.cite:
        print(bibtex(dict.fromkeys(key for cell in chosen for key in cell.cite)))
    elif arguments.params:
        print("\n".join(_counted(cell, arguments.params, full=len(chosen) == 1) for cell in chosen))
    elif arguments.cell:
        print(_card(chosen[0]))
    else:
        print("\n\n".join(_entry(cell) for cell in chosen))
        print(dim(f"\n{len(chosen)} cells. H hidden, I input, O output size. recurra cells NAME says more."))
    return 0


def _drawn(chosen: list[Cell], path: Path) -> Path:
    # Late: with it comes torch, which a list of cells can do without.
    from recurra.base.files import write_text
    from recurra.diagnostics.graph import draw

    if len(chosen) != 1:
        hint = "recurra cells lstm --graph lstm.svg"
        raise ConfigError(message("cells --graph", "one cell is drawn at a time; name it", hint=hint))
    if path.suffix.lower() != ".svg":
        raise ConfigError(message("cells --graph", f"the drawing is SVG, so FILE must end in .svg, got {path.name!r}"))
    write_text(path, draw(chosen[0].spec))
    return path


def _titled(cell: Cell, text: str, titled: bool, mark: str = "") -> str:
    return f"{mark}{cell.name}\n{text}" if titled else text


def _entry(cell: Cell) -> str:
    head = f"{bold(cell.name)}  {dim(cell.spec.parameter_formula + ' parameters')}"
    parts = [head, *textwrap.wrap(cell.title, 100, initial_indent="  ", subsequent_indent="  ")]
    parts.append(textwrap.indent(equations(cell.spec), "    "))
    parts.append(dim(textwrap.fill(_source(cell), 100, initial_indent="  ", subsequent_indent="  ")))
    return "\n".join(parts)


def _card(cell: Cell) -> str:
    spec = cell.spec
    shapes = [f"{' '.join(names)} ({', '.join(axes)})" for axes, names in _by_shape(spec.params).items()]
    depth = spec.dependent_products
    facts = f"{depth} matrix product{'s, one after the other' if depth > 1 else ''} that wait{'s' * (depth == 1)} for"
    facts += " the state before"
    if spec.is_affine_elementwise:
        facts += "; affine and elementwise in the state, so a parallel scan is legal"
    rows = [("states", ", ".join(f"{name} ({spec.state_axes[name]})" for name in spec.states))]
    rows += [("parameters" if index == 0 else "", shape) for index, shape in enumerate(shapes)]
    rows += [("count", spec.parameter_formula), ("one step", facts)]
    lines = [bold(cell.name), *textwrap.wrap(cell.title, 100), "", textwrap.indent(equations(spec), "    "), ""]
    for name, value in rows:
        lines += textwrap.wrap(value, 100, initial_indent=f"{name:<12}", subsequent_indent=" " * 12)
    return "\n".join([*lines, "", *textwrap.wrap(_source(cell), 100)])


def _by_shape(params: Mapping[str, tuple[str, ...]]) -> dict[tuple[str, ...], list[str]]:
    """Axes -> the parameters that have them."""
    grouped: dict[tuple[str, ...], list[str]] = {}
    for name, axes in params.items():
        grouped.setdefault(axes, []).append(name)
    return grouped


def _counted(cell: Cell, sizes: list[int], *, full: bool) -> str:
    spec = cell.spec
    axes = [axis for axis in ("I", "H", "O") if axis in spec.axes]
    if "O" in axes and len(sizes) == 2:
        # A cell with an output axis is asked about beside others that have none: the output is as wide as the state.
        sizes = [*sizes, sizes[1]]
    if len(sizes) < len(axes) or min(sizes) < 1:
        raise ConfigError(
            message(
                "cells --params",
                f"{cell.name} has the sizes {', '.join(axes)}, all at least 1; got {' '.join(map(str, sizes))}",
                hint=f"recurra cells {cell.name} --params {' '.join(['128', '256', '10'][: len(axes)])}",
            )
        )
    by_axis: dict[str, int] = dict(zip("IHO", sizes, strict=False))
    total = spec.parameter_count(by_axis)
    where = ", ".join(f"{axis} = {by_axis[axis]}" for axis in axes)
    if not full:
        return f"{cell.name:<26}{total:>14,}  {spec.parameter_formula}"
    width = max(len(name) for name in spec.params)
    lines = [f"{cell.name}: {spec.parameter_formula} = {total:,} parameters for {where}"]
    for name, shape in spec.params.items():
        lengths = [by_axis[axis] for axis in shape]
        count = lengths[0] * lengths[1] if len(lengths) == 2 else lengths[0]
        lines.append(f"  {name:<{width}}  {' x '.join(map(str, lengths)):>13}  {count:>12,}")
    return "\n".join(lines)


def _source(cell: Cell) -> str:
    """What the docstring says after the equations: the letters, the conventions, the papers."""
    paragraphs = inspect.cleandoc(type(cell).__doc__ or "").split("\n\n")
    return " ".join(" ".join(part.split()) for part in paragraphs[1:] if not part.startswith(" "))


def _facts(cell: Cell) -> dict[str, Any]:
    spec = cell.spec
    return {
        "name": cell.name,
        "title": cell.title,
        "equations": equations(spec),
        "latex": latex_equations(spec),
        "states": {name: spec.state_axes[name] for name in spec.states},
        "parameters": {name: list(axes) for name, axes in spec.params.items()},
        "parameter_count": spec.parameter_formula,
        "gates": list(spec.gates),
        "dependent_products": spec.dependent_products,
        "affine_elementwise": spec.is_affine_elementwise,
        "cite": list(cell.cite),
        "source": _source(cell),
    }
