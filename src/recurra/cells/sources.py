"""The papers that cells cite, as BibTeX; `references.bib` beside this file holds them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from importlib import resources

from recurra.base.errors import UnknownName, message, nearest

__all__ = ["bibtex"]


@cache
def _entries() -> dict[str, str]:
    """Key -> its entry, as it stands in the file."""
    text = (resources.files("recurra.cells") / "references.bib").read_text(encoding="utf-8")
    return {
        entry[1]: entry[0].strip() for entry in re.finditer(r"@\w+\{([^,]+),.*?^\}", text, re.DOTALL | re.MULTILINE)
    }


def bibtex(keys: Iterable[str]) -> str:
    """The BibTeX entries of the given keys, in their order; UnknownName for a key that the file lacks."""
    found = []
    for key in keys:
        if key not in _entries():
            known = ", ".join(nearest(key, _entries()))
            raise UnknownName(message("references.bib", f"no entry is called {key!r}", f"There are: {known}."))
        found.append(_entries()[key])
    return "\n\n".join(found)
