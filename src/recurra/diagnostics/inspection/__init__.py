"""All the diagnostics of one trained run, or of two beside each other, as figures of a page and as numbers.

>>> from recurra.diagnostics.inspection import Case, inspect                                    # doctest: +SKIP
>>> found = inspect([Case(run.subject())])                                                      # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from recurra.base.errors import UnknownName, message, nearest
from recurra.diagnostics.inspection.answers import attention_part, attribution_part, saliency_part
from recurra.diagnostics.inspection.case import Case, Part
from recurra.diagnostics.inspection.cells import graph_part
from recurra.diagnostics.inspection.flow import gradient_part, jacobian_part, memory_part, spectrum_part
from recurra.diagnostics.inspection.log import forensics_part, is_broken
from recurra.diagnostics.inspection.units import gates_part, units_part
from recurra.diagnostics.report import Figure

__all__ = ["PARTS", "Case", "Inspection", "Part", "inspect"]

PARTS: Mapping[str, Callable[[Sequence[Case]], Part]] = {
    "forensics": forensics_part,
    "saliency": saliency_part,
    "gradient": gradient_part,
    "jacobian": jacobian_part,
    "memory": memory_part,
    "spectrum": spectrum_part,
    "gates": gates_part,
    "units": units_part,
    "attribution": attribution_part,
    "attention": attention_part,
    "graph": graph_part,
}
"""Part -> what makes it, in the order of the page."""


class Inspection(NamedTuple):
    """figures: by part, in order. numbers: part -> run -> what was measured, plain enough for JSON."""

    figures: dict[str, list[Figure]]
    numbers: dict[str, dict[str, Any]]


def inspect(cases: Sequence[Case], only: Sequence[str] = (), tell: Callable[[str], None] | None = None) -> Inspection:
    """Look at one case, or at several beside each other.

    only: some of `PARTS`. tell: called with the name of each part before it is made. A run with weights or values that
    are not finite is looked at for what broke it, and for nothing else. Raises UnknownName for a part there is not.
    """
    for name in only:
        if name not in PARTS:
            raise UnknownName(
                message("inspect", f"no part is called {name!r}", f"Parts: {', '.join(nearest(name, PARTS))}")
            )
    chosen = list(only) or list(PARTS)
    if any(is_broken(case) for case in cases):
        chosen = ["forensics", *(name for name in chosen if name == "graph")]
    figures: dict[str, list[Figure]] = {}
    numbers: dict[str, dict[str, Any]] = {}
    for name in chosen:
        if tell:
            tell(name)
        part = PARTS[name](cases)
        figures[name], numbers[name] = part.figures, part.numbers
    return Inspection(figures, numbers)
