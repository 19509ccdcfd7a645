"""C++ beside a module: loops of the library that are not cells (filters, chains, reservoirs), compiled the same way.

A module keeps its C++ in a folder `native` beside it, `extern "C"` functions on plain pointers, and asks for a library
here. Wheels bring it built for every instruction set; elsewhere it is compiled when first asked for and kept on disk.
Where that is not possible the caller gets None, runs its own slower way, and the user reads one line.
"""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from pathlib import Path

from recurra.kernels.cpu.compiler import CompileError, build
from recurra.kernels.cpu.library import PREBUILT, isa
from recurra.kernels.cpu.prebuild import extension_name

__all__ = ["extension"]


@cache
def extension(source: Path) -> ctypes.CDLL | None:
    """The library of the C++ file `source`, or None, with one line on standard error, where it cannot be built.

    The file may include the engine's headers ("vec.hpp"); REAL is float. Set `argtypes` and `restype` of each function
    before calling it: ctypes guesses int.
    """
    text = source.read_text(encoding="utf-8")
    found = PREBUILT / f"{extension_name(source.stem, isa(), text)}.so"
    try:
        return ctypes.CDLL(str(found if found.exists() else build(text, isa())))
    except (CompileError, OSError) as error:
        what = " ".join(str(error).split())
        print(f"recurra: {source.stem} runs its slower way in Python: {what}", file=sys.stderr)
        return None
